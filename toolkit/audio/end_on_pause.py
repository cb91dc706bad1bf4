"""A voice's recording ended on a short pause, as a voice prompt has to end, and padded to whole frames of the codec.

A prompt that stops on speech is continued by the model, and one that ends on a long silence delays what comes next.

Source: transformers 5.23, models/pocket_tts/feature_extraction_pocket_tts.py, `_end_on_pause` and `__call__`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

_LEAST_RMS = np.float32(1e-12)  # keeps silence off the logarithm's pole


@dataclass(frozen=True)
class PauseParameters:
    """What is cut, faded and added, as the manifest's host section holds it.

    Attributes:
        end_on_pause: whether to; without it the recording is padded only.
        analysis_frame_s: length of the frames whose level is measured, in seconds.
        silence_floor_db: frames this far below the loudest, or further, are silence where they end the recording.
        fade_out_s: length of the fade before the pause, in seconds.
        pause_s: length of the pause, in seconds.
        frame_samples: the result is a multiple of this.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    end_on_pause: bool
    analysis_frame_s: float
    silence_floor_db: float
    fade_out_s: float
    pause_s: float
    frame_samples: int


def ended_on_pause(samples: np.ndarray, rate: int, parameters: PauseParameters) -> np.ndarray:
    """The recording up to its last frame that is not silent, faded out, with a pause and padding of zeros behind.

    A recording shorter than one analysis frame is only padded. Levels are float32, as upstream's. In what order torch
    sums, and how it counts up a fade, depends on the machine: a frame within a rounding of the floor may fall on its
    other side, and the faded samples differ by a rounding (6e-8 of full gain).

    Args:
        samples: [N], float32, finite.
        rate: in Hz.
        parameters: lengths and levels.

    Returns:
        [M] float32, M a multiple of `frame_samples`; the given samples are left as they are.
    """
    ended = _with_pause(samples, rate, parameters) if parameters.end_on_pause else samples
    return np.pad(ended, (0, -len(ended) % parameters.frame_samples))


def _with_pause(samples: np.ndarray, rate: int, parameters: PauseParameters) -> np.ndarray:
    frame = max(1, int(parameters.analysis_frame_s * rate))
    levels = _levels_db(samples[: len(samples) // frame * frame].reshape(-1, frame))
    if not len(levels):
        return samples
    loud = np.flatnonzero(levels > levels.max() - np.float32(parameters.silence_floor_db))
    end = (int(loud[-1]) + 1) * frame
    fade = min(int(parameters.fade_out_s * rate), end)
    result = np.zeros(end + int(parameters.pause_s * rate), np.float32)
    result[:end] = samples[:end]
    result[end - fade : end] *= np.linspace(1, 0, fade, dtype=np.float32)
    return result


def _levels_db(frames: np.ndarray) -> np.ndarray:
    """Level of each frame: [n, samples] -> [n] float32."""
    squares = frames * frames
    rms = np.sqrt(squares.mean(axis=1, dtype=np.float64).astype(np.float32))
    levels: np.ndarray = np.float32(20) * np.log10(rms + _LEAST_RMS)
    return levels
