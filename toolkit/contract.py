"""What a model's folder gives to the commands, as protocols: a mistake in a new model is an error of the type checker.

The side of the proof is `parity.ladder.contract`; both are reached through `ModelInfo`, which loads them when needed.
"""

from collections.abc import Callable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.model import ModelInfo, Task
from toolkit.spec import ExportPlan
from toolkit.transcript import Transcript

Progress = Callable[[int, int], None]
"""Called with (parts done, parts in all)."""


class ExportModule(Protocol):
    """`models/<model>/export.py`."""

    def check(self, checkpoint: Path, /) -> None:
        """Judge configuration, tokenizer and processor, before any weight is there.

        Args:
            checkpoint: folder in transformers' layout, its weights not needed.

        Raises:
            CheckpointError: one is missing or damaged, or asks for what the wrappers do not cover.
        """

    def plan(self, checkpoint: Path, options: Mapping[str, Any], /) -> ExportPlan:
        """Declare every component for one checkpoint.

        Args:
            checkpoint: folder in the hub's layout.
            options: the model's own options of `convert`, resolved.
        """


@runtime_checkable
class Transcriber(Protocol):
    """A pipeline of the task `transcription`: audio in, transcript out."""

    @property
    def sample_rate(self) -> int:
        """Rate of the audio that `transcribe` takes, in Hz."""

    def load(self, samples: int, /) -> None:
        """Load what audio of this length needs, so that `transcribe` only computes."""

    def transcribe(self, audio: np.ndarray, progress: Progress | None = None, /) -> Transcript:
        """Transcribe [samples] float32 of any length, at `sample_rate`."""


@runtime_checkable
class Aligner(Protocol):
    """A pipeline of the task `alignment`: audio and its text in, times of the words out."""

    @property
    def sample_rate(self) -> int:
        """Rate of the audio that `align` takes, in Hz."""

    def load(self, samples: int, /) -> None:
        """Load what audio of this length needs, so that `align` only computes."""

    def align(
        self, audio: np.ndarray, text: str, language: str | None = None, progress: Progress | None = None, /
    ) -> Transcript:
        """Find the words of a text in [samples] float32, at `sample_rate`; the language by code or English name."""


@runtime_checkable
class Speaker(Protocol):
    """A pipeline of the task `synthesis`: text in, audio out, block by block.

    Attributes:
        notes: what the user should know about the result, one sentence each; complete once `speak` has ended.
    """

    notes: list[str]

    @property
    def sample_rate(self) -> int:
        """Rate of the audio that `speak` yields, in Hz."""

    def load(self) -> None:
        """Load what speech needs, so that `speak` only computes."""

    def chunks(self, text: str, /) -> Sized:
        """The pieces that a text is split into."""

    def speak(self, text: str, progress: Progress | None = None, /) -> Iterator[np.ndarray]:
        """Blocks [n] float32 of the speech, each as soon as it is made."""


def export_of(model: ModelInfo) -> ExportModule:
    """The model's export module; brings torch and transformers with it."""
    return cast(ExportModule, model.module("export"))


def transcriber(model: ModelInfo, bundle: Bundle, runtime: Runtime, options: Mapping[str, Any]) -> Transcriber:
    """The pipeline of a model that transcribes; `options` are the model's own of `infer`."""
    pipeline: Transcriber = _pipeline_class(model, "transcription")(bundle, runtime, **options)
    return pipeline


def aligner(model: ModelInfo, bundle: Bundle, runtime: Runtime, options: Mapping[str, Any]) -> Aligner:
    """The pipeline of a model that aligns; `options` are the model's own of `infer`."""
    pipeline: Aligner = _pipeline_class(model, "alignment")(bundle, runtime, **options)
    return pipeline


def speaker(model: ModelInfo, bundle: Bundle, runtime: Runtime, options: Mapping[str, Any]) -> Speaker:
    """The pipeline of a model that speaks; `options` are the model's own of `infer`."""
    pipeline: Speaker = _pipeline_class(model, "synthesis")(bundle, runtime, **options)
    return pipeline


def _pipeline_class(model: ModelInfo, task: Task) -> Callable[..., Any]:
    if model.task != task:
        raise ValueError(f"{model.id} is a model for {model.task}, not for {task}")
    return cast(Callable[..., Any], model.module("pipeline").Pipeline)
