"""Parrot on the host: frames, one component, letters."""

import numpy as np

from toolkit.bundle.bundle import Bundle
from toolkit.bundle.host_constants import HostSchema, host_constants
from toolkit.component import Runtime
from toolkit.contract import Progress, Transcriber
from toolkit.transcript import Transcript


class HostConstants(HostSchema):
    """Schema of `manifest.host` for this model."""

    sample_rate: int
    frame_samples: int
    frames: int
    alphabet: str


class Pipeline(Transcriber):
    """Audio in, a letter a frame out."""

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        self.host = host_constants(bundle, HostConstants)
        self._runtime = runtime

    @property
    def sample_rate(self) -> int:
        """Rate of the audio, in Hz."""
        return self.host.sample_rate

    def load(self, samples: int) -> None:
        """Load the component."""
        self._runtime.load("ear")

    def transcribe(self, audio: np.ndarray, progress: Progress | None = None) -> Transcript:
        """The letter of each whole frame of [samples] float32."""
        letters = self.scores(self.frames(audio)).argmax(-1)
        text = "".join(self.host.alphabet[letter] for letter in letters)
        return Transcript(text, len(audio) / self.sample_rate, (), ())

    def frames(self, audio: np.ndarray) -> np.ndarray:
        """[samples] -> [T, S], whole frames only."""
        count = len(audio) // self.host.frame_samples
        return audio[: count * self.host.frame_samples].reshape(count, -1)

    def scores(self, frames: np.ndarray) -> np.ndarray:
        """[T, S] -> [T, letters], in calls of a fixed number of frames."""
        size = self.host.frames
        padded = np.pad(frames, ((0, -len(frames) % size), (0, 0)))
        ear = self._runtime.load("ear")
        parts = [ear.predict({"frames": padded[k : k + size]})["scores"] for k in range(0, len(padded), size)]
        return np.concatenate(parts)[: len(frames)]
