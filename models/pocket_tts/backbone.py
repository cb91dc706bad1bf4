"""The backbone and the flow on the host: prefill of a prefix, then latent by latent.

A `Cache` is a prefix as rows of keys and values: of a voice once, then of a voice and a text. What steps write belongs
to one `Utterance`; the prefix that it began from is left as it was.
"""

from dataclasses import dataclass

import numpy as np

from models.pocket_tts.constants import BackboneConstants
from toolkit.component import Component, Runtime
from toolkit.errors import ToolkitError
from toolkit.loops.fixed_windows import padded, padded_parts
from toolkit.loops.rope import rotary_tables


@dataclass(frozen=True)
class Cache:
    """keys and values [L, K, n, d] float32 of the n positions so far."""

    keys: np.ndarray
    values: np.ndarray

    @property
    def length(self) -> int:
        """Number of positions n."""
        return int(self.keys.shape[2])


class Backbone:
    """Computes prefixes of voice and text, and starts utterances behind them.

    Args:
        runtime: runs the bundle's components.
        constants: shapes of the cache and of the prefill.
    """

    def __init__(self, runtime: Runtime, constants: BackboneConstants) -> None:
        self._runtime, self._constants = runtime, constants

    def load(self) -> None:
        """Load the components that speech needs."""
        for component, function in (("text_embedding", "main"), ("backbone", "prefill"), ("backbone", "step")):
            self._runtime.load(component, function)

    def empty(self) -> Cache:
        """A cache of no positions: no voice and no text."""
        c = self._constants
        nothing = np.zeros((c.layers, c.key_heads, 0, c.head_dim), np.float32)
        return Cache(nothing, nothing)

    def embed_text(self, ids: tuple[int, ...]) -> np.ndarray:
        """Embeddings [n, D] of n token ids."""
        return self._embed("text_embedding", "tokens", np.array(ids, np.int32))

    def embed_voice(self, latents: np.ndarray) -> np.ndarray:
        """Embeddings [n, D] of n voice latents [n, Z] in the codec's space."""
        return self._embed("voice_projection", "latents", latents.astype(np.float32))

    def extend(self, prefix: Cache, embeds: np.ndarray) -> Cache:
        """The prefix with n more positions.

        Args:
            prefix: stays as it is.
            embeds: [n, D] float32.

        Raises:
            ToolkitError: the cache has no room for them.
        """
        c = self._constants
        if prefix.length + len(embeds) > c.slots:
            raise ToolkitError(
                f"voice and text alone need {prefix.length + len(embeds)} positions of the cache, it has {c.slots}",
                "Convert with more --cache-slots, speech takes its own; or give a shorter voice or shorter sentences.",
            )
        component = self._runtime.load("backbone", "prefill")
        keys, values = self._slots(prefix)
        position = prefix.length
        for part, length in padded_parts(embeds, c.prefill_tokens):
            outputs = component.predict(
                {
                    "embeds": part[None],
                    "length": np.array([length], np.int32),
                    **position_inputs(position, c.prefill_tokens, c),
                    "key_in": keys,
                    "value_in": values,
                }
            )
            keys[:, :, position : position + length] = outputs["key_out"][:, :, :length]
            values[:, :, position : position + length] = outputs["value_out"][:, :, :length]
            position += length
        return Cache(keys[:, :, :position], values[:, :, :position])

    def start(self, prefix: Cache) -> "Utterance":
        """An utterance behind a prefix, with a cache of its own."""
        component = self._runtime.load("backbone", "step")
        form = StatefulUtterance if component.states else ExternalUtterance
        return form(component, self._constants, prefix.length, *self._slots(prefix))

    def _slots(self, prefix: Cache) -> tuple[np.ndarray, np.ndarray]:
        """The prefix in all slots of a cache, zero behind it: [L, K, C, d] each."""
        slots = self._constants.slots
        return padded(prefix.keys, slots, axis=2), padded(prefix.values, slots, axis=2)

    def _embed(self, component: str, name: str, values: np.ndarray) -> np.ndarray:
        """Embeddings [n, D] of n rows, by a component that takes `prefill_tokens` rows at once."""
        parts = [np.zeros((0, self._constants.width), np.float32)]
        loaded = self._runtime.load(component)
        for rows, valid in padded_parts(values, self._constants.prefill_tokens):
            parts.append(loaded.predict({name: rows[None]})["embeds"][0, :valid])
        return np.concatenate(parts)


