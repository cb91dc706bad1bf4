"""Cohere Transcribe as Core ML components. Source: `transformers` 5.23 `models/cohere_asr/modeling_cohere_asr.py`.

The encoder is Parakeet's (`wrappers/conformer.py`), the forms of the decoder are those of `wrappers/cached_decoder.py`.
What differs from the reference, and why:

- keys and values of the audio are computed once, by a component of their own, and not at every token;
- the queries are scaled, not the products; grouped queries are further rows of their key's head, no key is copied.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from wrappers.attention import CachedAttention
from wrappers.cached_decoder import Remember
from wrappers.conformer import ConformerEncoder

HeadForm = Literal["raw", "log-softmax"]


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

    Attributes:
        kept: L, K and d of the keys and values that a cache keeps.
    """

    def __init__(self, model: Any, head: HeadForm) -> None:
        super().__init__()
        decoder = model.model.decoder
        self.tokens: nn.Embedding = decoder.embed_tokens
        self.positions: nn.Embedding = decoder.pos_emb
        self.embedding_norm: nn.LayerNorm = decoder.embedding_layernorm
        self.norm: nn.LayerNorm = decoder.norm
        layers = [DecoderLayer(layer) for layer in decoder.layers]
        self.layers: Any = nn.ModuleList(layers)
        self.kept = (len(layers), layers[0].self_attention.key_heads, layers[0].self_attention.head_dim)
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
