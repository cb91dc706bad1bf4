"""The reference: Parrot in NumPy, straight from its checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


@dataclass(frozen=True)
class ReferenceRun:
    """Frames [T, S], scores [T, letters] and the text of one utterance."""

    frames: np.ndarray
    scores: np.ndarray
    text: str


class Reference:
    """The model of a checkpoint."""

    def __init__(self, folder: Path) -> None:
        self._weights = load_file(folder / "model.safetensors")
        self._alphabet = json.loads((folder / "config.json").read_text())["alphabet"]

    def run(self, audio: np.ndarray) -> ReferenceRun:
        """Run one utterance, [samples] float32."""
        weight, bias = self._weights["weight"], self._weights["bias"]
        starts = range(0, len(audio) - weight.shape[1] + 1, weight.shape[1])
        frames = np.stack([audio[start : start + weight.shape[1]] for start in starts])
        scores = np.tanh(frames @ weight.T + bias)
        return ReferenceRun(frames, scores, "".join(self._alphabet[letter] for letter in scores.argmax(-1)))
