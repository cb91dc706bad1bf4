"""MIL's classify op. Oracle: literal golden."""

from typing import Any

import torch

from milrun.registry import Tensor, op


@op()
def classify(probabilities: Tensor, classes: Any) -> tuple[Any, dict[Any, float]]:
    """The likeliest class, and every class with its probability; classes are strings or integers."""
    labels = [label.item() for label in classes]
    scores = probabilities.reshape(-1)
    best = labels[int(torch.argmax(scores))]
    return (
        best if isinstance(best, str) else torch.tensor(best),
        dict(zip(labels, scores.tolist(), strict=True)),
    )
