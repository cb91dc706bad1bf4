"""The FastConformer encoder with a real length mask, for tracing at one fixed length.

Source: `transformers` 5.23 `models/parakeet/modeling_parakeet.py`. What differs, and why:

- lengths are integers and compared as integers: in float16 a length over 2048 is off by one now and then;
- a padded key is masked by adding -1e4, and no query row is ever fully masked: float16 turns `finfo.min` into -inf and
  a fully masked row into NaN, which poisons every valid frame of the next layer;
- the mel itself is masked, so that whatever stands in the padding cannot reach a valid frame;
- the relative position keys depend on weights and length only: they are computed once, here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from wrappers.attention import MASKED


class LengthMask(nn.Module):
    """Which frames are valid at one level of subsampling.

    Args:
        thresholds: int32 [T_k]; frame j is valid while `thresholds[j] < length`.
    """

    thresholds: Tensor

    def __init__(self, thresholds: list[int]) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.tensor(thresholds, dtype=torch.int32), persistent=False)

    def forward(self, length: Tensor) -> Tensor:
        """length int32 [1] -> bool [1, T_k]."""
        return (self.thresholds < length).unsqueeze(0)


def subsampled_thresholds(thresholds: list[int], kernel: int, stride: int, padding: int) -> list[int]:
    """Thresholds one convolution further on.

    Output j exists once (n + 2 * padding - kernel) // stride + 1 > j, that is once input j * stride + kernel -
    2 * padding - 1 exists.
    """
    frames = (len(thresholds) + 2 * padding - kernel) // stride + 1
    last = len(thresholds) - 1
    return [thresholds[min(max(j * stride + kernel - 2 * padding - 1, 0), last)] for j in range(frames)]


class Subsampling(nn.Module):
    """Strided convolutions over time and mel, every result masked to its valid frames.

    Args:
        subsampling: the reference's `ParakeetEncoderSubsamplingConv2D`.
        mel_frames: fixed input length T.
    """

    def __init__(self, subsampling: Any, mel_frames: int) -> None:
        super().__init__()
        self.layers: nn.ModuleList = subsampling.layers
        self.linear: nn.Linear = subsampling.linear
        masks, thresholds = [LengthMask(list(range(mel_frames)))], list(range(mel_frames))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                if layer.stride != (1, 1):
                    thresholds = subsampled_thresholds(
                        thresholds, int(layer.kernel_size[0]), int(layer.stride[0]), int(layer.padding[0])
                    )
                masks.append(LengthMask(thresholds))
        self.masks = nn.ModuleList(masks)
        self.frames = len(thresholds)

    def forward(self, mel: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """mel [1, T, M], length int32 [1] -> (hidden [1, T', D], valid bool [1, T'])."""
        masks = iter(self.masks)
        valid = next(masks)(length)
        hidden = (mel * valid.unsqueeze(-1).to(mel.dtype)).unsqueeze(1)  # [1, T, M] -> [1, 1, T, M]
        for layer in self.layers:
            hidden = layer(hidden)
            if isinstance(layer, nn.Conv2d):
                valid = next(masks)(length)
                hidden = hidden * valid[:, None, :, None].to(hidden.dtype)
        hidden = hidden.transpose(1, 2).reshape(1, self.frames, -1)  # [1, C, T', M'] -> [1, T', C * M']
        return self.linear(hidden), valid


class RelativeAttention(nn.Module):
    """Self-attention with Transformer-XL relative positions.

    The queries are scaled before the products, not the products after: in float16 the products could overflow.

    Args:
        attention: the reference's `ParakeetEncoderAttention`.
        positions: [1, 2T'-1, D] relative position embeddings, farthest past first.
    """

    bias_u: Tensor
    bias_v: Tensor
    relative_keys: Tensor

    def __init__(self, attention: Any, positions: Tensor) -> None:
        super().__init__()
        self.q_proj: nn.Linear = attention.q_proj
        self.k_proj: nn.Linear = attention.k_proj
        self.v_proj: nn.Linear = attention.v_proj
        self.o_proj: nn.Linear = attention.o_proj
        self.head_dim: int = attention.head_dim
        self.scaling: float = attention.scaling
        self.frames = (positions.shape[1] + 1) // 2
        self.register_buffer("bias_u", attention.bias_u.detach()[None, :, None, :], persistent=False)
        self.register_buffer("bias_v", attention.bias_v.detach()[None, :, None, :], persistent=False)
        keys = attention.relative_k_proj(positions).view(1, positions.shape[1], -1, self.head_dim)
        # [1, 2T-1, H, d] -> [1, H, d, 2T-1]
        self.register_buffer("relative_keys", keys.permute(0, 2, 3, 1).detach().contiguous(), persistent=False)

    def forward(self, hidden: Tensor, key_mask: Tensor) -> Tensor:
        """hidden [1, T, D], key_mask [1, 1, 1, T] (0 or -1e4) -> [1, T, D]."""
        query, key, value = (self._heads(p(hidden)) for p in (self.q_proj, self.k_proj, self.v_proj))
        content = ((query + self.bias_u) * self.scaling) @ key.transpose(2, 3)
        position = self._shift(((query + self.bias_v) * self.scaling) @ self.relative_keys)
        weights = torch.softmax(content + position + key_mask, dim=-1)
        context = (weights @ value).transpose(1, 2)  # [1, H, T, d] -> [1, T, H, d]
        output: Tensor = self.o_proj(context.reshape(1, self.frames, -1))
        return output

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.view(1, self.frames, -1, self.head_dim).transpose(1, 2)  # [1, T, H*d] -> [1, H, T, d]

    def _shift(self, scores: Tensor) -> Tensor:
        """[1, H, T, 2T-1] -> [1, H, T, T]: row i is moved left so that column j holds distance i - j."""
        frames, heads = self.frames, scores.shape[1]
        padded = nn.functional.pad(scores, (1, 0)).view(1, heads, 2 * frames, frames)
        return padded[:, :, 1:].reshape(1, heads, frames, 2 * frames - 1)[..., :frames]


class Convolution(nn.Module):
    """The Conformer's convolution module; padded frames are zero before the depthwise convolution.

    Args:
        conv: the reference's `ParakeetEncoderConvolutionModule`.
    """

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self.pointwise_conv1: nn.Conv1d = conv.pointwise_conv1
        self.pointwise_conv2: nn.Conv1d = conv.pointwise_conv2
        self.depthwise_conv: nn.Conv1d = conv.depthwise_conv
        self.norm: nn.BatchNorm1d = conv.norm
        self.activation: Callable[[Tensor], Tensor] = conv.activation

    def forward(self, hidden: Tensor, frame_mask: Tensor) -> Tensor:
        """hidden [1, T, D], frame_mask [1, 1, T] (0 or 1) -> [1, T, D]."""
        hidden = hidden.transpose(1, 2)  # [1, T, D] -> [1, D, T]
        hidden = nn.functional.glu(self.pointwise_conv1(hidden), dim=1) * frame_mask
        hidden = self.activation(self.norm(self.depthwise_conv(hidden)))
        output: Tensor = self.pointwise_conv2(hidden).transpose(1, 2)
        return output


class ConformerLayer(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm.

    Args:
        block: the reference's `ParakeetEncoderBlock`.
        positions: [1, 2T'-1, D].
    """

    def __init__(self, block: Any, positions: Tensor) -> None:
        super().__init__()
        self.feed_forward1: Any = block.feed_forward1
        self.feed_forward2: Any = block.feed_forward2
        self.attention = RelativeAttention(block.self_attn, positions)
        self.convolution = Convolution(block.conv)
        self.norm_feed_forward1: nn.LayerNorm = block.norm_feed_forward1
        self.norm_self_att: nn.LayerNorm = block.norm_self_att
        self.norm_conv: nn.LayerNorm = block.norm_conv
        self.norm_feed_forward2: nn.LayerNorm = block.norm_feed_forward2
        self.norm_out: nn.LayerNorm = block.norm_out

    def forward(self, hidden: Tensor, key_mask: Tensor, frame_mask: Tensor) -> Tensor:
        """hidden [1, T, D], key_mask [1, 1, 1, T], frame_mask [1, 1, T] -> [1, T, D]."""
        hidden = hidden + 0.5 * self.feed_forward1(self.norm_feed_forward1(hidden))
        hidden = hidden + self.attention(self.norm_self_att(hidden), key_mask)
        hidden = hidden + self.convolution(self.norm_conv(hidden), frame_mask)
        hidden = hidden + 0.5 * self.feed_forward2(self.norm_feed_forward2(hidden))
        output: Tensor = self.norm_out(hidden)
        return output


class ConformerEncoder(nn.Module):
    """Mel to hidden frames at one fixed length.

    Args:
        encoder: the reference's `ParakeetEncoder`, in eval mode.
        mel_frames: fixed input length T.
    """

    def __init__(self, encoder: Any, mel_frames: int) -> None:
        super().__init__()
        self.subsampling = Subsampling(encoder.subsampling, mel_frames)
        self.input_scale = float(encoder.input_scale)
        hidden_size = self.subsampling.linear.out_features
        with torch.no_grad():
            positions = encoder.encode_positions(torch.zeros(1, self.subsampling.frames, hidden_size))
            self.layers = nn.ModuleList(ConformerLayer(block, positions) for block in encoder.layers)

    def forward(self, mel: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """mel [1, T, M], length int32 [1] (valid mel frames) -> (hidden [1, T', D], valid bool [1, T'])."""
        hidden, valid = self.subsampling(mel, length)
        hidden = hidden * self.input_scale
        frame_mask = valid.to(hidden.dtype)[:, None, :]  # [1, T'] -> [1, 1, T']
        key_mask = ((1.0 - frame_mask) * MASKED)[:, None]  # [1, 1, T'] -> [1, 1, 1, T']
        for layer in self.layers:
            hidden = layer(hidden, key_mask, frame_mask)
        return hidden, valid
