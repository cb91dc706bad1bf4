"""The forms of a decoder with cross-attention, whatever its architecture.

A form says only where the keys and values of earlier tokens are kept: nowhere (`Stateless`), with the caller
(`Prefill`, `ExternalStep`), or in a state of the model (`StatefulStep`). The maths is the architecture's: a `Decoder`
that is passed in. The cache has a fixed number of slots; masks come from integers (`position`, `encoder_length`) or
from the host, never from sums in float16. `toolkit/export/cached_decoder.py` declares the components,
`toolkit/loops/cached_decoder.py` calls them.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from wrappers.attention import MASKED, causal_mask, mask_from

# (layer, new keys [1, K, S, d], new values) -> all keys and values to attend to, [1, K, C, d]
Remember = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


class Decoder(Protocol):
    """An architecture's decoder: a module that leaves to the form what its self-attention sees.

    Attributes:
        kept: L, K and d of the keys and values that a cache keeps.
    """

    kept: tuple[int, int, int]

    def __call__(
        self,
        tokens: Tensor,
        positions: Tensor,
        remember: Remember,
        self_mask: Tensor,
        cross: tuple[Tensor, Tensor, Tensor],
    ) -> Tensor:
        """tokens and positions int32 [1, S], self_mask [1, 1, S or 1, C], cross (keys, values [L, K, F, d], mask
        [1, 1, 1, F]) -> [1, S, D]; each layer attends to what `remember` returns for its new keys and values."""

    def logits(self, hidden: Tensor) -> Tensor:
        """One position [1, 1, D] -> [1, V]."""


class _Form(nn.Module):
    """What the forms have in common: the decoder, the length of the cache, the mask of the audio.

    Args:
        decoder: of the architecture.
        cache: tokens that the cache holds, the prompt's included.
        frames: fixed length F of the encoder's output.
    """

    slots: Tensor
    frames: Tensor

    def __init__(self, decoder: Decoder, cache: int, frames: int) -> None:
        super().__init__()
        self.decoder, self.cache = decoder, cache
        self.register_buffer("slots", torch.arange(cache, dtype=torch.int32), persistent=False)
        self.register_buffer("frames", torch.arange(frames, dtype=torch.int32), persistent=False)

    def cross_mask(self, encoder_length: Tensor) -> Tensor:
        """encoder_length int32 [1] -> [1, 1, 1, F], -1e4 where padded."""
        return mask_from(self.frames, encoder_length)

    def causal(self, length: int) -> Tensor:
        """[1, 1, S, S], -1e4 above the diagonal."""
        return causal_mask(length)[None, None]


class Prefill(_Form):
    """The prompt in one call, into an empty cache.

    Args:
        decoder: of the architecture.
        cache: tokens that the cache holds, the prompt's included.
        frames: fixed length F of the encoder's output.
        prompt: tokens P of the prompt.
    """

    mask: Tensor
    places: Tensor

    def __init__(self, decoder: Decoder, cache: int, frames: int, prompt: int) -> None:
        super().__init__(decoder, cache, frames)
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

    def __init__(self, decoder: Decoder, cache: int, frames: int) -> None:
        super().__init__(decoder, cache, frames)
        layers, key_heads, head_dim = decoder.kept
        shape = (layers, key_heads, cache, head_dim)
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

    def __init__(self, decoder: Decoder, cache: int, frames: int) -> None:
        super().__init__(decoder, cache, frames)
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
