"""The models. A folder here that exports `MODEL` is a model; nothing else needs to know of it."""

import importlib
import pkgutil
from functools import cache

import typer

from toolkit.model import ModelInfo


@cache
def all_models() -> dict[str, ModelInfo]:
    """Every model by id, in alphabetical order."""
    found = [
        importlib.import_module(f"{__name__}.{module.name}").MODEL
        for module in pkgutil.iter_modules(__path__)
        if module.ispkg
    ]
    return {model.id: model for model in sorted(found, key=lambda model: model.id)}


def find_model(name: str) -> ModelInfo:
    """The model of this id or alias.

    Raises:
        typer.BadParameter: there is none; the message lists what there is.
    """
    for model in all_models().values():
        if name == model.id or name in model.aliases:
            return model
    raise typer.BadParameter(f"no model '{name}'; there are: {', '.join(all_models())}")
