"""Long audio cut into chunks at its quietest points.

Source: transformers 5.23, models/cohere_asr/feature_extraction_cohere_asr.py, `_split_audio_chunks_energy` and
`_find_split_point_energy`.
"""

import numpy as np


def cut_at_quiet_points(
    audio: np.ndarray, sample_rate: int, longest_s: float, search_s: float, window_samples: int
) -> list[slice]:
    """Slices that cover the audio, each sample once, none longer than `longest_s`.

    While more than `longest_s` is left, the next cut is at the start of the quietest of the windows that lie end to end
    in the last `search_s` seconds before that limit; of equal ones at the first. The last window that fits is not
    looked at, as upstream has it. Audio up to `longest_s - search_s`, upstream's fast path, is never cut; nor is what
    lies between there and `longest_s`.

    A window's level is rounded to float32, as upstream's is, so that windows equal in upstream's precision are equal
    here; the order in which torch sums depends on the machine, and may order windows within a rounding the other way.

    Args:
        audio: [N], float32, finite.
        sample_rate: in Hz.
        longest_s: longest chunk in seconds.
        search_s: how far before the limit to look for a cut, in seconds.
        window_samples: length of the windows compared, in samples.

    Returns:
        At least one slice; an empty one where there are no samples.
    """
    longest = max(1, round(longest_s * sample_rate))
    search = max(1, round(search_s * sample_rate))
    cuts = [0]
    while cuts[-1] + longest < len(audio):
        limit = cuts[-1] + longest
        start = max(cuts[-1], limit - search)
        cuts.append(max(cuts[-1] + 1, start + _quietest(audio[start:limit], window_samples)))
    return [slice(start, stop) for start, stop in zip(cuts, [*cuts[1:], len(audio)], strict=True)]


def _quietest(segment: np.ndarray, window: int) -> int:
    """Start of the quietest window; the middle of a segment that is no longer than one."""
    count = -(-(len(segment) - window) // window)
    if count < 1:
        return len(segment) // 2
    windows = segment[: count * window].reshape(count, window)
    return window * int(_levels(windows).argmin())


def _levels(windows: np.ndarray) -> np.ndarray:
    """Root mean square of each window: [n, samples] -> [n] float32."""
    squares = windows * windows
    levels: np.ndarray = np.sqrt(squares.mean(axis=1, dtype=np.float64).astype(np.float32))
    return levels
