"""Cohere Transcribe as Core ML components. Source: `transformers` 5.23 `models/cohere_asr/modeling_cohere_asr.py`.

The encoder is Parakeet's (`wrappers/conformer.py`). One `Decoder` holds the maths of all decoder forms; a form says
only where the keys and values of earlier tokens are kept: nowhere (stateless), with the caller (external), or in a
state of the model (stateful). What differs from the reference, and why:

- keys and values of the audio are computed once, by a component of their own, and not at every token;
- masks come from integers (`position`, `encoder_length`) or from the host, never from sums in float16;
- the queries are scaled, not the products; grouped queries are further rows of their key's head, no key is copied.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wrappers.attention import MASKED, CachedAttention, causal_mask, mask_from
from wrappers.conformer import ConformerEncoder

HeadForm = Literal["raw", "log-softmax"]
# (layer, new keys [1, K, S, d], new values) -> all keys and values to attend to, [1, K, C, d]
Remember = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


class Encoder(nn.Module):
    """Mel to frames of the decoder's width; padded frames come out as zeros.

    Args:
        model: `CohereAsrForConditionalGeneration` in eval mode.
        mel_frames: fixed input length T.
        frames: fixed output length F, at least what T becomes: the decoder knows one length only.
    """

    def __init__(self, model: Any, mel_frames: int, frames: int) -> None:
        super().__init__()
        self.encoder = ConformerEncoder(model.model.encoder, mel_frames)
        self.projector: nn.Linear = model.model.decoder.proj
        self.padding = frames - self.encoder.subsampling.frames

    def forward(self, mel: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """mel [1, T, M], length int32 [1] -> (encoder [1, F, D], encoder_length int32 [1])."""
        hidden, valid = self.encoder(mel, length)
        frames = self.projector(hidden) * valid.to(hidden.dtype).unsqueeze(-1)
        if self.padding:
            frames = nn.functional.pad(frames, (0, 0, 0, self.padding))
        return frames, valid.to(torch.int32).sum(dim=1, dtype=torch.int32)


class CrossKeysValues(nn.Module):
    """Keys and values of the audio for every decoder layer, once an utterance.

    Args:
        model: `CohereAsrForConditionalGeneration` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.attentions: Any = nn.ModuleList(
            [CachedAttention(layer.encoder_attn) for layer in model.model.decoder.layers]
        )

    def forward(self, encoder: Tensor) -> tuple[Tensor, Tensor]:
        """encoder [1, F, D] -> cross_key, cross_value [L, K, F, d]."""
        pairs = [attention.keys_values(encoder) for attention in self.attentions]
        return torch.cat([key for key, _ in pairs]), torch.cat([value for _, value in pairs])


