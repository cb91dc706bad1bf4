"""Parrot as a Core ML component."""

import torch
from torch import Tensor, nn


class Ear(nn.Module):
    """Frames of sound to scores of letters.

    Args:
        weight: [letters, samples of a frame] float32.
        bias: [letters] float32.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.scores = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.scores.weight.copy_(weight)
            self.scores.bias.copy_(bias)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [T, S] -> scores [T, letters]."""
        return torch.tanh(self.scores(frames))
