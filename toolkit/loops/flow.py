"""The loop of speech from continuous latents, as `PocketTTSForConditionalGeneration.generate` runs it.

At each step a backbone takes the latent before (a learnt one at the start) and yields a hidden state and the logit of
the end of speech; a flow turns noise into the next latent under that state. The first frame at or behind
`min_frames_before_eos` whose logit is above the threshold is followed by `frames_after_eos` more, which belong to the
speech like itself. Noise is an input: the same noise gives the reference and every runtime the same utterance.
Source: transformers 5.23, models/pocket_tts/generation_pocket_tts.py, `_sample` and `PocketTTSEosThresholdCriteria`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Stop = Literal["", "eos", "max_frames"]


@dataclass(frozen=True)
class StopRule:
    """When an utterance ends.

    Attributes:
        eos_threshold: a logit above it is the end of speech.
        min_frames_before_eos: frames whose logit is ignored.
        frames_after_eos: frames that follow the one at the end of speech.
        most_frames: frames in all, whatever the logits are.
    """

    eos_threshold: float
    min_frames_before_eos: int
    frames_after_eos: int
    most_frames: int


@dataclass(frozen=True)
class Frame:
    """One step of the loop.

    Attributes:
        latent: [Z] float32, normalised.
        hidden: [D] float32 that it was sampled under.
        eos_logit: of the same hidden state.
        stop: why this frame is the last; empty where another follows.
    """

    latent: np.ndarray
    hidden: np.ndarray
    eos_logit: float
    stop: Stop


class LatentModel(Protocol):
    """One utterance on a backbone and its flow."""

    def step(self, latent: np.ndarray | None) -> tuple[np.ndarray, float]:
        """The latent before [Z], None at the start -> hidden [D], logit of the end of speech."""

    def sample(self, hidden: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """hidden [D], noise [Z] -> the next latent [Z], normalised."""


def frames(model: LatentModel, noise: Iterator[np.ndarray], rule: StopRule) -> Iterator[Frame]:
    """Frames of one utterance, each as soon as it is made.

    Args:
        model: a fresh utterance; the text is in its cache.
        noise: [Z] float32 a frame, scaled.
        rule: when to end.
    """
    latent, left = None, -1
    for index in range(rule.most_frames):
        hidden, eos_logit = model.step(latent)
        latent = model.sample(hidden, next(noise))
        if left < 0 and index >= rule.min_frames_before_eos and eos_logit > rule.eos_threshold:
            left = rule.frames_after_eos
        stop: Stop = "eos" if left == 0 else "max_frames" if index + 1 == rule.most_frames else ""
        yield Frame(latent, hidden, eos_logit, stop)
        if stop:
            return
        left -= left > 0


def gaussian_noise(seed: int, utterance: int, width: int, temperature: float) -> Iterator[np.ndarray]:
    """Noise without end for one utterance.

    Args:
        seed: 0 or more.
        utterance: which of those that share the seed; each has noise of its own, however long the others are.
        width: Z.
        temperature: variance; 0 gives zeros.

    Yields:
        [Z] float32.
    """
    generator = np.random.default_rng([seed, utterance])
    scale = np.float32(math.sqrt(temperature))
    while True:
        yield generator.standard_normal(width, np.float32) * scale
