"""Whether speech is understood: by the project's own demo recogniser, which knows what the demo voice says."""

from functools import cached_property
from typing import Any

import numpy as np
import soxr

from commands.demo import ensure_demo_bundle
from models import find_model
from parity.ladder.ladder import SkipStage
from toolkit.bundle.bundle import Bundle, open_bundle
from toolkit.runtimes.open import open_runtime

RECOGNISER = "parakeet-tdt"


class Listener:
    """Writes down what it hears.

    Args:
        bundle: of the voice; the recogniser knows the words of the demo only.
        sample_rate: of what it will hear, in Hz.

    Raises:
        SkipStage: the bundle was not made from the demo checkpoint.
    """

    def __init__(self, bundle: Bundle, sample_rate: int) -> None:
        if bundle.manifest.checkpoint.kind != "demo":
            raise SkipStage("the demo recogniser knows 31 words, which another checkpoint was not trained to say")
        self._rate = sample_rate

    def transcribe(self, samples: np.ndarray) -> str:
        """The words in a recording [N] float32."""
        pipeline = self._pipeline
        heard = soxr.resample(samples, self._rate, pipeline.sample_rate, quality="HQ")
        return str(pipeline.transcribe(heard).text)

    @cached_property
    def _pipeline(self) -> Any:
        model = find_model(RECOGNISER)
        bundle = open_bundle(ensure_demo_bundle(model))
        return model.module("pipeline").Pipeline(bundle, open_runtime("portable", bundle, model))
