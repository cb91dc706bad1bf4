"""`convert publish`: make a bundle's model card, and send the bundle to the hub, or show what would be sent."""

from dataclasses import dataclass
from pathlib import Path

from commands.terminal import note, print_json, print_text
from commands.voice import say
from models import find_model
from toolkit.bundle.bundle import Bundle, open_bundle
from toolkit.bundle.manifest import CheckpointEntry, Manifest
from toolkit.errors import BundleError, CheckpointError
from toolkit.export.checkpoint import DEMO_FOLDER
from toolkit.export.source import open_source
from toolkit.output.files import check_output, write_text
from toolkit.publish.card import CardFacts, model_card
from toolkit.publish.files import Files, published_files, published_manifest, size_of
from toolkit.publish.licence import Licence, licence_names, read_licence
from toolkit.publish.results import read_results
from toolkit.publish.tables import failed_outputs, megabytes
from toolkit.publish.upload import check_repository, check_token, publish


@dataclass(frozen=True)
class PublishRequest:
    """What `convert publish` was asked to do.

    Attributes:
        bundle: folder.
        repository: OWNER/NAME on the hub.
        private: create a private repository.
        dry_run: send nothing.
        card: file to write the card to; None is standard output, in a dry run only.
        results: what `compare --json` wrote.
        allow_failed: publish although an output is out of its gate.
        as_json: print JSON.
    """

    bundle: Path
    repository: str
    private: bool = False
    dry_run: bool = False
    card: Path | None = None
    results: Path | None = None
    allow_failed: bool = False
    as_json: bool = False


def publish_bundle(request: PublishRequest) -> None:
    """Publish a bundle, or with `dry_run` show its card and files.

    Raises:
        ToolkitError: the bundle may not be published as it is, or the hub refuses it.
    """
    check_repository(request.repository)
    if request.card:
        check_output(request.card)
    bundle = open_bundle(request.bundle)
    _check_gates(bundle, allow_failed=request.allow_failed)
    _note_missing(bundle.manifest)
    if not request.dry_run:
        check_token()
    manifest = published_manifest(bundle.manifest)
    licence = _licence(bundle.manifest)
    results = read_results(request.results, manifest) if request.results else None
    card = model_card(manifest, CardFacts(request.repository, licence, results))
    if request.card:
        write_text(request.card, card)
    files = published_files(bundle, manifest, card, licence.text)
    if request.dry_run:
        _show(request, card, files)
    else:
        _report(request, publish(request.repository, manifest, files, private=request.private), files)


def _check_gates(bundle: Bundle, *, allow_failed: bool) -> None:
    if (failed := failed_outputs(bundle.manifest)) and not allow_failed:
        raise BundleError(
            f"{bundle.path} has outputs that fail their gates: {', '.join(failed)}",
            "Convert it again with other settings, or give --allow-failed: the card then names them.",
        )


def _note_missing(manifest: Manifest) -> None:
    """Say what `convert` makes by default and the bundle does not have: with --only, most likely a mistake."""
    if missing := [name for name in find_model(manifest.model).components if manifest.component(name) is None]:
        note(f"the bundle has no {', '.join(missing)}: `infer` may not be able to use it")


def _licence(manifest: Manifest) -> Licence:
    """The checkpoint's licence; unknown where the checkpoint cannot be had."""
    checkpoint = manifest.checkpoint
    try:
        source = open_source(_location(manifest.model, checkpoint), checkpoint.revision)
        names = licence_names(source.files)
        return read_licence(source.fetch(names)) if names else Licence()
    except CheckpointError as error:
        note(f"the licence of {checkpoint.id} is not known here: {error.message}")
        return Licence()


def _location(model: str, checkpoint: CheckpointEntry) -> str:
    """The folder or repository of a checkpoint: where one file of it was converted, that around it."""
    if checkpoint.kind == "demo":
        return str(DEMO_FOLDER / "checkpoints" / model)
    if checkpoint.kind == "file":
        return str(Path(checkpoint.location).parent)
    return checkpoint.location


def _show(request: PublishRequest, card: str, files: Files) -> None:
    sizes = {name: size_of(content) for name, content in files.items()}
    if request.as_json:
        print_json(_facts(request, files) | {"dry_run": True, "card": card})
        return
    if not request.card:
        print_text(card)
    say(f"would upload {len(sizes)} files, {megabytes(sum(sizes.values()))}, to {request.repository}:")
    for name, size in sizes.items():
        say(f"{megabytes(size):>12}  {name}")


def _report(request: PublishRequest, address: str, files: Files) -> None:
    if request.as_json:
        print_json(_facts(request, files) | {"dry_run": False, "commit": address})
        return
    total = megabytes(sum(map(size_of, files.values())))
    print_text(f"published {len(files)} files, {total}: {address}")
    print_text(f"use it with: infer --bundle hub:{request.repository}")


def _facts(request: PublishRequest, files: Files) -> dict[str, object]:
    sizes = {name: size_of(content) for name, content in files.items()}
    return {"repository": request.repository, "private": request.private, "files": sizes}
