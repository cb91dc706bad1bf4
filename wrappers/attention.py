"""What the attention of several wrappers shares: the masks, and grouped queries as further rows of their key's head.

No key or value is copied for the queries of its group, and the queries are scaled, not the products: in float16 the
products could overflow. The rows are made in rank 4 throughout: rank 5 is at the limit of the Neural Engine, and some
report that it fails there (docs/lint.md, rank-5). One row needs no transposition.
"""

from typing import Any

import torch
from torch import Tensor, nn

# Added to the scores of what must not be seen: float16 turns `finfo.min` into -inf, and a row of -inf alone into NaN.
MASKED = -1e4


def causal_mask(length: int) -> Tensor:
    """[S, S], -1e4 above the diagonal.

    Args:
        length: S.
    """
    return torch.triu(torch.full((length, length), MASKED), diagonal=1)


def mask_from(slots: Tensor, position: Tensor) -> Tensor:
    """A mask of keys that are valid up to a position.

    Args:
        slots: int32 [C], 0 to C - 1.
        position: int32 [1], the first that must not be seen.

    Returns:
        [1, 1, 1, C], -1e4 from the position on.
    """
    return (slots >= position).to(torch.float32)[None, None, None] * MASKED


class GroupedAttention(nn.Module):
    """The projections of a grouped-query attention, and its queries as rows; a subclass says where keys come from.

    Args:
        attention: the reference's, with `q_proj`, `k_proj`, `v_proj`, `o_proj`, `head_dim`, `scaling` and
            `num_key_value_groups`.

    Attributes:
        key_heads: K.
        groups: G, queries of one key; there are H = K * G heads of queries.
        head_dim: d.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.q_proj: nn.Linear = attention.q_proj
        self.k_proj: nn.Linear = attention.k_proj
        self.v_proj: nn.Linear = attention.v_proj
        self.o_proj: nn.Linear = attention.o_proj
        self.head_dim: int = attention.head_dim
        self.scaling = float(attention.scaling)
        self.groups = int(attention.num_key_value_groups)
        self.key_heads = self.k_proj.out_features // self.head_dim

    def _rows(self, query: Tensor, length: int) -> Tensor:
        """[1, S, H, d] -> [1, K, G*S, d]: the heads of one key stand together."""
        heads = query.transpose(1, 2) if length > 1 else query  # [1, S, H, d] -> [1, H, S, d]
        return heads.reshape(1, self.key_heads, self.groups * length, self.head_dim)

    def _joined(self, context: Tensor, length: int) -> Tensor:
        """[1, K, G*S, d] -> [1, S, H*d]."""
        if length > 1:  # -> [1, H, S, d] -> [1, S, H, d]
            context = context.reshape(1, self.key_heads * self.groups, length, self.head_dim).transpose(1, 2)
        return context.reshape(1, length, -1)

    def _mask_of_rows(self, mask: Tensor) -> Tensor:
        """[1, 1, S or 1, C] -> [1, 1, G*S or 1, C]."""
        return torch.cat([mask] * self.groups, dim=2) if mask.shape[2] > 1 and self.groups > 1 else mask


class CachedAttention(GroupedAttention):
    """Attention without rotation, in two calls, so that keys and values may come from elsewhere."""

    def keys_values(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [1, S, D] -> two of [1, K, S, d]."""
        key, value = self._heads(self.k_proj(hidden)), self._heads(self.v_proj(hidden))
        return key, value

    def forward(self, hidden: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """hidden [1, S, D], key and value [1, K, C, d], mask [1, 1, S or 1, C] (0 or -1e4) -> [1, S, D]."""
        length = hidden.shape[1]
        query = (self.q_proj(hidden) * self.scaling).view(1, length, self.key_heads * self.groups, self.head_dim)
        rows = self._rows(query, length)
        mask = self._mask_of_rows(mask)
        context = torch.softmax(rows @ key.transpose(2, 3) + mask, dim=-1) @ value  # [1, K, G*S, d]
        output: Tensor = self.o_proj(self._joined(context, length))
        return output

    def _heads(self, projected: Tensor) -> Tensor:
        length = projected.shape[1]
        return projected.view(1, length, self.key_heads, self.head_dim).transpose(1, 2)
