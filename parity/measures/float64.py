"""Somebody else's PyTorch code carried out in float64: what its own rounding can be measured against.

Transformers' feature extractors cast to float32 wherever they can. Here each of their calls into PyTorch is given
float64 where it names float32, so that it is their code that runs, and nothing that was written after it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map


@contextmanager
def in_float64() -> Iterator[None]:
    """Within the block, PyTorch computes in float64 what it is asked to compute in float32.

    Constants that the code makes in float32 (a window) keep their float32 values, and random numbers are those of
    float32: both are part of the model, not of its rounding.
    """
    with _Wide():
        yield


class _Wide(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func is torch.randn:  # another dtype is another sequence
            return func(*args, **{**named, "dtype": torch.float32}).double()
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves((args, named))):  # else it makes a constant
            args, named = tree_map(_widened, (args, named))
        return tree_map(_widened, func(*args, **named))


def _widened(value: Any) -> Any:
    if value is torch.float32:
        return torch.float64
    is_narrow = isinstance(value, torch.Tensor) and value.dtype is torch.float32
    return value.double() if is_narrow else value
