"""Faults of the front ends."""

import numpy as np

from tests.planted.planting import Fault, patched, with_host
from tests.real_life import KINDS
from toolkit.audio import nemo_mel, whisper_mel
from toolkit.audio.nemo_mel import NemoMelParameters
from toolkit.audio.whisper_mel import WhisperMel

PARAKEET, COHERE, ALIGNER = "parakeet-tdt", "cohere-transcribe", "qwen3-forced-aligner"
normalised, padded, frames = nemo_mel._normalised, WhisperMel._padded, NemoMelParameters.frames


def mel_constant(**other):
    return with_host(lambda host: {"mel": host["mel"] | other})


def over_all_frames(log_mel, length, eps):
    return normalised(log_mel, length + 1, eps)


def population_variance(log_mel, length, eps):
    normalised(log_mel, length, eps)
    log_mel[:length] *= np.float32(np.sqrt(length / (length - 1)))
    return log_mel


def a_frame_late(self, audio):
    return np.roll(padded(self, audio), self.parameters.hop_length)


FAULTS = (
    Fault("mel without pre-emphasis", PARAKEET, "features", "mel", mel_constant(preemphasis=0.0)),
    Fault("mel with the log guard of another front end", PARAKEET, "features", "mel", mel_constant(log_guard=1e-5)),
    Fault(
        "mel normalised over all frames, not the valid ones",
        PARAKEET,
        "features",
        "mel",
        patched(nemo_mel, "_normalised", over_all_frames),
    ),
    Fault(
        "one frame more counted as valid",
        PARAKEET,
        "features",
        "mel",
        patched(NemoMelParameters, "frames", lambda self, samples: frames(self, samples) + 1),
    ),
    Fault(
        "mel divided by the population's deviation",
        COHERE,
        "features",
        "mel",
        patched(nemo_mel, "_normalised", population_variance),
    ),
    Fault(
        "dither a thousand times too strong",
        COHERE,
        "features",
        "mel, dither on",
        with_host(lambda host: {"dither": 1000 * host["dither"]}),
    ),
    Fault("mel without pre-emphasis", COHERE, "features", "mel", mel_constant(preemphasis=0.0)),
    Fault("Whisper's mel a frame late", ALIGNER, "features", "mel", patched(WhisperMel, "_padded", a_frame_late)),
    Fault(
        "Whisper's mel without its floor below the loudest bin",
        ALIGNER,
        "features",
        "mel",
        patched(whisper_mel, "_RANGE_DECADES", 80.0),
    ),
    *(
        Fault(f"{name}, {kind}", PARAKEET, "features", "mel, error", plant, sound=KINDS[kind])
        for kind in ("telephone", "mp3", "-80 dB")
        for name, plant in (
            ("mel without pre-emphasis", mel_constant(preemphasis=0.0)),
            ("mel with the log guard of another front end", mel_constant(log_guard=1e-5)),
            ("mel divided by the population's deviation", patched(nemo_mel, "_normalised", population_variance)),
        )
    ),
    Fault(
        "Whisper's mel a frame late, telephone",
        ALIGNER,
        "features",
        "mel, error",
        patched(WhisperMel, "_padded", a_frame_late),
        sound=KINDS["telephone"],
    ),
)
