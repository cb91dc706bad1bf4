"""Voices: shipped with the bundle, cloned from a recording, or read from a file."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from models.pocket_tts.backbone import Cache
from models.pocket_tts.codec import encode
from models.pocket_tts.constants import HostConstants
from toolkit.audio.end_on_pause import ended_on_pause
from toolkit.audio.read import read_audio
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.errors import ToolkitError

LEAST_S = 1.0  # of a recording: less holds a syllable or two
SILENT = 1e-3  # a peak below -60 dB of full scale


@dataclass(frozen=True)
class Voice:
    """A voice: latents for the backbone, or the cache that the backbone computed from them.

    Attributes:
        latents: [T, Z] float32 in the codec's space; None where there is a cache.
        cache: keys and values of T positions; None where there are latents.
        note: why the voice may sound poor; empty if nothing is known against it.
    """

    latents: np.ndarray | None = None
    cache: Cache | None = None
    note: str = ""

    @property
    def length(self) -> int:
        """Positions that the voice takes in the cache, without a token in front of it."""
        return len(self.latents) if self.latents is not None else self.cache.length if self.cache else 0


def check_voice(name: str, host: HostConstants) -> None:
    """Check that a voice of this name exists, without opening it and without running a component.

    Args:
        name: name or file, as for `open_voice`.
        host: the bundle's constants.

    Raises:
        ToolkitError: no such voice.
    """
    if name and name not in host.voices and not os.path.exists(name):  # unlike Path.exists, False for too long a name
        known = ", ".join(host.voices) or "none"
        raise ToolkitError(f"no voice '{name}'", f"Give a file, or one of the bundle's voices: {known}.")


def open_voice(name: str, bundle: Bundle, runtime: Runtime, host: HostConstants) -> Voice:
    """A voice by name, or from a file.

    Args:
        name: of a voice in the bundle; .safetensors file; recording of any format, rate and channels; empty is the
            bundle's first voice.
        bundle: holds its voices as assets.
        runtime: runs the codec's encoder.
        host: the bundle's constants.

    Raises:
        ToolkitError: there is no such voice, or the file holds none.
        AudioError: the recording cannot be used.
    """
    check_voice(name, host)
    if not name and not host.voices:
        raise ToolkitError("the bundle has no voice", "Give --voice a recording or a .safetensors file.")
    if not name or name in host.voices:
        return _read(bundle.asset(f"voice-{name or host.voices[0]}.safetensors"), host)
    if Path(name).suffix == ".safetensors":
        return _read(Path(name), host)
    return clone(read_audio(name, host.sample_rate), bundle, runtime, host)


def clone(samples: np.ndarray, bundle: Bundle, runtime: Runtime, host: HostConstants) -> Voice:
    """The voice of a recording.

    Args:
        samples: float32 mono at the bundle's rate.
        bundle: the bundle with the codec's encoder.
        runtime: runs the codec's encoder.
        host: the bundle's constants.

    Raises:
        ToolkitError: the bundle has no encoder.
    """
    if bundle.manifest.component("codec_encoder") is None:
        raise ToolkitError(
            f"{bundle.path} has no codec_encoder, which clones a voice",
            "Convert with --codec-encoder, or give --voice a .safetensors file.",
        )
    latents = encode(runtime, host, ended_on_pause(samples, host.sample_rate, host.pause))
    return Voice(latents=latents, note=_note(samples, host.sample_rate))


def _note(samples: np.ndarray, rate: int) -> str:
    """The reason why a recording makes a poor voice; empty if there is none."""
    if not (np.abs(samples) >= SILENT).any():
        return "the voice's recording is silent, so that the voice is left to chance"
    if (seconds := len(samples) / rate) < LEAST_S:
        return f"the voice's recording is {seconds:.2f} s long: give a few seconds of speech"
    return ""


def _read(path: Path, host: HostConstants) -> Voice:
    """Latents or a cache from a file.

    Raises:
        ToolkitError: the file is neither, or belongs to another checkpoint.
    """
    step = "Give a file with `audio_prompt_latents`, or with `keys` and `values`, of this checkpoint."
    try:
        arrays = {name: array.astype(np.float32) for name, array in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ToolkitError(f"{path} cannot be read as .safetensors: {error}", step) from error
    if any(not np.isfinite(array).all() for array in arrays.values()):
        raise ToolkitError(f"{path} holds NaN or infinite values", step)
    latents = arrays.get("audio_prompt_latents", np.zeros(0))
    latents = latents[0] if latents.ndim == 3 and len(latents) == 1 else latents
    if latents.ndim == 2 and len(latents) and latents.shape[1] == len(host.latent_mean):
        return Voice(latents=latents)
    keys, values, b = arrays.get("keys"), arrays.get("values"), host.backbone
    if keys is not None and values is not None and keys.shape == values.shape and keys.ndim == 4:
        layers, heads, length, head_dim = keys.shape
        if length and (layers, heads, head_dim) == (b.layers, b.key_heads, b.head_dim):
            return Voice(cache=Cache(keys, values))
    found = ", ".join(f"{name} {list(array.shape)}" for name, array in sorted(arrays.items())) or "nothing"
    raise ToolkitError(f"{path} is not a voice file of this checkpoint ({found})", step)
