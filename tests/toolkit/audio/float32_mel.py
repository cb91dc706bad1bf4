"""How far a normalised log mel computed in float32 may lie from the true one, on any processor.

What is divided by a small standard deviation, or is the logarithm of a bin that all but vanishes, has no fixed
tolerance: the bound follows the recording, element by element.
"""

import numpy as np

EPS = 2.0**-24  # half a unit: what one rounding to float32 may change, relative to the result


def bound(audio, extractor):
    """[frames, n_mels]: what NeMo's front end in float32 and one in float64 may differ by.

    Args:
        audio: [samples] float32, with its dither.
        extractor: of transformers, for its sizes, filters and window.
    """
    n_fft, hop = extractor.n_fft, extractor.hop_length
    emphasised = np.append(audio[:1], audio[1:] - np.float64(extractor.preemphasis) * audio[:-1])
    padded = np.pad(emphasised, n_fft // 2)
    window = np.hanning(extractor.win_length)
    window = np.pad(window, (left := (n_fft - len(window)) // 2, n_fft - len(window) - left))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop][: len(audio) // hop] * window  # [T, N]
    spectrum = np.abs(np.fft.rfft(frames))  # [T, bins]
    filters = extractor.mel_filters.numpy().astype(np.float64).T  # [bins, n_mels]
    power = spectrum**2 @ filters
    # A transform of N points has log2 N stages, each of which rounds a product and a sum: a bin is off by that share of
    # the frame's norm (Higham, Accuracy and Stability of Numerical Algorithms, 24.1), and |X|^2 by 2 |X| d + d^2.
    d = 2 * EPS * np.log2(n_fft) * np.linalg.norm(frames, axis=1, keepdims=True)
    off = (2 * spectrum * d + d**2) @ filters
    # The sum over the bins of a filter rounds once a bin, the guard and the logarithm (2 units) once more.
    guarded = power + 2**-24
    log_mel = np.log(guarded)
    terms = np.count_nonzero(filters, axis=0)
    error = (off + (terms + 2) * EPS * guarded) / guarded + 4 * EPS * np.abs(log_mel)
    # z = (x - mean) / (std + eps): all three are off; a pairwise sum of T frames rounds log2 T times.
    count, std = len(log_mel), log_mel.std(axis=0, ddof=1) + 1e-5
    z = (log_mel - log_mel.mean(axis=0)) / std
    of_mean = error.mean(axis=0) + np.log2(count) * EPS * np.abs(log_mel).mean(axis=0)
    of_std = np.sqrt((error**2).sum(axis=0) / (count - 1))
    return (error + of_mean + np.abs(z) * of_std) / std + 4 * EPS * np.abs(z)


def assert_near(mel, expected, audio, extractor):
    """Ours [T, n_mels] against the extractor's: within the bound where frames are valid, equal beyond."""
    tolerance = bound(audio, extractor)
    assert (mel.shape, mel.dtype) == (expected.shape, np.float32)
    assert np.all(np.abs(mel[: len(tolerance)] - expected[: len(tolerance)]) <= tolerance)
    np.testing.assert_array_equal(mel[len(tolerance) :], expected[len(tolerance) :])
