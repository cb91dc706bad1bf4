"""What a model folder declares about itself, light enough for `--help`."""

import importlib
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

Task = Literal["transcription", "alignment", "synthesis"]
Command = Literal["convert", "infer", "compare"]


@dataclass(frozen=True)
class ModelOption:
    """A command-line option that one model adds to a command.

    Attributes:
        name: Python name, e.g. `audio_seconds`; the option is `--audio-seconds`.
        type: `str`, `int`, `float`, `bool` or `Path`.
        default: value when it is not given.
        help: one line.
        choices: allowed values, if closed.
        repeatable: may be given several times; the values are joined by commas.
        first_run_only: does not apply to the further runs that `compare --blame` makes.
        names_bundle: a value that was given becomes part of the name of the bundle's default folder.
    """

    name: str
    type: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    repeatable: bool = False
    first_run_only: bool = False
    names_bundle: bool = False


@dataclass(frozen=True)
class ModelInfo:
    """A model family.

    Attributes:
        id: name on the command line, e.g. `parakeet-tdt`.
        package: import path of the model's folder, e.g. `models.parakeet_tdt`.
        task: what it does.
        architecture: the `transformers` class its checkpoints name in config.json.
        default_checkpoint: hub id.
        summary: one line for `convert list`.
        components: what the default options of `convert` make.
        word_times: whether its transcripts tell when each word is said; subtitles need that.
        demo_clips: folders below demo/clips that suit its demo checkpoint.
        aliases: other names.
        near_misses: classes that are mistaken for `architecture`, each with the next step.
        options: options that the model adds, by command.
    """

    id: str
    package: str
    task: Task
    architecture: str
    default_checkpoint: str
    summary: str
    components: tuple[str, ...] = ()
    word_times: bool = True
    demo_clips: tuple[str, ...] = (".",)
    aliases: tuple[str, ...] = ()
    near_misses: dict[str, str] = field(default_factory=dict)
    options: dict[Command, tuple[ModelOption, ...]] = field(default_factory=dict)

    def siblings(self) -> tuple["ModelInfo", ...]:
        """All models of the package that this one is in."""
        return tuple(importlib.import_module(self.package.rpartition(".")[0]).all_models().values())

    def module(self, part: Literal["export", "pipeline", "parity", "published"]) -> ModuleType:
        """Import one of the model's modules; `toolkit.contract` and `parity.ladder.contract` say what is in them."""
        return importlib.import_module(f"{self.package}.{part}")
