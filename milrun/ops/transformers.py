"""MIL's transformers ops."""

import torch
import torch.nn.functional as F

from milrun.registry import Tensor, op


@op(since="iOS18")
def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """softmax(Q Kᵀ / √E + mask) V; query [B, .., L, E], key [B, .., S, E], value [B, .., S, EV].

    A bool mask tells which elements take part, a float mask is added; both are broadcast to [B, .., L, S]. A row with
    nothing to attend to is NaN, as the formula says; PyTorch's fused kernels give 0 there.
    """
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros(attn_mask.shape).masked_fill(~attn_mask, float("-inf"))
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask)
    if attn_mask is None:
        return attended
    dead = (attn_mask == float("-inf")).all(-1, keepdim=True)
    return attended.masked_fill(dead, float("nan")) if bool(dead.any()) else attended
