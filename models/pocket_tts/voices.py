"""Voices: shipped with the bundle, cloned from a recording, or read from a file."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.pocket_tts.backbone import Cache
from models.pocket_tts.codec import encode
from models.pocket_tts.constants import HostConstants
from models.pocket_tts.voice_file import EMBEDS, KEYS, LATENTS, VALUES, VoiceSizes, read_voice
from toolkit.audio.end_on_pause import ended_on_pause
from toolkit.audio.read import read_audio
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.errors import ToolkitError

LEAST_S = 1.0  # of a recording: less holds a syllable or two
SILENT = 1e-3  # a peak below -60 dB of full scale


@dataclass(frozen=True)
class Voice:
    """A voice: latents for the backbone, what they are projected to, or the cache that the backbone computed from them.

    Attributes:
        latents: [T, Z] float32 in the codec's space; None in the other forms.
        embeds: [T, D] float32, the latents projected to the backbone's width; None in the other forms.
        cache: keys and values of T positions; None in the other forms.
        note: why the voice may sound poor; empty if nothing is known against it.
    """

    latents: np.ndarray | None = None
    embeds: np.ndarray | None = None
    cache: Cache | None = None
    note: str = ""

    @property
    def length(self) -> int:
        """Positions that the voice takes in the cache, without a token in front of it."""
        frames = self.latents if self.latents is not None else self.embeds
        return len(frames) if frames is not None else self.cache.length if self.cache else 0


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
        ToolkitError: the bundle has no encoder, or its weights are those without voice cloning.
    """
    if not host.clones:
        raise ToolkitError(
            f"{bundle.path} was made from weights without voice cloning",
            f"Give --voice a name ({', '.join(host.voices) or 'the bundle has none'}) or a .safetensors file, or "
            "convert kyutai/pocket-tts.",
        )
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
    """A voice from a file, in whichever form.

    Raises:
        ToolkitError: the file holds none, or belongs to another checkpoint.
    """
    b = host.backbone
    sizes = VoiceSizes(len(host.latent_mean), b.width, b.layers, b.key_heads, b.head_dim, host.clones)
    voice = read_voice(path, sizes)
    if KEYS in voice:
        return Voice(cache=Cache(voice[KEYS], voice[VALUES]))
    return Voice(latents=voice.get(LATENTS), embeds=voice.get(EMBEDS))
