"""`compare --layers` and `--ranges`: the first op out of bounds, and what float16 cannot represent."""

from pathlib import Path
from typing import Any

import typer

from commands.compare_request import CompareRequest
from commands.comparing import clips_of
from commands.demo import demo_bundle
from commands.terminal import GATE_FAILED, note, print_text, progress
from parity.ladder.packages import CLIPS_EXERCISED
from parity.localise.command import check_functions, json_from_findings, look_inside
from parity.localise.terminal import print_findings
from toolkit.bundle.bundle import Bundle, open_bundle, read_manifest
from toolkit.corpora.open import check_corpus, open_corpus
from toolkit.errors import NoDemo
from toolkit.model import ModelInfo


def localise(request: CompareRequest, layers: str | None, *, ranges: bool, given: dict[str, Any]) -> None:
    """Run the packages op by op, on calls recorded from the wrappers.

    Args:
        request: models, bundle and data; what belongs to the ladder must be absent.
        layers: `COMPONENT`, `COMPONENT:FUNCTION` or `all`: which to compare with their wrappers; None for none.
        ranges: also measure the magnitude of every value.
        given: options of models that were given on the command line.

    Raises:
        typer.BadParameter: an option of the ladder was given, or no bundle has the component.
        typer.Exit: an op is out of bounds.
    """
    _refuse_ladder_options(request, given)
    models = _models_with(layers, request)
    bundles = _bundles(models, request.bundle)
    meant = check_functions(bundles, layers)
    found = []
    with progress() as bar:
        for model in (m for m in models if m.id in meant):
            bundle, num_files = bundles[model.id], request.num_files or CLIPS_EXERCISED
            examples = open_corpus(request.dataset, num_files, model.demo_clips)
            clips = clips_of(examples, model, bundle.manifest.host["sample_rate"], num_files, bar)
            found.append(look_inside(model, bundle, list(clips), layers, ranges))
    if request.as_json:
        print_text(json_from_findings(found))
    else:
        print_findings(found)
    if not all(one.passed for one in found):
        raise typer.Exit(GATE_FAILED)


def _refuse_ladder_options(request: CompareRequest, given: dict[str, Any]) -> None:
    ladders = {
        "report": request.report,
        "blame": request.blame,
        "save": request.save,
        "against": request.against,
        "verbose": request.verbose,
    }
    named = [name for name, value in (ladders | given).items() if value not in (None, False)]
    flags = [f"--{name.replace('_', '-')}" for name in named]
    if request.runtime not in ("auto", "portable"):
        flags.append(f"--runtime {request.runtime}")
    if flags:
        raise typer.BadParameter(f"--layers and --ranges cannot be combined with {', '.join(flags)}")
    check_corpus(request.dataset, request.num_files)


def _models_with(layers: str | None, request: CompareRequest) -> list[ModelInfo]:
    """The models that have the component of --layers; all of them where it names none."""
    wanted = (layers if layers is not None else "all").partition(":")[0]
    if wanted == "all":
        return request.models
    held = {model.id: _components(model, request.bundle) for model in request.models}
    if not any(wanted in names for names in held.values()):
        there = "; ".join(f"{model} has {', '.join(names)}" for model, names in held.items())
        raise typer.BadParameter(f"no component '{wanted}' for --layers: give all, or one of these: {there}")
    return [model for model in request.models if wanted in held[model.id]]


def _bundles(models: list[ModelInfo], folder: Path | None) -> dict[str, Bundle]:
    """Model -> its opened bundle; of several models, those without a demo are left out with a note."""
    bundles = {}
    for model in models:
        try:
            bundles[model.id] = open_bundle(folder or demo_bundle(model))
        except NoDemo as error:
            if len(models) == 1:
                raise
            note(f"{model.id} is skipped: {error.message}")
    return bundles


def _components(model: ModelInfo, folder: Path | None) -> tuple[str, ...]:
    """Those of a bundle; a demo bundle has all that the model declares."""
    if folder is None:
        return model.components
    return tuple(component.name for component in read_manifest(folder).components)
