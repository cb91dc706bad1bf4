"""Margins: how near a decision was to another one."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TopTwo:
    """The two best candidates of one decision; `margin` is the difference of their logits."""

    best: int
    second: int
    margin: float


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exponentials: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def top_two(logits: np.ndarray) -> TopTwo:
    """The best and the second best of one decision.

    Args:
        logits: float array, any shape, read flat; at least two elements.

    Returns:
        Indices and margin. At a tie the lower index is best, as argmax has it.
    """
    flat = logits.ravel()
    best = int(np.argmax(flat))
    rest = flat.copy()
    rest[best] = -np.inf
    second = int(np.argmax(rest))
    return TopTwo(best, second, float(flat[best]) - float(flat[second]))


def is_near_tie(margin: float, noise: float) -> bool:
    """Whether noise alone can turn a decision: both candidates may move by `noise`, one up and one down.

    Args:
        margin: top-1 minus top-2 logit of the reference.
        noise: largest absolute error measured on logits of this kind; the caller's gate has to bound it.
    """
    return margin <= 2 * noise
