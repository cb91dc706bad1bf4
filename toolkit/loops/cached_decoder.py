"""The three forms of a decoder with cross-attention behind one protocol: prompt in, then token by token, one row of
logits each time. The cache is kept by the model (stateful), by the caller (external), or nowhere (stateless).

A decoder object is one utterance: it holds the audio's keys and values and, where the form has one, the cache. The
components are declared by `toolkit/export/cached_decoder.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from toolkit.component import Runtime

DecoderForm = Literal["stateful", "external", "stateless"]
# Added to the scores of what must not be seen, as the wrappers add it.
MASKED = np.float32(-1e4)

# In the order of preference; the names that a bundle's components have unless a model says otherwise.
COMPONENTS: Mapping[DecoderForm, str] = {
    "stateful": "decoder_stateful",
    "external": "decoder_external",
    "stateless": "decoder_stateless",
}


class CachedDecoder(ABC):
    """One utterance on one form of the decoder.

    Args:
        runtime: runs the bundle's components.
        heard: `cross_key`, `cross_value` [L, K, F, d] float32 and `encoder_length` [1] int32.
        cache: tokens that the cache holds.
        components: form -> name of its component.
    """

    form: ClassVar[DecoderForm]

    def __init__(
        self,
        runtime: Runtime,
        heard: Mapping[str, np.ndarray],
        cache: int,
        components: Mapping[DecoderForm, str] = COMPONENTS,
    ) -> None:
        self._runtime, self._heard, self._cache = runtime, dict(heard), cache
        self._component = components[self.form]
        self._used = 0

    @property
    def room(self) -> int:
        """How many more tokens the cache takes."""
        return self._cache - self._used

    def prefill(self, ids: np.ndarray) -> np.ndarray:
        """The prompt [P] int32 in one call -> logits [V] of the token after it."""
        logits = self._prefill(ids[None])
        self._used = len(ids)
        return logits

    def step(self, token: int) -> np.ndarray:
        """One token -> logits [V] of the next one."""
        logits = self._step(token, self._used)
        self._used += 1
        return logits

    @abstractmethod
    def _prefill(self, tokens: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _step(self, token: int, position: int) -> np.ndarray: ...

    def _call(self, function: str, inputs: Mapping[str, np.ndarray], state: Any = None) -> dict[str, np.ndarray]:
        return self._runtime.load(self._component, function).predict({**inputs, **self._heard}, state)


class StatefulDecoder(CachedDecoder):
    """The model keeps the cache; the prompt's part is computed by `prefill` and written into a fresh state."""

    form = "stateful"

    def begin(self) -> None:
        """Start from an empty state, where `step` is given the prompt too."""
        self._state = self._runtime.load(self._component, "step").make_state()

    def _prefill(self, tokens: np.ndarray) -> np.ndarray:
        outputs = self._call("prefill", {"tokens": tokens})
        caches = {"key_cache": outputs["key_out"], "value_cache": outputs["value_out"]}
        values = {name: cache.astype(np.float16) for name, cache in caches.items()}
        self._state = self._runtime.load(self._component, "step").make_state(values)
        result: np.ndarray = outputs["logits"][0]
        return result

    def _step(self, token: int, position: int) -> np.ndarray:
        inputs = {"token": np.array([[token]], np.int32), "position": np.array([position], np.int32)}
        result: np.ndarray = self._call("step", inputs, self._state)["logits"][0]
        return result


class ExternalDecoder(CachedDecoder):
    """The caller keeps the cache and says what may be attended to."""

    form = "external"

    def _prefill(self, tokens: np.ndarray) -> np.ndarray:
        return self._keep(self._call("prefill", {"tokens": tokens}))

    def _step(self, token: int, position: int) -> np.ndarray:
        mask = np.full((1, 1, 1, self._cache), MASKED)
        mask[..., : position + 1] = 0
        inputs = {"token": np.array([[token]], np.int32), "position": np.array([position], np.int32), "self_mask": mask}
        return self._keep(self._call("step", {**inputs, "key_in": self._key, "value_in": self._value}))

    def _keep(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        self._key, self._value = outputs["key_out"], outputs["value_out"]
        result: np.ndarray = outputs["logits"][0]
        return result


class StatelessDecoder(CachedDecoder):
    """All tokens at every step."""

    form = "stateless"

    def _prefill(self, tokens: np.ndarray) -> np.ndarray:
        self._tokens = np.zeros((1, self._cache), np.int32)
        self._tokens[0, : tokens.shape[1]] = tokens
        return self._last(tokens.shape[1] - 1)

    def _step(self, token: int, position: int) -> np.ndarray:
        self._tokens[0, position] = token
        return self._last(position)

    def _last(self, position: int) -> np.ndarray:
        last = np.array([position], np.int32)
        result: np.ndarray = self._call("main", {"tokens": self._tokens, "last": last})["logits"][0]
        return result


DECODERS: Mapping[DecoderForm, type[CachedDecoder]] = {
    "stateful": StatefulDecoder,
    "external": ExternalDecoder,
    "stateless": StatelessDecoder,
}
