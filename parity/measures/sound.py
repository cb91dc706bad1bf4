"""What a listener would notice between two recordings of speech."""

import numpy as np

FFT_SAMPLES, HOP_SAMPLES, MEL_BINS = 1024, 256, 80
FLOOR = 1e-5  # 100 dB below full scale: what lies under it nobody hears


def log_mel(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Log-mel spectrogram above a floor at -100 dB, zero where silent.

    Args:
        samples: [N] float32 in -1..1.
        sample_rate: in Hz.

    Returns:
        [80, frames] float32, natural logarithms of amplitudes over the floor.
    """
    import librosa

    mel = librosa.feature.melspectrogram(
        y=samples, sr=sample_rate, n_fft=FFT_SAMPLES, hop_length=HOP_SAMPLES, n_mels=MEL_BINS, power=1.0
    )
    over_floor: np.ndarray = np.log(np.maximum(mel, FLOOR) / FLOOR).astype(np.float32)
    return over_floor