class DecoderLayer(nn.Module):
    """Self-attention, attention to the audio, feed-forward, each behind a norm.

    Args:
        layer: the reference's `CohereAsrDecoderLayer`.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.self_attention, self.cross_attention = (
            CachedAttention(layer.self_attn),
            CachedAttention(layer.encoder_attn),
        )
        self.self_norm: nn.LayerNorm = layer.input_layernorm
        self.cross_norm: nn.LayerNorm = layer.post_attention_layernorm
        self.mlp: Any = layer.mlp
        self.mlp_norm: nn.LayerNorm = layer.final_layernorm


class Decoder(nn.Module):
    """All layers, the embedding and the head: what every form shares.

    Args:
        model: `CohereAsrForConditionalGeneration` in eval mode.
        head: `raw` logits, or their logarithmic softmax.
    """

    def __init__(self, model: Any, head: HeadForm) -> None:
        super().__init__()
        decoder = model.model.decoder
        self.tokens: nn.Embedding = decoder.embed_tokens
        self.positions: nn.Embedding = decoder.pos_emb
        self.embedding_norm: nn.LayerNorm = decoder.embedding_layernorm
        self.norm: nn.LayerNorm = decoder.norm
        self.layers: Any = nn.ModuleList([DecoderLayer(layer) for layer in decoder.layers])
        self.output: nn.Linear = model.proj_out
        self.head = head

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        remember: Remember,
        self_mask: Tensor,
        cross: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        """tokens and positions int32 [1, S], self_mask [1, 1, S or 1, C], cross (keys, values [L, K, F, d], mask
        [1, 1, 1, F]) -> [1, S, D]."""
        cross_key, cross_value, cross_mask = cross
        layer: DecoderLayer
        hidden: Tensor = self.embedding_norm(self.tokens(tokens) + self.positions(positions))
        for i, layer in enumerate(self.layers):
            normed = layer.self_norm(hidden)
            key, value = remember(i, *layer.self_attention.keys_values(normed))
            hidden = hidden + layer.self_attention(normed, key, value, self_mask)
            normed = layer.cross_norm(hidden)
            hidden = hidden + layer.cross_attention(normed, cross_key[i : i + 1], cross_value[i : i + 1], cross_mask)
            hidden = hidden + layer.mlp(layer.mlp_norm(hidden))
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """One position [1, 1, D] -> [1, V]."""
        logits: Tensor = self.output(self.norm(hidden)).squeeze(1)
        return torch.log_softmax(logits, dim=-1) if self.head == "log-softmax" else logits


class _Form(nn.Module):
    """What the forms have in common: the decoder, the length of the cache, the mask of the audio.

    Args:
        model: `CohereAsrForConditionalGeneration` in eval mode.
        head: `raw` or `log-softmax`.
        cache: tokens that the cache holds, the prompt's included.
        frames: fixed length F of the encoder's output.
    """

    slots: Tensor
    frames: Tensor

    def __init__(self, model: Any, head: HeadForm, cache: int, frames: int) -> None:
        super().__init__()
        self.decoder, self.cache = Decoder(model, head), cache
        self.register_buffer("slots", torch.arange(cache, dtype=torch.int32), persistent=False)
        self.register_buffer("frames", torch.arange(frames, dtype=torch.int32), persistent=False)

    def cross_mask(self, encoder_length: Tensor) -> Tensor:
        """encoder_length int32 [1] -> [1, 1, 1, F], -1e4 where padded."""
        return mask_from(self.frames, encoder_length)

    def causal(self, length: int) -> Tensor:
        """[1, 1, S, S], -1e4 above the diagonal."""
        return causal_mask(length)[None, None]


class Prefill(_Form):
    """The prompt in one call, into an empty cache."""

    mask: Tensor
    places: Tensor

    def __init__(self, model: Any, head: HeadForm, cache: int, frames: int, prompt: int) -> None:
        super().__init__(model, head, cache, frames)
        self.prompt = prompt
        self.register_buffer("mask", self.causal(prompt), persistent=False)
        self.register_buffer("places", torch.arange(prompt, dtype=torch.int32)[None], persistent=False)

    def forward(
        self, tokens: Tensor, cross_key: Tensor, cross_value: Tensor, encoder_length: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """tokens int32 [1, P], cross [L, K, F, d], encoder_length int32 [1] -> (logits [1, V] of the token after the
        prompt, key_out, value_out [L, K, C, d], zero behind the prompt)."""
        keys, values = [], []

        def remember(layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            keys.append(key)
            values.append(value)
            return key, value

        cross = (cross_key, cross_value, self.cross_mask(encoder_length))
        hidden = self.decoder(tokens, self.places, remember, self.mask, cross)
        rest = (0, 0, 0, self.cache - self.prompt)
        key_out, value_out = (nn.functional.pad(torch.cat(parts), rest) for parts in (keys, values))
        return self.decoder.logits(hidden[:, self.prompt - 1 : self.prompt]), key_out, value_out


class ExternalStep(_Form):
    """One token; the caller keeps the cache, and says which of its tokens may be attended to."""

    def forward(
        self,
        token: Tensor,
        position: Tensor,
        self_mask: Tensor,
        key_in: Tensor,
        value_in: Tensor,
        cross_key: Tensor,
        cross_value: Tensor,
        encoder_length: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """token int32 [1, 1], position int32 [1], self_mask [1, 1, 1, C] (0 up to the position, -1e4 beyond), key_in
        and value_in [L, K, C, d], cross [L, K, F, d], encoder_length int32 [1] -> (logits [1, V], key_out, value_out).
        """
        here = (self.slots == position).to(torch.float32)[None, None, :, None]  # [1, 1, C, 1]
        keys, values = [], []

        def remember(layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            keys.append(key_in[layer : layer + 1] * (1.0 - here) + key * here)
            values.append(value_in[layer : layer + 1] * (1.0 - here) + value * here)
            return keys[-1], values[-1]

        cross = (cross_key, cross_value, self.cross_mask(encoder_length))
        hidden = self.decoder(token, position.unsqueeze(0), remember, self_mask, cross)
        return self.decoder.logits(hidden), torch.cat(keys), torch.cat(values)


class StatefulStep(_Form):
    """One token; the model keeps the cache in its states `key_cache` and `value_cache` [L, K, C, d]."""

    key_cache: Tensor
    value_cache: Tensor

    def __init__(self, model: Any, head: HeadForm, cache: int, frames: int) -> None:
        super().__init__(model, head, cache, frames)
        first: CachedAttention = self.decoder.layers[0].self_attention
        shape = (len(self.decoder.layers), first.key_heads, cache, first.head_dim)
        self.register_buffer("key_cache", torch.zeros(shape))
        self.register_buffer("value_cache", torch.zeros(shape))

    def forward(
        self, token: Tensor, position: Tensor, cross_key: Tensor, cross_value: Tensor, encoder_length: Tensor
    ) -> Tensor:
        """token int32 [1, 1], position int32 [1], cross [L, K, F, d], encoder_length int32 [1] -> logits [1, V]."""
        place = position[0]

        def remember(layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            self.key_cache[layer : layer + 1, :, place : place + 1] = key
            self.value_cache[layer : layer + 1, :, place : place + 1] = value
            return self.key_cache[layer : layer + 1], self.value_cache[layer : layer + 1]

        self_mask = (self.slots > position).to(torch.float32)[None, None, None] * MASKED
        cross = (cross_key, cross_value, self.cross_mask(encoder_length))
        return self.decoder.logits(self.decoder(token, position.unsqueeze(0), remember, self_mask, cross))


class Stateless(_Form):
    """All tokens anew at every step: no cache, n times the work."""

    mask: Tensor

    def __init__(self, model: Any, head: HeadForm, cache: int, frames: int) -> None:
        super().__init__(model, head, cache, frames)
        self.register_buffer("mask", self.causal(cache), persistent=False)

    def forward(
        self, tokens: Tensor, last: Tensor, cross_key: Tensor, cross_value: Tensor, encoder_length: Tensor
    ) -> Tensor:
        """tokens int32 [1, C], last int32 [1] place of the last token, cross [L, K, F, d], encoder_length int32 [1] ->
        logits [1, V] of the token after it."""
        cross = (cross_key, cross_value, self.cross_mask(encoder_length))
        hidden = self.decoder(tokens, self.slots.unsqueeze(0), lambda _, k, v: (k, v), self.mask, cross)
        here = (self.slots == last).to(torch.float32)[None, None]  # [1, 1, C]
        return self.decoder.logits(here @ hidden)
