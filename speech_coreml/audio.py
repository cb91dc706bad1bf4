"""Audio as callers have it, a file or an array, as a pipeline takes it."""

import logging
from pathlib import Path

import numpy as np
import soxr

from toolkit.audio.decode import Notes
from toolkit.audio.read import read_audio
from toolkit.errors import AudioError

Audio = str | Path | np.ndarray
"""A file, `-` for standard input, or samples: [n] or [n, channels], floats from -1 to 1 or integers of 16 bits."""

LOG = logging.getLogger("speech_coreml")


def samples_from_audio(
    audio: Audio, wanted: int, *, sample_rate: int | None = None, track: int | None = None, notes: Notes = LOG.warning
) -> np.ndarray:
    """[samples] float32 at the rate of a pipeline.

    Args:
        audio: a file or an array.
        wanted: rate in Hz.
        sample_rate: of an array, in Hz; None where it has the rate wanted.
        track: of a file with several; None is its default one.
        notes: takes a line for each thing about a file that the user should know.

    Raises:
        AudioError: the file cannot be read; or the array is empty, no audio, or has NaN or infinite samples.
        ValueError: a rate for a file, or a track for an array.
    """
    if not isinstance(audio, np.ndarray):
        if sample_rate is not None:
            raise ValueError("sample_rate is for arrays; a file says its own")
        return read_audio(audio, wanted, track=track, notes=notes)
    if track is not None:
        raise ValueError("track is for files")
    return _resampled(_mono(audio), sample_rate or wanted, wanted)


def _mono(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (1, 2) or not array.size:
        raise AudioError(f"the array is {list(array.shape)}", "Give [samples] or [samples, channels].")
    if array.dtype != np.int16 and array.dtype.kind != "f":
        raise AudioError(f"the array is of {array.dtype}", "Give floats from -1 to 1, or int16.")
    samples = array.astype(np.float32) / (2**15 if array.dtype == np.int16 else 1)
    if array.ndim == 2:
        samples = samples.mean(axis=1)  # [n, channels] -> [n]
    if bad := len(samples) - int(np.isfinite(samples).sum()):
        raise AudioError(f"the array holds {bad} NaN or infinite samples", "Record or export it again.")
    return np.ascontiguousarray(samples)


def _resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    return samples if rate == wanted else soxr.resample(samples, rate, wanted, quality="HQ")
