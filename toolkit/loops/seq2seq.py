"""The greedy loop of an encoder-decoder model, as transformers' `generate` runs it for one sequence.

At each step the decoder's logits are processed and the best token is taken; the lower id where two are equal. It is
then consumed: it joins the history, and the decoder computes the next logits from it. Logits are processed in the order
of `generate`: bias (its `sequence_bias` on the end token), repetition penalty, n-gram block.
Source: transformers 5.23, generation/utils.py, `_get_logits_processor` and `_sample`; generation/logits_process.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from toolkit.errors import FIND_STAGE, RuntimeFault, ToolkitError
from toolkit.transcript import Stop


class Decoder(Protocol):
    """A decoder with its caches, for one sequence; each holds its own state, which `prefill` starts afresh."""

    @property
    def room(self) -> int:
        """How many more tokens the cache takes."""

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """Consume the prompt [P] int32; the logits [V] that follow its last token."""

    def step(self, token: int) -> np.ndarray:
        """Consume one token; the logits [V] that follow it. Not called without room."""


@dataclass(frozen=True)
class GreedyOptions:
    """What changes the choice of tokens; nothing does by default.

    Attributes:
        repetition_penalty: logits of the tokens in the history, prompt included, are divided by it where they are
            positive and multiplied where they are negative; above 0, 1 is none.
        no_repeat_ngram: n-grams of this many tokens occur once in the history, prompt included; 0 is no rule.
        eos_bias: added to the end token's logit, before the other two.

    Raises:
        ToolkitError: a value out of its range; the message names the flag.
    """

    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    eos_bias: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.repetition_penalty < math.inf:
            raise ToolkitError(f"--repetition-penalty {self.repetition_penalty} is not above 0", "Give 1 for none.")
        if self.no_repeat_ngram < 0:
            raise ToolkitError(f"--no-repeat-ngram {self.no_repeat_ngram} is below 0", "Give 0 for none.")
        if not math.isfinite(self.eos_bias):
            raise ToolkitError(f"--eos-bias {self.eos_bias} is not finite", "Give 0 for none.")


@dataclass(frozen=True)
class Choice:
    """One token that was chosen.

    Attributes:
        token_id: the token.
        probability: its softmax over the raw logits, 0..1: what the model says, whatever the options made of it.
        eos_margin: the end token's processed logit less the best other one; positive exactly where the end token wins,
            but for a tie: there it is 0 and the lower id wins.
    """

    token_id: int
    probability: float
    eos_margin: float


@dataclass(frozen=True)
class Decoded:
    """All choices, and why there are no more.

    Attributes:
        choices: in order; with `stop` "eos" the last is the end token, as in the sequence that `generate` returns.
        stop: "eos": the end token won; "max_tokens": as many were chosen as were asked for; "cache_full": the decoder
            had no room for the last one. The end token goes before both limits, "max_tokens" before "cache_full".
    """

    choices: tuple[Choice, ...]
    stop: Stop

    @property
    def tokens(self) -> tuple[Choice, ...]:
        """The choices without the end token."""
        return self.choices[:-1] if self.stop == "eos" else self.choices


_NO_OPTIONS = GreedyOptions()


def greedy(
    decoder: Decoder,
    prompt: Sequence[int],
    *,
    eos_id: int,
    max_new_tokens: int = 0,
    options: GreedyOptions = _NO_OPTIONS,
) -> Decoded:
    """Decode one sequence.

    Args:
        decoder: for the audio at hand.
        prompt: ids that precede the first token, one at least; all of them are history for the options.
        eos_id: id of the end token.
        max_new_tokens: tokens after which the loop ends, the end token counted; 0 is no limit but the cache's.
        options: what changes the choice of tokens.

    Raises:
        ToolkitError: `max_new_tokens` is negative.
        RuntimeFault: the decoder returned logits that are not numbers.
    """
    if max_new_tokens < 0:
        raise ToolkitError(f"--max-tokens {max_new_tokens} is below 0", "Give 0 for as many as the cache takes.")
    history = list(prompt)
    choices: list[Choice] = []
    logits = decoder.prefill(np.array(prompt, np.int32))
    while True:
        choices.append(_choice(logits, history, eos_id, options))
        token = choices[-1].token_id
        if token == eos_id:
            return Decoded(tuple(choices), "eos")
        if len(choices) == max_new_tokens:
            return Decoded(tuple(choices), "max_tokens")
        if decoder.room < 1:
            return Decoded(tuple(choices), "cache_full")
        history.append(token)
        logits = decoder.step(token)


def processed(logits: np.ndarray, history: Sequence[int], eos_id: int, options: GreedyOptions) -> np.ndarray:
    """Logits as the options change them.

    Args:
        logits: [V], any float; left as they are.
        history: prompt and the tokens consumed since, one at least; ids beyond V are passed over.
        eos_id: id of the end token.
        options: what changes them.

    Returns:
        [V] float32.
    """
    scores = logits.astype(np.float32)
    scores[eos_id] += np.float32(options.eos_bias)
    ids = np.array(history)
    if options.repetition_penalty != 1:
        _penalise(scores, ids, np.float32(options.repetition_penalty))
    if options.no_repeat_ngram:
        scores[_within(_continuations(ids, options.no_repeat_ngram), scores)] = -np.inf
    return scores


def _choice(logits: np.ndarray, history: Sequence[int], eos_id: int, options: GreedyOptions) -> Choice:
    if np.isnan(logits).any():
        raise RuntimeFault("the decoder returned logits that are not numbers", FIND_STAGE)
    scores = processed(logits, history, eos_id, options)
    token = int(scores.argmax())
    return Choice(token, _probability(logits, token), _margin(scores, eos_id))


def _probability(logits: np.ndarray, token: int) -> float:
    exact = logits.astype(np.float64)
    exact -= exact.max()
    return float(np.exp(exact[token]) / np.exp(exact).sum())


def _margin(scores: np.ndarray, eos_id: int) -> float:
    """The end token's score less the best other; in float64, where different scores never give 0."""
    best = max(scores[:eos_id].max(initial=-np.inf), scores[eos_id + 1 :].max(initial=-np.inf))
    return -math.inf if scores[eos_id] == -np.inf else float(scores[eos_id]) - float(best)


def _penalise(scores: np.ndarray, ids: np.ndarray, penalty: np.float32) -> None:
    """In place; once an id, however often it occurs."""
    seen = _within(ids, scores)
    chosen = scores[seen]
    scores[seen] = np.where(chosen < 0, chosen * penalty, chosen / penalty)


def _continuations(ids: np.ndarray, size: int) -> np.ndarray:
    """Tokens that would complete an n-gram of `size` which `ids` already holds."""
    if len(ids) < size:
        return ids[:0]
    windows = np.lib.stride_tricks.sliding_window_view(ids, size)  # [H] -> [H - size + 1, size]
    matches = (windows[:, :-1] == ids[len(ids) + 1 - size :]).all(axis=1)
    continuations: np.ndarray = windows[matches, -1]
    return continuations


def _within(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
    within: np.ndarray = ids[ids < len(scores)]
    return within
