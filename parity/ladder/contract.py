"""What a model's folder brings for its proof: `PARITY` of `models/<model>/parity/__init__.py`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from parity.ladder.ladder import Ladder
from parity.ladder.rungs import Rung
from parity.ladder.subject import Clip, Subject
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.model import ModelInfo
from toolkit.runtimes.recording import Call
from toolkit.spec import ExportPlan

DecisionLogits = Callable[[Call, Runtime], Mapping[str, np.ndarray]]
"""For a recorded call: integer output -> the logits it was taken from, as a runtime computes them from its inputs."""


@dataclass(frozen=True)
class ModelParity:
    """A model's proof.

    Attributes:
        rungs: what is compared with what, in the ladder's order.
        measure: fills the stages features, wrappers, decode and task of a ladder.
        exercise: runs the host side in every form on real audio, so that each function of each component is called;
            `convert` measures the new packages on those calls.
        decision_logits: for components that return decisions (integers); None where none does.
    """

    rungs: Sequence[Rung]
    measure: Callable[[Subject, Ladder], None]
    exercise: Callable[[ExportPlan, Bundle, Runtime, Sequence[Clip]], None]
    decision_logits: DecisionLogits | None = None


def parity_of(model: ModelInfo) -> ModelParity:
    """The model's proof; brings torch and transformers with it."""
    return cast(ModelParity, model.module("parity").PARITY)
