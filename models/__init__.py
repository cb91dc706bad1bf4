"""The models. A folder here that exports `MODEL` is a model; nothing else needs to know of it.

A folder without `MODEL`, or whose name begins with `_`, holds what several models share.
"""

import importlib
import pkgutil
from functools import cache

from toolkit.errors import OptionError
from toolkit.model import ModelInfo


@cache
def all_models() -> dict[str, ModelInfo]:
    """Every model by id, in alphabetical order."""
    names = [m.name for m in pkgutil.iter_modules(__path__) if m.ispkg and not m.name.startswith("_")]
    packages = [importlib.import_module(f"{__name__}.{name}") for name in names]
    found = [package.MODEL for package in packages if hasattr(package, "MODEL")]
    return {model.id: model for model in sorted(found, key=lambda model: model.id)}


def find_model(name: str) -> ModelInfo:
    """The model of this id or alias.

    Raises:
        OptionError: there is none; the message lists what there is.
    """
    for model in all_models().values():
        if name == model.id or name in model.aliases:
            return model
    raise OptionError(f"no model '{name}'; there are: {', '.join(all_models())}")
