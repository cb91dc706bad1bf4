"""Intelligibility of speech, measured by the demo recogniser, which knows the words of the demo voice."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import soxr

from parity.ladder.ladder import SkipStage
from parity.ladder.subject import Subject
from toolkit.contract import Transcriber


class Listener:
    """Transcribes speech with the demo recogniser.

    Args:
        subject: brings the recogniser, which knows the words of the demo only.
        sample_rate: rate of the speech, in Hz.

    Raises:
        SkipStage: the bundle was not made from the demo checkpoint, or no recogniser is at hand.
    """

    def __init__(self, subject: Subject, sample_rate: int) -> None:
        if subject.bundle.manifest.checkpoint.kind != "demo":
            raise SkipStage("the demo recogniser knows 31 words, which another checkpoint was not trained to say")
        if subject.recogniser is None:
            raise SkipStage("no recogniser is at hand")
        self._rate = sample_rate
        self._open: Callable[[], Transcriber] = subject.recogniser

    def transcribe(self, samples: np.ndarray) -> str:
        """The words in a recording [N] float32."""
        recogniser = self._recogniser
        resampled = soxr.resample(samples, self._rate, recogniser.sample_rate, quality="HQ")
        return recogniser.transcribe(resampled).text

    @cached_property
    def _recogniser(self) -> Transcriber:
        return self._open()
