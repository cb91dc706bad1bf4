"""Rotary position embedding, shared by the models whose checkpoints hold queries and keys in the halves layout."""

import torch
from torch import Tensor


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding, halves layout.

    Args:
        heads: [1, S, H, d].
        cos: [1, S, 1, d].
        sin: [1, S, 1, d].
    """
    half = heads.shape[-1] // 2
    turned = torch.cat([-heads[..., half:], heads[..., :half]], dim=-1)
    return heads * cos + turned * sin
