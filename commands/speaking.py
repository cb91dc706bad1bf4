"""`infer` for models that speak: where the audio goes, how fast it was made, and what the user is told."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from commands.infer_request import InferRequest
from commands.stdout import NAME as STDOUT
from commands.stdout import ReaderLeft, check_stdout
from commands.terminal import note, progress, step_reporter
from commands.voice import info, level
from toolkit.contract import Speaker
from toolkit.errors import RuntimeFault
from toolkit.output.audio import (
    Written,
    check_audio_output,
    check_growing_output,
    stream_pcm,
    stream_wav,
    write_audio,
)


@dataclass(frozen=True)
class Destination:
    """Where audio goes.

    Attributes:
        name: the file's, or `standard output`.
        write: takes blocks of [n] float32 and their rate in Hz.
        live: whether it can be heard while it is made.
    """

    name: str
    write: Callable[[Iterable[np.ndarray], int], Written]
    live: bool


@dataclass(frozen=True)
class Speech:
    """What was spoken, and how fast.

    Attributes:
        destination: name of where it went.
        duration_s: of the audio.
        work_s: spent on making it: neither on loading, nor on writing, nor on waiting for a player.
        first_audio_s: part of that until the first samples were there.
        chunks: pieces that the text was split into.
        clipped: samples that were louder than full scale.
    """

    destination: str
    duration_s: float
    work_s: float
    first_audio_s: float
    chunks: int
    clipped: int

    def summary(self, runtime: str) -> str:
        """One line: how long, how fast, how soon, with what."""
        rtfx = self.duration_s / self.work_s
        chunks = f"{self.chunks} text chunk{'' if self.chunks == 1 else 's'}"
        first = f"first audio after {_milliseconds(self.first_audio_s)}"
        return f"{self.destination}: {self.duration_s:.2f} s of speech, RTFx {rtfx:.2f}, {first}, {chunks}, {runtime}"


def destination(output: Path | None, stream: bool) -> Destination:
    """Where to write: a file when all is made, or a growing WAV or raw PCM on stdout while it is made.

    Args:
        output: .wav or .flac; None is stdout.
        stream: write each block as soon as it is made.

    Raises:
        typer.BadParameter: neither is given, or stdout is a terminal.
        OutputError: the file cannot be written, or cannot grow; or stdout is closed.
    """
    if output is None:
        if not stream:
            raise typer.BadParameter("give --output FILE.wav or .flac, or --stream to write raw PCM to stdout")
        check_stdout()
        if sys.stdout.isatty():
            raise typer.BadParameter("--stream writes raw PCM to stdout, a terminal here: pipe it, or give --output")
        descriptor = sys.stdout.fileno()
        return Destination(STDOUT, lambda blocks, _: stream_pcm(descriptor, blocks, STDOUT), live=True)
    if stream:
        check_growing_output(output)
        return Destination(str(output), lambda blocks, rate: stream_wav(output, blocks, rate), live=True)
    check_audio_output(output)
    return Destination(str(output), lambda blocks, rate: write_audio(output, blocks, rate), live=False)


def speak(request: InferRequest) -> None:
    """Write the speech of a text; the model declares `text`, `text_file` and `stream`.

    Raises:
        typer.BadParameter: audio or a text format was given.
        ReaderLeft: the process reading the stream closed its end.
    """
    if request.audio:
        raise typer.BadParameter(f"{request.model.id} speaks: give --text or --text-file instead of AUDIO")
    if flags := request.output.for_transcripts:
        raise typer.BadParameter(f"{request.model.id} speaks: {flags[0]} is for models that listen")
    if request.track:
        raise typer.BadParameter(f"{request.model.id} speaks: --track is for models that listen")
    to = destination(request.output.file, request.options["stream"])
    text = request.text("the words to speak")
    model = request.open()
    try:
        speech = spoken(model.pipeline, text, to)
    except BrokenPipeError as error:  # the reader of stdout has enough
        raise ReaderLeft from error
    request.report_loads(model.runtime)
    for text in model.pipeline.notes:
        note(text)
    if speech.clipped:
        note(f"{speech.clipped} samples were too loud and are clipped")
    info(speech.summary(model.runtime.name))


def spoken(pipeline: Speaker, text: str, to: Destination) -> Speech:
    """Speak a text, with a progress bar, and a line on stderr at the first audio where it can be heard then.

    Args:
        pipeline: of a model that speaks.
        text: the words to speak.
        to: where the audio goes.

    Raises:
        ToolkitError: the text cannot be spoken, or the audio cannot be written.
        BrokenPipeError: the reader of stdout has left.
    """
    with progress() as bar:
        report = step_reporter(bar, to.name)
        report("loading", 0, 1)
        pipeline.load()  # no part of the speed reported
        chunks = len(pipeline.chunks(text))

        def announce(first_audio_s: float) -> None:
            if to.live and level() != "quiet":
                line = f"{to.name}: first audio after {_milliseconds(first_audio_s)}"
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

        watch = _Watch(pipeline.sample_rate, chunks, report, announce)
        written = to.write(watch.blocks(lambda: pipeline.speak(text, watch.on_chunk)), pipeline.sample_rate)
    duration_s = written.samples / pipeline.sample_rate
    return Speech(to.name, duration_s, watch.work_s, watch.first_audio_s, chunks, written.clipped)


class _Watch:
    """Counts the time spent on making blocks, not the time spent on writing them, and shows the progress."""

    def __init__(
        self,
        sample_rate: int,
        chunks: int,
        report: Callable[[str, int, int], None],
        announce: Callable[[float], None],
    ) -> None:
        self.work_s = self.first_audio_s = 0.0
        self._rate, self._samples = sample_rate, 0
        self._done, self._of = 0, chunks
        self._report, self._announce = report, announce

    def blocks(self, make: Callable[[], Iterable[np.ndarray]]) -> Iterator[np.ndarray]:
        """The blocks as they are made; the first is announced when it has been written.

        Raises:
            RuntimeFault: there are none.
        """
        start = time.perf_counter()
        made = iter(make())
        while (block := next(made, None)) is not None:
            self.work_s += time.perf_counter() - start
            first = not self._samples
            self._samples += len(block)
            self._show()
            if first:
                self.first_audio_s = self.work_s
            yield block
            if first:
                self._announce(self.first_audio_s)
            start = time.perf_counter()
        self.work_s += time.perf_counter() - start
        if not self._samples:
            raise RuntimeFault("the model made no audio", "Report it with the text.")

    def on_chunk(self, done: int, of: int) -> None:
        """Take the pipeline's own progress."""
        self._done, self._of = done, of
        self._show()

    def _show(self) -> None:
        self._report(f"{self._samples / self._rate:.1f} s made", self._done, self._of)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
