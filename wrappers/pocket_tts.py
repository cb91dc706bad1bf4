"""PocketTTS' backbone as Core ML components. Source: `transformers` 5.23 `models/pocket_tts/modeling_pocket_tts.py`.
The flow head is in `wrappers/pocket_tts_flow.py`, the codec in `wrappers/pocket_tts_codec.py`.

One `Backbone` holds the maths of all forms; a form says only where earlier keys and values are kept: with the caller
(`Prefill`, `ExternalStep`) or in a state of the model (`StatefulStep`). What differs from the reference, and why:

- the reference appends to a cache that grows; ours has a fixed number of slots, masked from integers (`position`);
- the functions of the caller's cache return the new rows only, zero where the chunk was padding: nothing padded can
  enter a cache, and a cache of megabytes does not come back at every step;
- cos and sin are inputs: angles computed in float16 are off by whole turns at late positions;
- the learnt start latent is chosen by a flag, where an earlier port passed NaN, which hardware alters.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from wrappers.attention import GroupedAttention, causal_mask, mask_from
from wrappers.rope import rotate

# Keys and values [1, K, C, d] that may be attended to, with their mask [1, 1, S or 1, C].
KeysValues = tuple[Tensor, Tensor, Tensor]
# (layer, new keys [1, K, S, d], new values) -> all that the new queries may see.
Remember = Callable[[int, Tensor, Tensor], Sequence[KeysValues]]


class TextEmbedding(nn.Module):
    """Ids to the backbone's width: text, and the token in front of a voice.

    Args:
        model: `PocketTTSForConditionalGeneration` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tokens: nn.Embedding = model.model.embed_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens int32 [1, T] -> embeds [1, T, D]."""
        embeds: Tensor = self.tokens(tokens)
        return embeds


class VoiceProjection(nn.Module):
    """Latents of a voice, in the codec's own space, to the backbone's width.

    Args:
        model: `PocketTTSForConditionalGeneration` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.projection: nn.Linear = model.model.audio_prompt_proj

    def forward(self, latents: Tensor) -> Tensor:
        """latents [1, T, Z] -> embeds [1, T, D]."""
        embeds: Tensor = self.projection(latents)
        return embeds


class Attention(GroupedAttention):
    """Rotary grouped-query attention over keys that come in several pieces.

    Args:
        attention: the reference's `PocketTTSAttention`.
    """

    def keys_values(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """hidden [1, S, D], cos and sin [1, S, 1, d] -> two of [1, K, S, d]."""
        shape = (1, hidden.shape[1], self.key_heads, self.head_dim)
        key = rotate(self.k_proj(hidden).view(shape), cos, sin)
        return key.transpose(1, 2), self.v_proj(hidden).view(shape).transpose(1, 2)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, pieces: Sequence[KeysValues]) -> Tensor:
        """hidden [1, S, D], cos and sin [1, S, 1, d], pieces of all keys -> [1, S, D]."""
        length, heads = hidden.shape[1], self.key_heads * self.groups
        query = rotate(self.q_proj(hidden).view(1, length, heads, self.head_dim), cos, sin) * self.scaling
        rows = self._rows(query, length)
        scores = [rows @ key.transpose(2, 3) + self._mask_of_rows(mask) for key, _, mask in pieces]
        weights = torch.softmax(torch.cat(scores, dim=-1) if len(scores) > 1 else scores[0], dim=-1)
        shares = torch.split(weights, [key.shape[2] for key, _, _ in pieces], dim=-1)
        context = reduce(torch.add, [share @ value for share, (_, value, _) in zip(shares, pieces, strict=True)])
        output: Tensor = self.o_proj(self._joined(context, length))  # [1, K, G*S, d] -> [1, S, D]
        return output


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm.

    Args:
        layer: the reference's `PocketTTSDecoderLayer`.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention = Attention(layer.self_attn)
        self.attention_norm: nn.LayerNorm = layer.input_layernorm
        self.mlp: Any = layer.mlp
        self.mlp_norm: nn.LayerNorm = layer.post_attention_layernorm


