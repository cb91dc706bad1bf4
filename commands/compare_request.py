"""What `compare` was asked to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.options import model_of_bundle, resolve_options
from models import all_models, find_model
from toolkit.model import ModelInfo
from toolkit.runtimes.open import RuntimeChoice


@dataclass(frozen=True)
class CompareRequest:
    """What `compare` was asked to do.

    Attributes:
        models: to compare, in this order.
        bundle: folder; None is each model's demo bundle.
        dataset: name or folder of real audio.
        num_files: clips to run; None is all.
        runtime: under test.
        options: model -> its own options of `compare`, resolved.
        as_json: print JSON.
        verbose: print every table.
        report: file to write.
        blame: also measure each step's share of the error.
        save: capture to write.
        against: capture to replay.
        compute_units: that the run asked for, on Core ML.
    """

    models: list[ModelInfo]
    bundle: Path | None
    dataset: str
    num_files: int | None
    runtime: RuntimeChoice
    options: dict[str, dict[str, Any]]
    as_json: bool = False
    verbose: bool = False
    report: Path | None = None
    blame: bool = False
    save: Path | None = None
    against: Path | None = None
    compute_units: str | None = None


def chosen_models(name: str | None, bundle: Path | None) -> list[ModelInfo]:
    """The model asked for, that of the bundle, or all models.

    Raises:
        typer.BadParameter: the bundle is of another model than the one asked for.
    """
    if bundle is not None:
        return [model_of_bundle(name, bundle)]
    return [find_model(name)] if name else list(all_models().values())


def options_of(models: list[ModelInfo], given: dict[str, Any], *, asked: bool) -> dict[str, dict[str, Any]]:
    """Model -> its options; where all models run, an option goes to those that have it."""
    if asked:
        return {m.id: resolve_options(m, "compare", given) for m in models}
    known = {m.id: {option.name for option in m.options.get("compare", ())} for m in models}
    return {m.id: resolve_options(m, "compare", {k: v for k, v in given.items() if k in known[m.id]}) for m in models}
