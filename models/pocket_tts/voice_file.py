"""Voice files, ours and Kyutai's three, read into one of three forms. N layers, K heads, T positions, d channels.

Kyutai's: v1.0 `audio_prompt` [1, T, D], projected already; v1.1 `transformer.layers.N.self_attn/cache` [2, 1, T, K, d]
beside `/current_end`, whose length is the count; since then beside `/offset` [1], and `/pad` in some. Its rotary pairs
are neighbours, ours half a head apart (pocket-tts 4.0.1, models/model_state.py and modules/attention.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize

from toolkit.errors import ToolkitError

LATENTS, EMBEDS, KEYS, VALUES = "audio_prompt_latents", "audio_prompt_embeds", "keys", "values"
_PROJECTED = "audio_prompt"
_STATE = re.compile(r"transformer\.layers\.(\d+)\.self_attn/(cache|offset|current_end|pad)")
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "BOOL": "?"}
_STEP = (
    "Give a voice file of this checkpoint: `audio_prompt_latents`, `keys` and `values`, or one that Kyutai's "
    "pocket-tts exported."
)


@dataclass(frozen=True)
class VoiceSizes:
    """What a voice of one checkpoint must fit.

    Attributes:
        latent: width of a latent.
        width: of the backbone.
        layers: of the backbone.
        key_heads: of the backbone.
        head_dim: of the backbone.
        clones: whether the checkpoint can project latents of a voice.
    """

    latent: int
    width: int
    layers: int
    key_heads: int
    head_dim: int
    clones: bool = True


def read_voice(path: Path, sizes: VoiceSizes) -> dict[str, np.ndarray]:
    """A voice file in our own form, checked.

    Args:
        path: .safetensors.
        sizes: of the checkpoint.

    Returns:
        float32: `audio_prompt_latents` [T, Z], `audio_prompt_embeds` [T, D], or `keys` and `values` [N, K, T, d].

    Raises:
        ToolkitError: the file cannot be read, holds no voice, or belongs to another checkpoint.
    """
    arrays = _arrays(path)
    voice = _of_kyutai(path, arrays) or {n: a for n, a in arrays.items() if n in (LATENTS, EMBEDS, KEYS, VALUES)}
    if any(not np.isfinite(array).all() for array in voice.values()):
        raise ToolkitError(f"{path} holds NaN or infinite values", _STEP)
    for name in (LATENTS, EMBEDS):
        if name in voice and voice[name].ndim == 3 and len(voice[name]) == 1:
            voice[name] = voice[name][0]
    if not _fits(voice, sizes):
        found = ", ".join(f"{name} {list(array.shape)}" for name, array in sorted(arrays.items())[:4]) or "nothing"
        more = f" and {len(arrays) - 4} more" if len(arrays) > 4 else ""
        raise ToolkitError(f"{path} is not a voice file of this checkpoint ({found}{more})", _STEP)
    if LATENTS in voice and not sizes.clones:
        raise ToolkitError(
            f"{path} holds latents, which the weights without voice cloning cannot project",
            "Give a voice that Kyutai's pocket-tts exported, or convert the weights with voice cloning.",
        )
    return voice


def _fits(voice: Mapping[str, np.ndarray], sizes: VoiceSizes) -> bool:
    shapes = {name: array.shape for name, array in voice.items()}
    if LATENTS in shapes or EMBEDS in shapes:
        name, width = (LATENTS, sizes.latent) if LATENTS in shapes else (EMBEDS, sizes.width)
        return len(shapes[name]) == 2 and shapes[name][0] > 0 and shapes[name][1] == width
    keys, values = shapes.get(KEYS, ()), shapes.get(VALUES, ())
    wanted = (sizes.layers, sizes.key_heads, sizes.head_dim)
    return keys == values and len(keys) == 4 and keys[2] > 0 and (keys[0], keys[1], keys[3]) == wanted


def _of_kyutai(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A voice of Kyutai's in our form; empty where the file is none of theirs."""
    if _PROJECTED in arrays:
        return {EMBEDS: arrays[_PROJECTED]}
    layers: dict[int, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        if match := _STATE.fullmatch(name):
            layers.setdefault(int(match[1]), {})[match[2]] = array
    if not layers:
        return {}
    if sorted(layers) != list(range(len(layers))):
        raise ToolkitError(f"{path} lacks a layer of the voice's cache", _STEP)
    pairs = [_keys_values(path, layers[number]) for number in range(len(layers))]
    if len({pair.shape for pair in pairs}) > 1:
        raise ToolkitError(f"{path} holds layers of different lengths", _STEP)
    both = np.stack(pairs, 1)  # [2, N, K, T, d]
    return {KEYS: _half_split(both[0]), VALUES: np.ascontiguousarray(both[1])}


def _keys_values(path: Path, layer: Mapping[str, np.ndarray]) -> np.ndarray:
    """The cache of one layer [2, K, T, d], without the rows that are not used and those of padding."""
    cache, count = layer.get("cache", np.zeros(0)), _count(layer)
    pad = int(layer["pad"].flat[0]) if layer.get("pad", np.zeros(0)).size else 0
    if cache.ndim != 5 or cache.shape[:2] != (2, 1) or not 0 < count <= cache.shape[2]:
        raise ToolkitError(f"{path} holds a cache {list(cache.shape)} of {count} positions", _STEP)
    if pad:
        raise ToolkitError(f"{path} begins with {pad} positions of padding", "Export the voice on its own, unpadded.")
    return cache[:, 0, :count].transpose(0, 2, 1, 3)  # [2, 1, T, K, d] -> [2, K, T, d]


def _count(layer: Mapping[str, np.ndarray]) -> int:
    """Positions in use: the value of `offset`, or, in older files, the length of `current_end`."""
    if layer.get("offset", np.zeros(0)).size:
        return int(layer["offset"].flat[0])
    return len(np.atleast_1d(layer.get("current_end", np.zeros(0))))


def _half_split(keys: np.ndarray) -> np.ndarray:
    return np.concatenate([keys[..., 0::2], keys[..., 1::2]], -1)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, floats as float32."""
    try:
        arrays = {name: _array(**stored) for name, stored in deserialize(path.read_bytes())}  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ToolkitError(f"{path} cannot be read as .safetensors: {error}", _STEP) from error
    return {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in arrays.items()}


def _array(dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    """One array as it is stored; numpy has no bfloat16, which is the upper half of a float32."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