class Backbone(nn.Module):
    """All layers, without the final norm.

    Args:
        model: `PocketTTSForConditionalGeneration` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layers: Any = nn.ModuleList([Layer(layer) for layer in model.model.layers])

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor, remember: Remember) -> Tensor:
        """hidden [1, S, D], cos and sin [1, S, d] -> [1, S, D]."""
        cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)  # [1, S, d] -> [1, S, 1, d]
        layer: Layer
        for i, layer in enumerate(self.layers):
            normed = layer.attention_norm(hidden)
            pieces = remember(i, *layer.attention.keys_values(normed, cos, sin))
            hidden = hidden + layer.attention(normed, cos, sin, pieces)
            hidden = hidden + layer.mlp(layer.mlp_norm(hidden))
        return hidden


class Prefill(nn.Module):
    """One chunk of voice and text behind what the caller's cache holds.

    Args:
        model: `PocketTTSForConditionalGeneration` in eval mode.
        slots: of the cache.
        chunk: fixed length T.
    """

    slots: Tensor
    rows: Tensor
    future: Tensor

    def __init__(self, model: Any, slots: int, chunk: int) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.register_buffer("slots", torch.arange(slots, dtype=torch.int32), persistent=False)
        self.register_buffer("rows", torch.arange(chunk, dtype=torch.int32), persistent=False)
        self.register_buffer("future", causal_mask(chunk)[None, None], persistent=False)  # [1, 1, T, T]

    def forward(
        self,
        embeds: Tensor,
        length: Tensor,
        position: Tensor,
        cos: Tensor,
        sin: Tensor,
        key_in: Tensor,
        value_in: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """embeds [1, T, D], length int32 [1] of them valid, position int32 [1] of the first, cos and sin [1, T, d],
        key_in and value_in [L, K, C, d] -> key_out, value_out [L, K, T, d], zero from `length` on."""
        valid = (self.rows < length).to(torch.float32)[None, None, :, None]  # [1, 1, T, 1]
        past = mask_from(self.slots, position)
        keys, values = [], []

        def remember(layer: int, key: Tensor, value: Tensor) -> Sequence[KeysValues]:
            keys.append(key * valid)
            values.append(value * valid)
            return (key_in[layer : layer + 1], value_in[layer : layer + 1], past), (key, value, self.future)

        self.backbone(embeds, cos, sin, remember)
        return torch.cat(keys), torch.cat(values)


class _Step(nn.Module):
    """One latent in: what both forms of the step share.

    Args:
        model: `PocketTTSForConditionalGeneration` in eval mode.
        slots: of the cache.
    """

    start_latent: Tensor
    slots: Tensor

    def __init__(self, model: Any, slots: int) -> None:
        super().__init__()
        self.backbone = Backbone(model)
        self.norm: nn.LayerNorm = model.model.norm
        self.eos_head: nn.Linear = model.eos_head
        self.latent_projection: nn.Linear = model.model.audio_latent_proj
        self.register_buffer("start_latent", model.model.bos_latent.detach()[None].clone(), persistent=False)
        self.register_buffer("slots", torch.arange(slots, dtype=torch.int32), persistent=False)

    def step(
        self, latent: Tensor, is_start: Tensor, cos: Tensor, sin: Tensor, remember: Remember
    ) -> tuple[Tensor, Tensor]:
        """latent [1, Z], is_start [1], cos and sin [1, 1, d] -> (hidden [1, D], eos_logit [1, 1])."""
        chosen = latent * (1.0 - is_start) + self.start_latent * is_start
        embed = self.latent_projection(chosen).unsqueeze(1)  # [1, Z] -> [1, 1, D]
        hidden = self.norm(self.backbone(embed, cos, sin, remember)).squeeze(1)
        return hidden, self.eos_head(hidden)


class ExternalStep(_Step):
    """One latent; the caller keeps the cache."""

    seen: Tensor

    def __init__(self, model: Any, slots: int) -> None:
        super().__init__(model, slots)
        self.register_buffer("seen", torch.zeros(1, 1, 1, 1), persistent=False)

    def forward(
        self,
        latent: Tensor,
        is_start: Tensor,
        position: Tensor,
        cos: Tensor,
        sin: Tensor,
        key_in: Tensor,
        value_in: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """latent [1, Z] normalised, is_start [1] (1 takes the learnt start latent instead), position int32 [1], cos and
        sin [1, 1, d], key_in and value_in [L, K, C, d] -> (hidden [1, D], eos_logit [1, 1], key_out, value_out
        [L, K, 1, d])."""
        past = mask_from(self.slots, position)
        keys, values = [], []

        def remember(layer: int, key: Tensor, value: Tensor) -> Sequence[KeysValues]:
            keys.append(key)
            values.append(value)
            return (key_in[layer : layer + 1], value_in[layer : layer + 1], past), (key, value, self.seen)

        hidden, eos_logit = self.step(latent, is_start, cos, sin, remember)
        return hidden, eos_logit, torch.cat(keys), torch.cat(values)


class StatefulStep(_Step):
    """One latent; the model keeps the cache in its states `key_cache` and `value_cache` [L, K, C, d]."""

    key_cache: Tensor
    value_cache: Tensor

    def __init__(self, model: Any, slots: int) -> None:
        super().__init__(model, slots)
        first: Attention = self.backbone.layers[0].attention
        shape = (len(self.backbone.layers), first.key_heads, slots, first.head_dim)
        self.register_buffer("key_cache", torch.zeros(shape))
        self.register_buffer("value_cache", torch.zeros(shape))

    def forward(
        self, latent: Tensor, is_start: Tensor, position: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """latent [1, Z] normalised, is_start [1], position int32 [1], cos and sin [1, 1, d] -> (hidden [1, D],
        eos_logit [1, 1])."""
        place = position[0]
        seen = mask_from(self.slots, position + 1)

        def remember(layer: int, key: Tensor, value: Tensor) -> Sequence[KeysValues]:
            self.key_cache[layer : layer + 1, :, place : place + 1] = key
            self.value_cache[layer : layer + 1, :, place : place + 1] = value
            return ((self.key_cache[layer : layer + 1], self.value_cache[layer : layer + 1], seen),)

        return self.step(latent, is_start, cos, sin, remember)
