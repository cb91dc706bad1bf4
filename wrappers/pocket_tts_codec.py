"""PocketTTS's codec as streaming Core ML components: latents to audio and audio to latents, some frames a call.

Source: `transformers` 5.23 `models/pocket_tts_audio_tokenizer/modeling_pocket_tts_audio_tokenizer.py`. Both components
equal the class's `decode` and `encode` of the whole utterance, however long. What differs, and why:

- the class decodes a chunk with no memory of its convolutions and keeps its encoder's in objects that grow; here every
  state is an input and an output of a fixed shape, zeros at first, and lives one utterance;
- the cache holds exactly the `sliding_window` - 1 positions that a new one can still see, the newest last, and moves by
  concatenation: there is no ring whose size would have to exceed the window by what one call writes;
- what may be seen is a constant band and one comparison of integers; no query row is ever fully masked;
- cos and sin are inputs: angles computed in float16 lose the position past 2048;
- the queries are scaled, not the products; grouped queries are further rows of their key's head, no key is copied.
"""

from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from wrappers.attention import MASKED, GroupedAttention
from wrappers.rope import rotate

# (name, fixed shape), float32
State = tuple[str, tuple[int, ...]]


class Convolution(nn.Module):
    """A causal convolution that takes the end of its earlier input instead of padding.

    The state is what the next output still sees of the input, (k - 1) * dilation + 1 - stride columns; a kernel of 1
    has none. It lives from call to call; at an utterance's first call, "replicate" padding takes the first column.

    Args:
        layer: the reference's `PocketTTSAudioTokenizerConv1d`.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.conv: nn.Conv1d = layer.conv
        reach = (self.conv.kernel_size[0] - 1) * self.conv.dilation[0] + 1
        self.columns = reach - self.conv.stride[0]
        self.replicate: bool = layer.pad_mode == "replicate"
        self.states: tuple[State, ...] = (("conv", (1, self.conv.in_channels, self.columns)),) if self.columns else ()

    def forward(self, hidden: Tensor, first: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """hidden [1, C, T], first [1] (1 or 0), states (one [1, C, P]) -> (hidden [1, C', T / stride], new states)."""
        if not states:
            return self.conv(hidden), []
        before = states[0]
        if self.replicate:
            before = before * (1.0 - first) + hidden[..., :1] * first
        joined = torch.cat([before, hidden], dim=2)  # [1, C, P + T]
        return self.conv(joined), [joined[..., hidden.shape[2] :]]


class TransposedConvolution(nn.Module):
    """A causal transposed convolution whose last k - stride samples wait for what the next input adds to them.

    The state holds them without the bias, which each sample gets once; it lives from call to call. The class cuts
    them off.

    Args:
        layer: the reference's `PocketTTSAudioTokenizerConvTranspose1d`.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.conv: nn.ConvTranspose1d = layer.conv
        self.stride, self.groups = int(self.conv.stride[0]), int(self.conv.groups)
        self.overlap = int(self.conv.kernel_size[0]) - self.stride
        self.states: tuple[State, ...] = (("deconv", (1, self.conv.out_channels, self.overlap)),)

    def forward(self, hidden: Tensor, first: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """hidden [1, C, T], first unused, states (one [1, C', k - stride]) -> ([1, C', T * stride], new states)."""
        weight, ready = self.conv.weight, hidden.shape[2] * self.stride
        whole = nn.functional.conv_transpose1d(hidden, weight, None, self.stride, groups=self.groups)
        begun = whole[..., : self.overlap] + states[0]
        whole = torch.cat([begun, whole[..., self.overlap :]], dim=2)  # [1, C', T * stride + overlap]
        samples = whole[..., :ready]
        if self.conv.bias is not None:
            samples = samples + self.conv.bias[:, None]
        return samples, [whole[..., ready:]]


class Elementwise(nn.Module):
    """A layer without memory.

    Args:
        layer: any module of one tensor.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.states: tuple[State, ...] = ()

    def forward(self, hidden: Tensor, first: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """hidden [1, C, T] -> (hidden [1, C, T], no states)."""
        return self.layer(hidden), []


class Chain(nn.Module):
    """Streaming layers, one behind the other; their states in the same order.

    Args:
        layers: the reference's layers.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers: Any = nn.ModuleList([_streaming(layer) for layer in layers])
        self.states: tuple[State, ...] = tuple(state for layer in self.layers for state in layer.states)

    def forward(self, hidden: Tensor, first: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """hidden [1, C, T], first [1], states -> (hidden [1, C', T'], new states)."""
        new: list[Tensor] = []
        for layer in self.layers:
            hidden, after = layer(hidden, first, states[len(new) : len(new) + len(layer.states)])
            new += after
        return hidden, new


class Residual(nn.Module):
    """A residual block; its shortcut is a kernel of 1, or nothing, and has no state.

    Args:
        block: the reference's `PocketTTSAudioTokenizerResnetBlock`.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.chain = Chain(block.block)
        self.shortcut: nn.Conv1d | nn.Identity = (
            block.shortcut.conv if hasattr(block.shortcut, "conv") else block.shortcut
        )
        self.states = self.chain.states

    def forward(self, hidden: Tensor, first: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
        """hidden [1, C, T], first [1], states -> (hidden [1, C, T], new states)."""
        added, new = self.chain(hidden, first, states)
        return self.shortcut(hidden) + added, new


def _streaming(layer: Any) -> nn.Module:
    if hasattr(layer, "block"):
        return Residual(layer)
    if not hasattr(layer, "conv"):
        return Elementwise(layer)
    return TransposedConvolution(layer) if isinstance(layer.conv, nn.ConvTranspose1d) else Convolution(layer)


class SlidingAttention(GroupedAttention):
    """Grouped-query attention to the cached positions and the new ones up to the query's own.

    Args:
        attention: the reference's `PocketTTSAudioTokenizerAttention`.
        length: new positions S.
    """

    def __init__(self, attention: Any, length: int) -> None:
        super().__init__(attention)
        self.length = length

    def forward(
        self, hidden: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor, cache: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """hidden [1, S, D], rope two of [1, S, 1, d], mask [1, 1, G*S, W-1+S] (0, -1e4 or -2e4), cache two of
        [1, K, W-1, d] -> (hidden [1, S, D], key and value [1, K, W-1, d])."""
        query = self.q_proj(hidden).view(1, self.length, self.key_heads * self.groups, self.head_dim)
        key = self.k_proj(hidden).view(1, self.length, self.key_heads, self.head_dim)
        value = self.v_proj(hidden).view(1, self.length, self.key_heads, self.head_dim)
        query, key = rotate(query, *rope) * self.scaling, rotate(key, *rope)
        keys = torch.cat([cache[0], key.transpose(1, 2)], dim=2)  # [1, K, W-1, d], [1, K, S, d] -> [1, K, W-1+S, d]
        values = torch.cat([cache[1], value.transpose(1, 2)], dim=2)
        # [1, K, G*S, d]
        context = torch.softmax(self._rows(query, self.length) @ keys.transpose(2, 3) + mask, dim=-1) @ values
        output = self.o_proj(self._joined(context, self.length))
        return output, keys[:, :, self.length :], values[:, :, self.length :]


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each behind a norm and before a scale.

    Args:
        layer: the reference's `PocketTTSAudioTokenizerTransformerLayer`.
        length: new positions S.
    """

    def __init__(self, layer: Any, length: int) -> None:
        super().__init__()
        self.attention = SlidingAttention(layer.self_attn, length)
        self.attention_norm: nn.LayerNorm = layer.input_layernorm
        self.attention_scale: Any = layer.self_attn_layer_scale
        self.mlp: Any = layer.mlp
        self.mlp_norm: nn.LayerNorm = layer.post_attention_layernorm
        self.mlp_scale: Any = layer.mlp_layer_scale

    def forward(
        self, hidden: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor, cache: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `SlidingAttention.forward`."""
        attended, key, value = self.attention(self.attention_norm(hidden), rope, mask, cache)
        hidden = hidden + self.attention_scale(attended)
        return hidden + self.mlp_scale(self.mlp(self.mlp_norm(hidden))), key, value


class SlidingTransformer(nn.Module):
    """All layers over S new positions, each of which sees itself and the W - 1 before it.

    Args:
        transformer: the reference's `PocketTTSAudioTokenizerTransformerModel`.
        length: new positions S of one call.
    """

    band: Tensor
    needed: Tensor

    def __init__(self, transformer: Any, length: int) -> None:
        super().__init__()
        layers = [TransformerLayer(layer, length) for layer in transformer.layers]
        self.layers = nn.ModuleList(layers)
        attention, slots = layers[0].attention, int(transformer.config.sliding_window) - 1
        shape = (len(self.layers), attention.key_heads, slots, attention.head_dim)
        self.states: tuple[State, ...] = (("key", shape), ("value", shape))
        # From slot or new position to query: the slots are numbered -(W-1) ... -1.
        distance = torch.arange(length)[:, None] - torch.arange(-slots, length)[None]  # [S, W-1+S]
        hidden = (distance < 0) | (distance > slots)
        band = torch.zeros(distance.shape).masked_fill(hidden, MASKED).repeat(attention.groups, 1)
        self.register_buffer("band", band[None, None], persistent=False)  # [1, 1, G*S, W-1+S]
        # Slot j is filled once `past` reaches W-1-j; a new position always is.
        needed = torch.cat([torch.arange(slots, 0, -1), torch.zeros(length)]).to(torch.int32)
        self.register_buffer("needed", needed, persistent=False)  # [W-1+S]

    def forward(
        self, hidden: Tensor, past: Tensor, cos: Tensor, sin: Tensor, states: tuple[Tensor, ...]
    ) -> tuple[Tensor, list[Tensor]]:
        """hidden [1, S, D], past int32 [1], cos and sin [1, S, d], states (key and value, [L, K, W-1, d]) -> (hidden
        [1, S, D], new key and value)."""
        mask = self.band + (self.needed > past).to(torch.float32)[None, None, None] * MASKED
        rope = (cos.unsqueeze(2), sin.unsqueeze(2))
        caches: list[tuple[Tensor, Tensor]] = []
        for i, layer in enumerate(self.layers):
            hidden, key, value = layer(hidden, rope, mask, (states[0][i : i + 1], states[1][i : i + 1]))
            caches.append((key, value))
        return hidden, [torch.cat([key for key, _ in caches]), torch.cat([value for _, value in caches])]


class CodecDecoder(nn.Module):
    """`frames` latents to `frames` * frame_size samples: the next piece of an utterance.

    What differs from the class's `decode`: see the module. Where the convolutions pad by replication (no published
    checkpoint's decoder does), `past` = 0 marks the first call.

    Args:
        codec: `PocketTTSAudioTokenizerModel` in eval mode.
        frames: latents a call.

    Attributes:
        states: (name, shape) of each state in the order of `forward`: `upsample`, `key`, `value`, then `conv_0`,
            `deconv_0`, `conv_1`, ... as the SEANet decoder has them. All float32, zeros at an utterance's first call.
        positions: new positions S of one call, `frames` * latent_stride.

    Raises:
        ValueError: a codec that cannot stream in this form.
    """

    def __init__(self, codec: Any, frames: int = 1) -> None:
        super().__init__()
        _check(codec, frames, "decoder")
        decoder = codec.decoder
        self.latent_proj: nn.Conv1d = codec.latent_proj
        self.upsample = TransposedConvolution(decoder.upsample)
        self.positions = frames * self.upsample.stride
        self.transformer = SlidingTransformer(decoder.decoder_transformer, self.positions)
        self.seanet = Chain(decoder.decoder_seanet.layers)
        upsample: State = ("upsample", self.upsample.states[0][1])
        self.states: tuple[State, ...] = (upsample, *self.transformer.states, *_numbered(self.seanet.states))

    def forward(self, latents: Tensor, past: Tensor, cos: Tensor, sin: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One call.

        Args:
            latents: float32 [1, n, Z] in the codec's own (denormalised) latent space.
            past: int32 [1], positions before this call, at most sliding_window - 1 (the slots of the cache).
            cos: float32 [1, S, d] of the absolute positions of this call, the angles twice in a row.
            sin: float32 [1, S, d], the same.
            *states: what the last call returned, in the order of `self.states`.

        Returns:
            audio [1, n * frame_size], then the new states.
        """
        first = (past < 1).to(torch.float32)
        hidden = self.latent_proj(latents.transpose(1, 2))  # [1, n, Z] -> [1, D, n]
        hidden, upsampled = self.upsample(hidden, first, states[:1])
        hidden, cache = self.transformer(hidden.transpose(1, 2), past, cos, sin, states[1:3])
        audio, convolved = self.seanet(hidden.transpose(1, 2), first, states[3:])  # [1, S, D] -> [1, 1, n * frame_size]
        return audio.squeeze(1), *upsampled, *cache, *convolved


class CodecEncoder(nn.Module):
    """`frames` * frame_size samples to `frames` latents: the next piece of an utterance.

    What differs from the class's `encode`: see the module.

    Args:
        codec: `PocketTTSAudioTokenizerModel` in eval mode.
        frames: latents a call.

    Attributes:
        states: (name, shape) of each state in the order of `forward`: `conv_0`, `conv_1`, ... as the SEANet encoder
            has them, then `key`, `value`, `downsample`. All float32, zeros at an utterance's first call.
        positions: new positions S of one call, `frames` * latent_stride.

    Raises:
        ValueError: a codec that cannot stream in this form.
    """

    def __init__(self, codec: Any, frames: int) -> None:
        super().__init__()
        _check(codec, frames, "encoder")
        encoder = codec.encoder
        self.seanet = Chain(encoder.encoder_seanet.layers)
        self.downsample = Convolution(encoder.downsample)
        self.positions = frames * int(self.downsample.conv.stride[0])
        self.transformer = SlidingTransformer(encoder.encoder_transformer, self.positions)
        downsample: State = ("downsample", self.downsample.states[0][1])
        self.states: tuple[State, ...] = (*_numbered(self.seanet.states), *self.transformer.states, downsample)

    def forward(self, audio: Tensor, past: Tensor, cos: Tensor, sin: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One call.

        Args:
            audio: float32 [1, n * frame_size].
            past: int32 [1], positions before this call, at most sliding_window - 1 (the slots of the cache); 0 marks
                the first call, where the downsampling convolution pads with copies of the first column it sees.
            cos: float32 [1, S, d] of the absolute positions of this call, the angles twice in a row.
            sin: float32 [1, S, d], the same.
            *states: what the last call returned, in the order of `self.states`.

        Returns:
            latents [1, n, Z], then the new states.
        """
        first = (past < 1).to(torch.float32)
        hidden, convolved = self.seanet(audio.unsqueeze(1), first, states[:-3])  # [1, 1, n * frame_size] -> [1, D, S]
        hidden, cache = self.transformer(hidden.transpose(1, 2), past, cos, sin, states[-3:-1])
        latents, downsampled = self.downsample(hidden.transpose(1, 2), first, states[-1:])  # [1, D, S] -> [1, Z, n]
        return latents.transpose(1, 2), *convolved, *cache, *downsampled


def _numbered(states: tuple[State, ...]) -> tuple[State, ...]:
    """conv, deconv, conv -> conv_0, deconv_0, conv_1."""
    counters = {kind: count() for kind, _ in states}
    return tuple((f"{kind}_{next(counters[kind])}", shape) for kind, shape in states)


def _check(codec: Any, frames: int, half: str) -> None:
    """Refuse what would not stream exactly, in one line."""
    config, part = codec.config, getattr(codec, half)
    resample = {"decoder": "upsample", "encoder": "downsample"}[half]
    refusals = (
        (frames < 1, f"{frames} frames a call"),
        (part is None, f"the codec has no {half}"),
        (not config.use_causal_conv, "use_causal_conv is False, which sees the future"),
        (config.trim_right_ratio != 1.0, f"trim_right_ratio is {config.trim_right_ratio}, not 1"),
        (
            config.pad_mode not in ("constant", "replicate"),
            f"pad_mode is '{config.pad_mode}', not constant or replicate",
        ),
        (config.sliding_window < 2, f"sliding_window {config.sliding_window} leaves nothing to cache"),
        (getattr(part, resample, None) is None, f"frame_rate equals encodec_frame_rate: there is no {resample}"),
    )
    for refused, reason in refusals:
        if refused:
            raise ValueError(f"this codec's {half} cannot be streamed: {reason}")
