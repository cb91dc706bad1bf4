"""Loading the one ML Program that a command looks into, whole or as a part of a pipeline."""

from pathlib import Path

from milrun.errors import InputError
from milrun.loading import load
from milrun.model import Model
from milrun.pipeline import Pipeline


def load_program(path: Path, function: str | None, part: str | int | None, *, cache_weights: bool = True) -> Model:
    """One function of an ML Program.

    Raises:
        InputError: the path holds a pipeline, or a step that is no program.
        MilrunError: it cannot be loaded.
    """
    model = load(path, function, cache_weights=cache_weights, part=part)
    if not isinstance(model, Model):
        raise InputError(f"{path} is no ML Program: {only_a_program(model)}")
    return model


def only_a_program(model: object) -> str:
    """What to give instead of a model that has no single program."""
    names = ", ".join(part_names(model)) if isinstance(model, Pipeline) else "this one is none"
    return f"name it with --part ({names})"


def part_names(model: Pipeline) -> list[str]:
    """Index and name of each part."""
    return [f"part {index} '{name}'" for index, name in enumerate(model.parts)]
