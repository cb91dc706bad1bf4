"""The codec on the host: latents to audio frame by frame, a recording to latents; both carry their own states."""

import numpy as np

from models.pocket_tts.constants import HostConstants
from toolkit.component import Component, Runtime
from toolkit.loops.fixed_windows import padded_parts
from toolkit.loops.rope import rotary_tables


class Stream:
    """The states of one stream of the codec's decoder or encoder; all zero at its start.

    Args:
        component: inputs `NAME_in` have their successor in outputs `NAME_out`.
        host: the bundle's constants.
    """

    def __init__(self, component: Component, host: HostConstants) -> None:
        self._component, self._codec, self._positions = component, host.codec, 0
        shapes = {name: info.shape for name, info in component.inputs.items() if name.endswith("_in")}
        self._states = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}

    def predict(self, inputs: dict[str, np.ndarray], frames: int) -> dict[str, np.ndarray]:
        """The next frames; the states move on.

        Args:
            inputs: all inputs but the states, `past` and the rotary angles.
            frames: number of frames that the call takes.
        """
        codec, start = self._codec, self._positions
        self._positions += frames * codec.positions_a_frame
        cos, sin = rotary_tables(np.arange(start, self._positions), codec.head_dim, codec.rope_theta)
        past = np.array([min(start, codec.window - 1)], np.int32)
        outputs = self._component.predict({**inputs, "past": past, "cos": cos[None], "sin": sin[None], **self._states})
        self._states = {name: outputs[name.removesuffix("_in") + "_out"] for name in self._states}
        return outputs


class Decoder:
    """One utterance: latents in, samples out.

    Args:
        runtime: runs `codec_decoder`.
        host: the bundle's constants.
    """

    def __init__(self, runtime: Runtime, host: HostConstants) -> None:
        self._stream = Stream(runtime.load("codec_decoder"), host)
        self._mean = np.array(host.latent_mean, np.float32)
        self._std = np.array(host.latent_std, np.float32)
        self._fade = np.linspace(0, 1, host.fade_in_samples, dtype=np.float32)

    def decode(self, latent: np.ndarray) -> np.ndarray:
        """The next latent [Z], normalised -> its samples; the first ones of an utterance are faded in."""
        samples = self.decode_raw(latent * self._std + self._mean)
        fade, self._fade = self._fade[: len(samples)], self._fade[len(samples) :]
        samples[: len(fade)] *= fade
        return samples

    def decode_raw(self, latent: np.ndarray) -> np.ndarray:
        """The next latent [Z] in the codec's own space -> its samples, without the fade-in."""
        audio: np.ndarray = self._stream.predict({"latents": latent[None, None]}, 1)["audio"][0]
        return audio.copy()


def encode(runtime: Runtime, host: HostConstants, samples: np.ndarray) -> np.ndarray:
    """A recording to latents [n, Z] in the codec's own space.

    Args:
        runtime: runs `codec_encoder`.
        host: the bundle's constants.
        samples: float32, a whole number n of frames.
    """
    stream = Stream(runtime.load("codec_encoder"), host)
    latents = []
    for audio, valid in padded_parts(samples, host.codec.encoder_frames * host.frame_samples):
        outputs = stream.predict({"audio": audio[None]}, host.codec.encoder_frames)
        latents.append(outputs["latents"][0, : valid // host.frame_samples])
    return np.concatenate(latents)
