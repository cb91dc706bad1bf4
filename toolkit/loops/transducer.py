"""The greedy loop of a token-and-duration transducer (TDT), as `ParakeetForTDT.generate` runs it.

At each step the joint sees one encoder frame and the prediction network's output for the last token that was no blank.
It yields a token and a duration; the loop advances by the duration, and by one frame at least after a blank. A token
with duration 0 stays at its frame. The class bounds the steps only by its `max_length`, so this loop has that limit.
Source: transformers 5.23, models/parakeet/generation_parakeet.py, `ParakeetTDTGenerationMixin`.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from toolkit.component import Component
from toolkit.errors import FIND_STAGE, RuntimeFault


@dataclass(frozen=True)
class Decision:
    """What the joint says at one frame; the duration in frames is raw, before the blank rule."""

    token_id: int
    probability: float
    duration: int


@dataclass(frozen=True)
class Emission:
    """One step of the loop, blanks included.

    Attributes:
        token_id: token, or the blank.
        frame: encoder frame at which it was emitted.
        duration: frames it spans; 1 at least for a blank.
        probability: of the token among the vocabulary with the blank, 0..1.
    """

    token_id: int
    frame: int
    duration: int
    probability: float


@dataclass(frozen=True)
class Decoded:
    """All steps; `finished` is False when the limit of steps ended the loop before the last frame."""

    emissions: tuple[Emission, ...]
    finished: bool


@dataclass(frozen=True)
class PredictionState:
    """The prediction network between two steps; lives for one utterance.

    Attributes:
        token_id: last token that was no blank; the blank itself at the start.
        hidden: LSTM state before that token, [layers, 1, D].
        cell: LSTM state before that token, [layers, 1, D].
        output: the network's output for that token [1, 1, D], once it has been computed.
        hidden_after: LSTM state after that token, with `output`.
        cell_after: LSTM state after that token, with `output`.
    """

    token_id: int
    hidden: np.ndarray
    cell: np.ndarray
    output: np.ndarray | None = None
    hidden_after: np.ndarray | None = None
    cell_after: np.ndarray | None = None


class Step(Protocol):
    """One step, in any of the forms that a bundle may hold it in."""

    def start(self) -> PredictionState:
        """The state at the start of an utterance."""

    def __call__(self, state: PredictionState, frame: np.ndarray) -> tuple[Decision, PredictionState]:
        """Decide at one encoder frame [D]; the state returned is unchanged in meaning after a blank."""


@dataclass(frozen=True)
class _Network:
    """What the three forms share: the start of the prediction network, and its one call a token."""

    blank_id: int
    start_id: int
    num_layers: int
    hidden_size: int

    def start(self) -> PredictionState:
        zeros = np.zeros((self.num_layers, 1, self.hidden_size), np.float32)
        return PredictionState(self.start_id, zeros, zeros)


@dataclass(frozen=True)
class SplitStep(_Network):
    """`prediction` and `joint` as components; argmax and softmax on the host.

    A duration is the index of its logit, in frames, as the class's `generate` has it (docs/adr/0003).
    """

    prediction: Component
    joint: Component

    def __call__(self, state: PredictionState, frame: np.ndarray) -> tuple[Decision, PredictionState]:
        """One decision at a frame; see `Step` for the arguments."""
        state = _predicted(self.prediction, state)
        logits = self.joint.predict(_joint_inputs(state, frame))
        tokens = logits["token_logits"].reshape(-1)  # [1, 1, V] -> [V]
        token = int(tokens.argmax())
        probability = float(1.0 / np.exp(tokens.astype(np.float64) - tokens[token]).sum())
        decision = Decision(token, probability, int(logits["duration_logits"].argmax()))
        return decision, _following(state, token, self.blank_id)


@dataclass(frozen=True)
class DecisionStep(_Network):
    """`prediction` and `joint_decision`: the choice is made inside the package."""

    prediction: Component
    joint_decision: Component

    def __call__(self, state: PredictionState, frame: np.ndarray) -> tuple[Decision, PredictionState]:
        """One decision at a frame; see `Step` for the arguments."""
        state = _predicted(self.prediction, state)
        decision = _decision(self.joint_decision.predict(_joint_inputs(state, frame)))
        return decision, _following(state, decision.token_id, self.blank_id)


@dataclass(frozen=True)
class FusedStep(_Network):
    """`decoder_step`: one call a step; after a blank the same token and states go in again."""

    decoder_step: Component

    def __call__(self, state: PredictionState, frame: np.ndarray) -> tuple[Decision, PredictionState]:
        """One decision at a frame; see `Step` for the arguments."""
        outputs = self.decoder_step.predict(
            {**_prediction_inputs(state), "encoder_frame": frame[None, None]}  # [D] -> [1, 1, D]
        )
        decision = _decision(outputs)
        after = replace(state, hidden_after=outputs["hidden_out"], cell_after=outputs["cell_out"])
        return decision, _following(after, decision.token_id, self.blank_id)


def greedy(step: Step, frames: np.ndarray, *, blank_id: int, max_steps: int, max_symbols: int = 0) -> Decoded:
    """Decode one utterance.

    Args:
        step: prediction network and joint.
        frames: valid encoder frames [T, D], float32.
        blank_id: id of the blank.
        max_steps: steps after which the loop ends, finished or not; `max_symbols` takes its place where it is given,
            since that bounds the steps too, and the loop then always finishes.
        max_symbols: tokens at one frame after which the loop advances by one frame, as NeMo's batched greedy search has
            it (10 by default); 0 is no bound, as the class has it.

    Raises:
        RuntimeFault: a component returned a negative token or duration.
    """
    state, position, symbols = step.start(), 0, 0
    emissions: list[Emission] = []
    most = max_symbols * len(frames) if max_symbols else max_steps
    while position < len(frames) and len(emissions) < most:
        decision, state = step(state, frames[position])
        _check(decision)
        blank = decision.token_id == blank_id
        duration = max(decision.duration, 1) if blank else decision.duration
        emissions.append(Emission(decision.token_id, position, duration, decision.probability))
        symbols = symbols + 1 if duration == 0 else 0
        forced = max_symbols > 0 and symbols >= max_symbols
        position += 1 if forced else duration
        symbols = 0 if forced else symbols
    return Decoded(tuple(emissions), position >= len(frames))


def _predicted(prediction: Component, state: PredictionState) -> PredictionState:
    if state.output is not None:
        return state
    outputs = prediction.predict(_prediction_inputs(state))
    return replace(
        state,
        output=outputs["prediction"],
        hidden_after=outputs["hidden_out"],
        cell_after=outputs["cell_out"],
    )


def _prediction_inputs(state: PredictionState) -> dict[str, np.ndarray]:
    token = np.full((1, 1), state.token_id, np.int32)
    return {"token": token, "hidden_in": state.hidden, "cell_in": state.cell}


def _joint_inputs(state: PredictionState, frame: np.ndarray) -> dict[str, np.ndarray]:
    assert state.output is not None
    return {"encoder_frame": frame[None, None], "prediction": state.output}  # [D] -> [1, 1, D]


def _decision(outputs: dict[str, np.ndarray]) -> Decision:
    return Decision(
        int(outputs["token_id"].item()), float(outputs["token_probability"].item()), int(outputs["duration"].item())
    )


def _following(state: PredictionState, token_id: int, blank_id: int) -> PredictionState:
    """The state for the next step: the same after a blank, else the new token on the states after the last one."""
    if token_id == blank_id:
        return state
    assert state.hidden_after is not None
    assert state.cell_after is not None
    return PredictionState(token_id, state.hidden_after, state.cell_after)


def _check(decision: Decision) -> None:
    if decision.token_id < 0 or decision.duration < 0:
        raise RuntimeFault(
            f"the decoder returned token {decision.token_id} with duration {decision.duration}",
            FIND_STAGE,
        )
