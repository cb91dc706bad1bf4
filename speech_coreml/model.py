"""A model from a bundle, ready to work: what `infer` and Python callers use."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models import find_model
from speech_coreml.audio import LOG, Audio, samples_from_audio
from speech_coreml.speech import Speech
from toolkit.audio.decode import Notes
from toolkit.batch import Listener
from toolkit.bundle.bundle import Bundle, open_bundle
from toolkit.component import Runtime
from toolkit.contract import Aligner, Progress, Speaker, Transcriber, aligner, speaker, transcriber
from toolkit.errors import OptionError
from toolkit.model import ModelInfo, ModelOption, Task
from toolkit.output.result import Outcome
from toolkit.runtimes.open import RuntimeChoice, open_runtime, units_of_option
from toolkit.transcript import Transcript

# Options of `infer` that a call takes, not the model.
OF_A_CALL: dict[Task, frozenset[str]] = {
    "transcription": frozenset(),
    "alignment": frozenset({"text", "text_file", "language"}),
    "synthesis": frozenset({"text", "text_file", "stream"}),
}
_VERBS: dict[Task, str] = {"transcription": "transcribe", "alignment": "align", "synthesis": "speak"}


def load(
    bundle: str | Path, *, runtime: RuntimeChoice = "auto", compute_units: str | None = None, **options: Any
) -> "SpeechModel":
    """Open a bundle.

    Args:
        bundle: folder that `convert` wrote, or `hub:OWNER/NAME[@REVISION]`.
        runtime: `coreml`, `portable` or `eager`; `auto` is coreml on macOS and portable elsewhere.
        compute_units: Core ML only: one name for all components, or `COMPONENT=UNITS`, comma-separated.
        options: the model's own, as `infer --help` lists them, with underscores: `language="fr"`, `flow_steps=4`.

    Raises:
        BundleError: there is no such bundle, it is damaged, or it was made by other code.
        OptionError: the model has no such option, or not this value of it.
        UnsupportedError: the runtime is not available on this machine.
    """
    opened = open_bundle(Path(bundle))
    info = find_model(opened.manifest.model)
    values = _resolved(info, options)
    executes = open_runtime(runtime, opened, info, units=units_of_option(compute_units))
    return SpeechModel(info, opened, executes, values)


class SpeechModel:
    """A model that listens or speaks.

    Attributes:
        info: the family, with its `task`: `transcription`, `alignment` or `synthesis`.
        bundle: what it was loaded from.
        runtime: what executes its components.
        pipeline: the host side: mel, loops, words.
    """

    def __init__(self, info: ModelInfo, bundle: Bundle, runtime: Runtime, options: Mapping[str, Any]) -> None:
        self.info, self.bundle, self.runtime = info, bundle, runtime
        build: dict[Task, Callable[..., Any]] = {
            "transcription": transcriber,
            "alignment": aligner,
            "synthesis": speaker,
        }
        self.pipeline: Any = build[info.task](info, bundle, runtime, options)

    def __repr__(self) -> str:
        return f"<{self.info.id} from {self.bundle.path}, {self.runtime.name}>"

    @property
    def sample_rate(self) -> int:
        """Rate of the audio that it takes or makes, in Hz."""
        return int(self.pipeline.sample_rate)

    def transcribe(
        self,
        audio: Audio,
        *,
        sample_rate: int | None = None,
        track: int | None = None,
        progress: Progress | None = None,
    ) -> Transcript:
        """The text of a recording of any length, with times where the model has them.

        Args:
            audio: file, or [samples] or [samples, channels] of floats from -1 to 1 or int16.
            sample_rate: of an array, in Hz; `self.sample_rate` when left out.
            track: audio track of a file, from 1; its default one when left out.
            progress: called with (windows done, windows in all).

        Raises:
            AudioError: the audio cannot be used.
            OptionError: the model does not transcribe.
            RuntimeFault: a component failed.
        """
        pipeline: Transcriber = self._pipeline_for("transcription")
        samples = samples_from_audio(audio, self.sample_rate, sample_rate=sample_rate, track=track)
        return _logged(pipeline.transcribe(samples, progress))

    def align(
        self,
        audio: Audio,
        text: str,
        language: str | None = None,
        *,
        sample_rate: int | None = None,
        track: int | None = None,
        progress: Progress | None = None,
    ) -> Transcript:
        """The time of every word of a text in its recording.

        Args:
            audio: as for `transcribe`.
            text: what is said.
            language: code or English name; decides how the text is split into words.
            sample_rate: as for `transcribe`.
            track: as for `transcribe`.
            progress: called with (parts done, parts in all).

        Raises:
            AudioError: the audio cannot be used.
            OptionError: the model does not align.
            ToolkitError: the text has no words, or does not fit the audio.
            RuntimeFault: a component failed.
        """
        pipeline: Aligner = self._pipeline_for("alignment")
        samples = samples_from_audio(audio, self.sample_rate, sample_rate=sample_rate, track=track)
        return _logged(pipeline.align(samples, text, language, progress))

    def speak(self, text: str, progress: Progress | None = None) -> Speech:
        """A text as speech, whole.

        Args:
            text: of any length.
            progress: called with (chunks of text done, chunks in all).

        Raises:
            OptionError: the model does not speak.
            ToolkitError: there is nothing to say, or more than the model can hold.
            RuntimeFault: a component failed.
        """
        blocks = list(self.stream(text, progress))
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        return Speech(samples, self.sample_rate, tuple(self.pipeline.notes))

    def stream(self, text: str, progress: Progress | None = None) -> Iterator[np.ndarray]:
        """A text as speech, block by block: [n] float32 at `sample_rate`, each as soon as it is made.

        Args:
            text: of any length.
            progress: called with (chunks of text done, chunks in all).

        Raises:
            As `speak`.
        """
        pipeline: Speaker = self._pipeline_for("synthesis")
        yield from pipeline.speak(text, progress)
        for note in pipeline.notes:
            LOG.warning(note)

    def transcribe_files(self, files: Iterable[str | Path], *, track: int | None = None) -> Iterator[Outcome]:
        """One `Result` or `Failure` per file, in their order, each as soon as it is done.

        Args:
            files: paths; a file that fails costs no other.
            track: as for `transcribe`.

        Raises:
            OptionError: the model does not transcribe.
        """
        self._pipeline_for("transcription")
        return self.listener(track=track).outcomes(map(str, files))

    def listener(
        self, text: str = "", language: str | None = None, *, track: int | None = None, notes: Notes = LOG.warning
    ) -> Listener:
        """What turns files into results.

        Args:
            text: that a model which aligns is given with each file.
            language: of that text.
            track: as for `transcribe`.
            notes: takes a line for each thing about a file that the user should know.
        """
        if self.info.task == "alignment":
            pipeline = self.pipeline

            def call(samples: np.ndarray, progress: Progress) -> Transcript:
                transcript: Transcript = pipeline.align(samples, text, language, progress)
                return transcript
        else:
            call = self.pipeline.transcribe

        def read(source: str, rate: int) -> np.ndarray:
            return samples_from_audio(source, rate, track=track, notes=notes)

        return Listener(self.pipeline, call, self.info, self.runtime.name, read)

    def _pipeline_for(self, task: Task) -> Any:
        if self.info.task != task:
            raise OptionError(f"{self.info.id} does not {_VERBS[task]}", f"Call {_VERBS[self.info.task]}().")
        return self.pipeline


def _logged(transcript: Transcript) -> Transcript:
    for note in transcript.notes:
        LOG.warning(note)
    return transcript


def _resolved(info: ModelInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all options of a model: those given, else the defaults."""
    declared = {o.name: o for o in info.options.get("infer", ()) if o.name not in OF_A_CALL[info.task]}
    if unknown := sorted(given.keys() - declared):
        there = f"Its options are {', '.join(declared)}." if declared else "It has none."
        raise OptionError(f"{info.id} has no option {unknown[0]}", there)
    return {name: _value(option, given.get(name, option.default)) for name, option in declared.items()}


def _value(option: ModelOption, value: Any) -> Any:
    if value is option.default:
        return value
    if option.type is bool and not isinstance(value, bool):
        raise OptionError(f"{option.name} is {value!r}", "Give True or False.")
    try:
        converted = value if isinstance(value, option.type) else option.type(value)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{option.name} is {value!r}", f"Give a value of {option.type.__name__}.") from error
    if option.choices and converted not in option.choices:
        raise OptionError(f"{option.name} is {value!r}", f"Give one of {', '.join(option.choices)}.")
    return converted
