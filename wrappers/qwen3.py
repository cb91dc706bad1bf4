"""Qwen3 decoder blocks for one causal pass over a fixed length, shared by the models that are built on them.

Source: `transformers` 5.23 `models/qwen3/modeling_qwen3.py`. What differs, and why:

- RMSNorm is a layer norm over [x, -x], whose mean is zero: squares are never values of the graph, so that float16 does
  not overflow where |x| > 255;
- cos and sin are inputs: angles computed in float16 are off by whole turns at late positions;
- queries are taken in blocks and see the keys up to their own block: no S x S scores and no S x S mask exist, and the
  half that causality forbids is not computed;
- the queries are scaled, not the products, and grouped queries are further rows of their key's head: no key is copied.
"""

from typing import Any

import torch
from torch import Tensor, nn

from wrappers.attention import GroupedAttention, causal_mask
from wrappers.rope import rotate

QUERY_BLOCK = 1024


class RMSNorm(nn.Module):
    """Root mean square norm that float16 cannot overflow.

    Args:
        norm: the reference's `Qwen3RMSNorm`.
    """

    scale: Tensor

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.eps = float(norm.variance_epsilon)
        self.width: int = norm.weight.shape[0]
        self.register_buffer("scale", torch.cat([norm.weight, norm.weight]).detach(), persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> [..., D]."""
        doubled = torch.cat([hidden, -hidden], dim=-1)
        return nn.functional.layer_norm(doubled, (2 * self.width,), self.scale, None, self.eps)[..., : self.width]


class CausalAttention(GroupedAttention):
    """Grouped-query attention over one fixed length.

    Args:
        attention: the reference's `Qwen3Attention`, without a sliding window.
        length: fixed length S.
    """

    future: Tensor

    def __init__(self, attention: Any, length: int) -> None:
        super().__init__(attention)
        self.q_norm, self.k_norm = RMSNorm(attention.q_norm), RMSNorm(attention.k_norm)
        self.length, self.block = length, min(length, QUERY_BLOCK)
        if length % self.block:
            raise ValueError(f"a length over {QUERY_BLOCK} must be a multiple of it, {length} is not")
        future = causal_mask(self.block).repeat(self.groups, 1)  # [G*B, B]
        self.register_buffer("future", future[None, None], persistent=False)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """hidden [1, S, D], cos and sin [1, S, 1, d] -> [1, S, D]."""
        query = self.q_norm(self.q_proj(hidden).view(1, self.length, self.key_heads * self.groups, self.head_dim))
        key = self.k_norm(self.k_proj(hidden).view(1, self.length, self.key_heads, self.head_dim))
        query, key = rotate(query, cos, sin) * self.scaling, rotate(key, cos, sin)
        key = key.permute(0, 2, 3, 1)  # [1, S, K, d] -> [1, K, d, S]
        value = self.v_proj(hidden).view(1, self.length, self.key_heads, self.head_dim).transpose(1, 2)
        starts = range(0, self.length, self.block)
        output: Tensor = self.o_proj(torch.cat([self._context(query, key, value, start) for start in starts], dim=1))
        return output

    def _context(self, query: Tensor, key: Tensor, value: Tensor, start: int) -> Tensor:
        """One block of queries against all keys up to its end: [1, B, H*d]."""
        stop = start + self.block
        rows = self._rows(query[:, start:stop], self.block)
        scores = rows @ key[..., start:stop] + self.future
        if start:
            scores = torch.cat([rows @ key[..., :start], scores], dim=-1)
        context = torch.softmax(scores, dim=-1) @ value[:, :, :stop]  # [1, K, G*B, d]
        return self._joined(context, self.block)


class DecoderLayer(nn.Module):
    """Attention and gated feed-forward, each behind a norm.

    Args:
        layer: the reference's `Qwen3DecoderLayer`.
        length: fixed length S.
    """

    def __init__(self, layer: Any, length: int) -> None:
        super().__init__()
        self.attention = CausalAttention(layer.self_attn, length)
        self.attention_norm = RMSNorm(layer.input_layernorm)
        self.mlp: Any = layer.mlp
        self.mlp_norm = RMSNorm(layer.post_attention_layernorm)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """hidden [1, S, D], cos and sin [1, S, 1, d] -> [1, S, D]."""
        hidden = hidden + self.attention(self.attention_norm(hidden), cos, sin)
        output: Tensor = hidden + self.mlp(self.mlp_norm(hidden))
        return output


class Decoder(nn.Module):
    """All layers of a Qwen3 decoder over one fixed length, without the final norm.

    Nothing marks padding: it stands behind the text, where causality keeps it from acting.

    Args:
        decoder: the reference's `Qwen3Model`.
        length: fixed length S, at most 1024 or a multiple of it.
    """

    def __init__(self, decoder: Any, length: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([DecoderLayer(layer, length) for layer in decoder.layers])

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """hidden [1, S, D], cos and sin [1, S, d] -> [1, S, D]."""
        cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
        for layer in self.layers:
            hidden = layer(hidden, cos, sin)
        return hidden
