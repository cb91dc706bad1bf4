"""The components of a decoder with cross-attention, in three forms; `toolkit/loops/cached_decoder.py` runs them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.compute_units import units_of_states
from toolkit.loops.cached_decoder import COMPONENTS, DecoderForm
from toolkit.spec import ComponentSpec, FunctionSpec, Tensor

if TYPE_CHECKING:
    import torch

    Build = Callable[[], torch.nn.Module]


@dataclass(frozen=True)
class DecoderSizes:
    """What the shapes of a decoder's components are made of.

    Attributes:
        layers: L.
        key_heads: K.
        head_dim: d.
        cache: C, tokens that the cache holds, the prompt's included.
        frames: F, the one length of the encoder's output that the decoder knows.
        prompt: P, tokens of the prompt.
        vocabulary: V.
    """

    layers: int
    key_heads: int
    head_dim: int
    cache: int
    frames: int
    prompt: int
    vocabulary: int


@dataclass(frozen=True)
class DecoderBuilders:
    """Make the wrappers of a decoder's functions, those of `wrappers/cached_decoder.py`; called once a function.

    Attributes:
        prefill: of the stateful and the external form.
        stateful: the step that keeps the cache in its states.
        external: the step whose caller keeps the cache.
        stateless: all tokens at every step.
    """

    prefill: "Build"
    stateful: "Build"
    external: "Build"
    stateless: "Build"


class CachedDecoderSpecs:
    """Declares the components of one decoder: a form each, and the keys and values of the audio that all of them take.

    Args:
        sizes: of the decoder.
        builders: of its wrappers.
        scores: what the logits are, e.g. `raw logits`.
        components: form -> name of its component.

    Attributes:
        cross: `cross_key` and `cross_value`, the outputs of the component that computes them.
    """

    def __init__(
        self,
        sizes: DecoderSizes,
        builders: DecoderBuilders,
        scores: str,
        components: Mapping[DecoderForm, str] = COMPONENTS,
    ) -> None:
        self._builders, self._components = builders, components
        self._cache, self._prompt = sizes.cache, sizes.prompt
        heads = (sizes.layers, sizes.key_heads)
        cross = (*heads, sizes.frames, sizes.head_dim)
        self._cached = (*heads, sizes.cache, sizes.head_dim)
        self.cross = (
            Tensor("cross_key", cross, "float32", "keys of the audio, a layer each"),
            Tensor("cross_value", cross, "float32", "values of the audio, a layer each"),
        )
        length = np.array([sizes.frames], dtype=np.int32)
        meaning = "valid encoder frames; what lies beyond cannot act"
        self._heard = (*self.cross, Tensor("encoder_length", (1,), "int32", meaning, length))
        self._logits = Tensor("logits", (1, sizes.vocabulary), "float32", f"{scores} of the next token")

    def component(self, form: DecoderForm) -> ComponentSpec:
        """The component of one form."""
        return {"stateful": self._stateful, "external": self._external, "stateless": self._stateless}[form]()

    def _stateful(self) -> ComponentSpec:
        """Prefill and step; the step keeps the cache in its states."""
        states = (
            Tensor("key_cache", self._cached, "float16", "keys of the tokens so far, a layer each"),
            Tensor("value_cache", self._cached, "float16", "values of the tokens so far, a layer each"),
        )
        step = FunctionSpec("step", (*self._token(), *self._heard), (self._logits,), states)
        builders = {"prefill": self._builders.prefill, "step": self._builders.stateful}
        return self._spec("stateful", builders, self._prefill(), step)

    def _external(self) -> ComponentSpec:
        """Prefill and step; the caller keeps the cache."""
        mask = Tensor("self_mask", (1, 1, 1, self._cache), "float32", "0 up to the position, -1e4 beyond")
        keys = self._pair("in", "before the token")
        step = FunctionSpec(
            "step", (*self._token(), mask, *keys, *self._heard), (self._logits, *self._pair("out", "with the token"))
        )
        builders = {"prefill": self._builders.prefill, "step": self._builders.external}
        return self._spec("external", builders, self._prefill(), step)

    def _stateless(self) -> ComponentSpec:
        """All tokens at every step."""
        tokens = Tensor("tokens", (1, self._cache), "int32", "the prompt and what followed; any id behind `last`")
        last = Tensor("last", (1,), "int32", "place of the last token")
        main = FunctionSpec("main", (tokens, last, *self._heard), (self._logits,))
        return self._spec("stateless", {"main": self._builders.stateless}, main)

    def _spec(self, form: DecoderForm, builders: "Mapping[str, Build]", *functions: FunctionSpec) -> ComponentSpec:
        return ComponentSpec(
            self._components[form],
            lambda function: builders[function]().eval(),
            functions,
            compute_units=units_of_states(state for function in functions for state in function.states),
        )

    def _prefill(self) -> FunctionSpec:
        tokens = Tensor("tokens", (1, self._prompt), "int32", "the prompt")
        return FunctionSpec("prefill", (tokens, *self._heard), (self._logits, *self._pair("out", "of the prompt")))

    def _token(self) -> tuple[Tensor, ...]:
        return (
            Tensor("token", (1, 1), "int32", "the token before"),
            Tensor("position", (1,), "int32", "its place, counted from the prompt's first token"),
        )

    def _pair(self, side: str, when: str) -> tuple[Tensor, ...]:
        return tuple(
            Tensor(f"{kind}_{side}", self._cached, "float32", f"{kind}s of the cache {when}, a layer each")
            for kind in ("key", "value")
        )
