"""Qwen3-ForcedAligner as Core ML components. Source: `transformers` 5.23 `models/qwen3_asr/modeling_qwen3_asr.py`.

The reference cuts the mel into chunks, picks the valid frames with `nonzero` and splits them into attention windows;
all of that is data-dependent and would be baked into a trace. Here the host packs the valid frames, and the encoder
attends in windows that are a batch dimension, with a real length: a window costs its own square, not the file's.
"""

from typing import Any

import torch
from torch import Tensor, nn

from wrappers.attention import MASKED
from wrappers.conformer import LengthMask
from wrappers.qwen3 import Decoder, RMSNorm


class AudioConv(nn.Module):
    """Mel chunks to frames with their positions, which start anew in every chunk.

    Args:
        model: `Qwen3ASRForTokenClassification` in eval mode.
    """

    positions: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        tower = model.model.audio_tower
        self.convolutions = nn.ModuleList([tower.conv2d1, tower.conv2d2, tower.conv2d3])
        self.linear: nn.Linear = tower.conv_out
        positions: Tensor = tower.positional_embedding.positional_embedding
        self.register_buffer("positions", positions.detach().clone(), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, M, C] -> frames [B, F, D]: B chunks of C mel frames."""
        hidden = mel.unsqueeze(1)
        for convolution in self.convolutions:
            hidden = nn.functional.gelu(convolution(hidden))
        chunks, channels, bins, frames = hidden.shape
        hidden = hidden.permute(0, 3, 1, 2).reshape(chunks, frames, channels * bins)  # [B, F, channels * bins]
        output: Tensor = self.linear(hidden) + self.positions[:frames]
        return output


class WindowedAttention(nn.Module):
    """Self-attention inside windows that do not see each other.

    Args:
        attention: the reference's `Qwen3ASRAudioAttention`.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.q_proj: nn.Linear = attention.q_proj
        self.k_proj: nn.Linear = attention.k_proj
        self.v_proj: nn.Linear = attention.v_proj
        self.out_proj: nn.Linear = attention.out_proj
        self.head_dim: int = attention.head_dim
        self.scaling = float(attention.scaling)

    def forward(self, hidden: Tensor, key_mask: Tensor) -> Tensor:
        """hidden [W, T, D], key_mask [W, 1, 1, T] (0 or -1e4) -> [W, T, D]."""
        query, key, value = (self._heads(p(hidden)) for p in (self.q_proj, self.k_proj, self.v_proj))
        weights = torch.softmax((query * self.scaling) @ key.transpose(2, 3) + key_mask, dim=-1)
        context = (weights @ value).transpose(1, 2)  # [W, H, T, d] -> [W, T, H, d]
        output: Tensor = self.out_proj(context.reshape(hidden.shape))
        return output

    def _heads(self, projected: Tensor) -> Tensor:
        windows, frames, width = projected.shape
        return projected.view(windows, frames, width // self.head_dim, self.head_dim).transpose(1, 2)


class AudioLayer(nn.Module):
    """One encoder layer.

    Args:
        layer: the reference's `Qwen3ASRAudioEncoderLayer`.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention = WindowedAttention(layer.self_attn)
        self.attention_norm: nn.LayerNorm = layer.self_attn_layer_norm
        self.mlp_norm: nn.LayerNorm = layer.final_layer_norm
        self.fc1: nn.Linear = layer.fc1
        self.fc2: nn.Linear = layer.fc2
        self.activation: nn.Module = layer.activation_fn

    def forward(self, hidden: Tensor, key_mask: Tensor) -> Tensor:
        """hidden [W, T, D], key_mask [W, 1, 1, T] -> [W, T, D]."""
        hidden = hidden + self.attention(self.attention_norm(hidden), key_mask)
        output: Tensor = hidden + self.fc2(self.activation(self.fc1(self.mlp_norm(hidden))))
        return output


class AudioTransformer(nn.Module):
    """Encoder layers and projector; padded frames come out as zeros.

    Args:
        model: `Qwen3ASRForTokenClassification` in eval mode.
        frames: fixed length N.
        window: frames that attend to each other; divides N.
    """

    def __init__(self, model: Any, frames: int, window: int) -> None:
        super().__init__()
        tower, projector = model.model.audio_tower, model.model.multi_modal_projector
        self.layers = nn.ModuleList([AudioLayer(layer) for layer in tower.layers])
        self.norm: nn.LayerNorm = tower.ln_post
        self.projector = nn.Sequential(projector.linear_1, projector.act, projector.linear_2)
        self.mask = LengthMask(list(range(frames)))
        self.frames, self.window = frames, window

    def forward(self, frames: Tensor, length: Tensor) -> Tensor:
        """frames [1, N, D], length int32 [1] valid ones -> [1, N, H]."""
        valid: Tensor = self.mask(length).to(frames.dtype)  # [1, N]
        key_mask = ((1.0 - valid) * MASKED).view(self.frames // self.window, 1, 1, self.window)
        hidden = frames.view(self.frames // self.window, self.window, frames.shape[-1])
        for layer in self.layers:
            hidden = layer(hidden, key_mask)
        projected: Tensor = self.projector(self.norm(hidden))
        return projected.view(1, self.frames, projected.shape[-1]) * valid.unsqueeze(-1)


class AudioEncoder(nn.Module):
    """Convolution and transformer in one, over one attention window: what lies in another window is not seen.

    Args:
        model: `Qwen3ASRForTokenClassification` in eval mode.
        chunks: chunks of the window.
        chunk_frames: frames that a chunk becomes.
    """

    def __init__(self, model: Any, chunks: int, chunk_frames: int) -> None:
        super().__init__()
        self.conv = AudioConv(model)
        self.frames, self.chunks = chunks * chunk_frames, chunks
        self.transformer = AudioTransformer(model, self.frames, self.frames)

    def forward(self, mel: Tensor, length: Tensor) -> Tensor:
        """mel [1, M, chunks * C], length int32 [1] valid frames after the convolution -> [1, N, H]."""
        bins, columns = mel.shape[1], mel.shape[2] // self.chunks
        chunks = mel.view(bins, self.chunks, columns).transpose(0, 1)  # [M, chunks, C] -> [chunks, M, C]
        frames = self.conv(chunks)
        output: Tensor = self.transformer(frames.reshape(1, self.frames, frames.shape[-1]), length)
        return output


class TokenEmbedding(nn.Module):
    """Rows of the embedding table.

    Args:
        model: `Qwen3ASRForTokenClassification` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embedding: nn.Embedding = model.model.language_model.embed_tokens

    def forward(self, ids: Tensor) -> Tensor:
        """ids int32 [1, S] -> [1, S, D]."""
        output: Tensor = self.embedding(ids)
        return output


class DecoderPrefill(nn.Module):
    """The decoder over a whole prompt.

    Args:
        model: `Qwen3ASRForTokenClassification` in eval mode.
        length: fixed length S.
    """

    def __init__(self, model: Any, length: int) -> None:
        super().__init__()
        self.decoder = Decoder(model.model.language_model, length)

    def forward(self, embeddings: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """embeddings [1, S, D], cos and sin [1, S, d] -> hidden [1, S, D], before the final norm."""
        output: Tensor = self.decoder(embeddings, cos, sin)
        return output


class Head(nn.Module):
    """Final norm and classification of marked positions.

    Args:
        model: `Qwen3ASRForTokenClassification` in eval mode.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.norm = RMSNorm(model.model.language_model.norm)
        self.score: nn.Linear = model.score

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """hidden [1, P, D] -> (time_class int32 [1, P], probability [1, P], logits [1, P, classes])."""
        logits = self.score(self.norm(hidden))
        probability = torch.softmax(logits, dim=-1).amax(dim=-1)
        return logits.argmax(dim=-1).to(torch.int32), probability, logits
