"""Listening to several files: each ends with its result or its error, and one that fails stops no other."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

from toolkit.audio.read import read_audio
from toolkit.contract import Aligner, Progress, Transcriber
from toolkit.errors import AudioError, Interrupted
from toolkit.model import ModelInfo
from toolkit.output.result import Failure, Outcome, Result
from toolkit.transcript import Transcript


def _silent(source: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda done, of: None)


@dataclass(frozen=True)
class Listener:
    """A pipeline and what is asked of it.

    Attributes:
        pipeline: of a model that listens.
        call: transcribes or aligns [samples] float32 at the pipeline's rate.
        model: the family.
        runtime: name of what executes the components.
        read: reads a file, or `-`, at a rate in Hz.
    """

    pipeline: Transcriber | Aligner
    call: Callable[[np.ndarray, Progress], Transcript]
    model: ModelInfo
    runtime: str
    read: Callable[[str, int], np.ndarray] = read_audio

    def result(self, source: str, progress: Progress) -> Result:
        """Listen to one file.

        Args:
            source: path, or `-` for standard input.
            progress: called with (parts done, parts in all).

        Raises:
            ToolkitError: the file cannot be used, or a component broke its own contract.
        """
        samples = self.read(source, self.pipeline.sample_rate)
        self.pipeline.load(len(samples))  # once a runtime; no part of the speed reported
        start = time.perf_counter()
        try:
            transcript = self.call(samples, progress)
        except AudioError as error:
            raise AudioError(f"{source}: {error.message}", error.next_step) from error
        speed = transcript.duration_s / (time.perf_counter() - start)
        return Result(source, transcript, speed, self.runtime, self.model.id, self.model.task)

    def outcomes(
        self, sources: Iterable[str], watch: Callable[[str], AbstractContextManager[Progress]] = _silent
    ) -> Iterator[Outcome]:
        """Listen to files in their order; each outcome is there as soon as its file is done.

        Args:
            sources: paths, or `-`.
            watch: gives the progress callback for one file, for as long as it takes.

        Raises:
            Interrupted: the user stopped it.
        """
        for source in sources:
            yield self._outcome(source, watch)

    def _outcome(self, source: str, watch: Callable[[str], AbstractContextManager[Progress]]) -> Outcome:
        try:
            with watch(source) as progress:
                return self.result(source, progress)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001  a fault of ours in one file is no reason to lose the others
            return Failure(source, error)
