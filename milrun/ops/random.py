"""MIL's random ops. Oracle: moments, and the contract below.

With `seed >= 0` an op draws from a generator of its own, seeded anew at every call: each call yields the same values.
With the default `seed=-1` it draws from PyTorch's global generator, so `torch.manual_seed` makes a whole run
repeatable. The values are never those of Core ML, whose generator is not published; compare distributions, or feed
noise as an input of the model.
"""

import torch

from milrun.registry import Ints, Tensor, op


def _generator(seed: int) -> torch.Generator | None:
    return None if seed < 0 else torch.Generator().manual_seed(seed)


@op()
def random_bernoulli(shape: Ints, prob: float = 0.5, seed: int = -1) -> Tensor:
    """1 with probability `prob`, else 0, as floats."""
    return (torch.rand(shape, generator=_generator(seed)) < prob).to(torch.float32)


@op()
def random_categorical(x: Tensor, mode: str = "logits", size: int = 1, seed: int = -1) -> Tensor:
    """Draw `size` indices, with replacement, from each row of logits or probs: [*D, K] -> [*D, size], as floats."""
    weights = {"logits": lambda: torch.softmax(x, -1), "probs": lambda: x}[mode]()
    drawn = torch.multinomial(weights.reshape(-1, x.shape[-1]), size, replacement=True, generator=_generator(seed))
    return drawn.reshape(*x.shape[:-1], size).to(torch.float32)


@op()
def random_normal(shape: Ints, mean: float = 0.0, stddev: float = 1.0, seed: int = -1) -> Tensor:
    """Normal with the given mean and standard deviation."""
    return torch.randn(shape, generator=_generator(seed)) * stddev + mean


@op()
def random_uniform(shape: Ints, low: float = 0.0, high: float = 1.0, seed: int = -1) -> Tensor:
    """Uniform over [low, high); rounding to float16 may reach `high`."""
    return torch.rand(shape, generator=_generator(seed)) * (high - low) + low