class Utterance:
    """One utterance of the backbone, latent by latent; each subclass is one way to keep the cache.

    Args:
        component: the backbone's step.
        constants: shapes of the cache.
        position: position of the first step in the cache.
        keys: [L, K, C, d] the prefix in all slots; becomes the utterance's own.
        values: [L, K, C, d] the prefix in all slots; becomes the utterance's own.
    """

    def __init__(
        self, component: Component, constants: BackboneConstants, position: int, keys: np.ndarray, values: np.ndarray
    ) -> None:
        self._component, self._constants, self.position = component, constants, position
        self._keys, self._values = keys, values

    def step(self, latent: np.ndarray | None) -> tuple[np.ndarray, float]:
        """The latent before [Z], None at the start -> hidden [D], logit of the end of speech.

        Raises:
            ToolkitError: the cache is full.
        """
        c = self._constants
        if self.position >= c.slots:
            raise cache_too_small(self.position + 1, c.slots)
        width = self._component.inputs["latent"].shape[1]
        given = np.zeros((1, width), np.float32) if latent is None else latent[None].astype(np.float32)
        is_start = np.array([latent is None], np.float32)
        outputs = self._predict({"latent": given, "is_start": is_start, **position_inputs(self.position, 1, c)})
        self.position += 1
        return outputs["hidden"][0], float(outputs["eos_logit"].item())

    def _predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError


class ExternalUtterance(Utterance):
    """The cache is ours; the step returns its new rows."""

    def _predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._component.predict({**inputs, "key_in": self._keys, "value_in": self._values})
        self._keys[:, :, self.position] = outputs["key_out"][:, :, 0]
        self._values[:, :, self.position] = outputs["value_out"][:, :, 0]
        return outputs


class StatefulUtterance(Utterance):
    """The cache is the model's; it begins as a copy of the prefix."""

    def __init__(
        self, component: Component, constants: BackboneConstants, position: int, keys: np.ndarray, values: np.ndarray
    ) -> None:
        super().__init__(component, constants, position, keys, values)
        caches = {"key_cache": keys, "value_cache": values}
        self._state = component.make_state({name: cache.astype(np.float16) for name, cache in caches.items()})

    def _predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._component.predict(inputs, self._state)


def position_inputs(position: int, length: int, constants: BackboneConstants) -> dict[str, np.ndarray]:
    """The position inputs of a call of the backbone: first position, and rotary angles of all positions.

    Args:
        position: the first position; its angles are exact however large it is.
        length: number of positions in the call.
        constants: sizes of the rotary embedding.

    Returns:
        `position` [1] int32, `cos` and `sin` [1, length, d].
    """
    positions = np.arange(position, position + length)
    cos, sin = rotary_tables(positions, constants.head_dim, constants.rope_theta)
    return {"position": np.array([position], np.int32), "cos": cos[None], "sin": sin[None]}


def cache_too_small(needed: int, slots: int) -> ToolkitError:
    """The error for voice, text and frames that take more positions than the cache holds."""
    return ToolkitError(
        f"voice, text and speech need {needed} positions of the cache, it has {slots}",
        f"Convert with --cache-slots {-(-needed // 64) * 64}, or give a shorter voice or shorter sentences.",
    )


class Flow:
    """Noise to latent, in one call where the bundle has the number of steps fused, else step by step.

    Args:
        runtime: runs the component `flow`.
        functions: the functions of the component: `step`, `steps_N`.
        steps: number of flow steps per frame.

    Raises:
        ToolkitError: the bundle has no function for this number of steps.
    """

    def __init__(self, runtime: Runtime, functions: tuple[str, ...], steps: int) -> None:
        self.steps = steps
        if steps < 1:
            raise ToolkitError(f"--flow-steps is {steps}", "Give 1 or more.")
        if f"steps_{steps}" not in functions and "step" not in functions:
            fused = ", ".join(name.removeprefix("steps_") for name in functions)
            raise ToolkitError(
                f"--flow-steps {steps}: the bundle's flow supports only {fused}",
                f"Convert with --flow-steps {steps} or step.",
            )
        self._fused = f"steps_{steps}" in functions
        self._runtime, self._function = runtime, f"steps_{steps}" if self._fused else "step"

    def load(self) -> None:
        """Load the function that `sample` calls."""
        self._runtime.load("flow", self._function)

    def sample(self, hidden: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """hidden [D], noise [Z] -> latent [Z], normalised."""
        component = self._runtime.load("flow", self._function)
        if self._fused:
            fused: np.ndarray = component.predict({"hidden": hidden[None], "noise": noise[None]})["latent"][0]
            return fused
        latent: np.ndarray = noise[None]
        for index in range(self.steps):
            s, t = (np.full((1, 1), (index + offset) / self.steps, np.float32) for offset in (0, 1))
            velocity = component.predict({"hidden": hidden[None], "latent": latent, "s": s, "t": t})["velocity"]
            latent = latent + velocity / np.float32(self.steps)
        row: np.ndarray = latent[0]
        return row
