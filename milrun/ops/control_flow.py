"""MIL's control_flow ops: branches, loops, selection, and lists of tensors.

A list travels as a Python list of tensors, None where nothing was written. Lists are never changed in place.
"""

from typing import Any

import torch

from milrun.registry import Blocks, Tensor, Tensors, op

List = list[Tensor | None]


@op(exact=True)
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where `cond` is true, `b` elsewhere, broadcast."""
    return torch.where(cond, a, b)


@op(exact=True)
def cond(pred: bool, blocks: Blocks) -> tuple[Any, ...]:
    """Run the first block when `pred` is true, else the second; only one of them runs."""
    return tuple(blocks[0 if pred else 1]())


@op(exact=True)
def while_loop(loop_vars: Tensors, blocks: Blocks) -> tuple[Any, ...]:
    """Run the second block on the loop variables as long as the first one yields true."""
    condition, body = blocks
    values = list(loop_vars)
    while condition(*values)[0].item():
        values = body(*values)
    return tuple(values)
