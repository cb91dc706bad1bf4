"""Finding a checkpoint's weights: a hub id, a folder in the hub's layout, or the demo that ships with the project."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.bundle.bundle import Bundle
from toolkit.bundle.checksums import sha256_of_json, sha256_of_path
from toolkit.bundle.manifest import CheckpointEntry
from toolkit.contract import export_of
from toolkit.errors import CheckpointError, NoDemo
from toolkit.model import ModelInfo
from toolkit.spec import ExportPlan

DEMO_FOLDER = Path(__file__).resolve().parents[2] / "demo"
# What a checkpoint may bring: weights as safetensors, configuration, tokenizer. No pickles, no code.
ALLOWED_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        id: as the user named it.
        kind: hub, folder or demo.
        folder: where its files are.
        revision: the hub's commit; None for a folder.
    """

    id: str
    kind: Literal["hub", "folder", "demo"]
    folder: Path
    revision: str | None = None

    def entry(self) -> CheckpointEntry:
        """The manifest's form, with the sha256 over all weight files, those of a codec in a folder of its own too."""
        digests = [sha256_of_path(file) for file in sorted(self.folder.rglob("*.safetensors"))]
        return CheckpointEntry(
            id=self.id if self.kind != "folder" else self.folder.name,
            kind=self.kind,
            revision=self.revision,
            sha256=digests[0] if len(digests) == 1 else sha256_of_json(digests),
            location=str(self.folder) if self.kind == "folder" else self.id,
        )


def resolve_checkpoint(model: ModelInfo, name: str | None = None, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint and check that it is of this model's architecture and safe to read.

    Args:
        model: the model family.
        name: hub id, folder or `demo`; the model's default hub id when left out.
        revision: branch, tag or commit, for hub ids only.

    Raises:
        CheckpointError: it is not there, of another architecture, or without safetensors.
        NoDemo: `demo` was asked for, and the model has none.
    """
    name = name or model.default_checkpoint
    checkpoint = _locate(model, name, revision)
    _check_architecture(model, checkpoint)
    if not any(checkpoint.folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{name} has no .safetensors weights", "Save it with `model.save_pretrained(folder)`; pickles are not read."
        )
    return checkpoint


def fetch_folder(name: str) -> tuple[Path, str]:
    """A part of a checkpoint that lives on its own, such as a codec.

    Args:
        name: folder, or hub id, optionally with @revision.

    Returns:
        Its folder, and a name that finds the same one again: the whole path, or the hub id @ the commit.

    Raises:
        CheckpointError: it is not there.
    """
    if Path(name).is_dir():
        return Path(name).resolve(), str(Path(name).resolve())
    hub_id, _, revision = name.partition("@")
    if hub_id.count("/") != 1 or hub_id.startswith((".", "/")):
        raise CheckpointError(f"no folder {name}", "Give a folder that exists, or a hub id (owner/name).")
    found = _download(hub_id, revision or None)
    return found.folder, f"{hub_id}@{found.revision}"


def _locate(model: ModelInfo, name: str, revision: str | None) -> Checkpoint:
    if name == "demo":
        folder = DEMO_FOLDER / "checkpoints" / model.id
        if not folder.is_dir():
            raise NoDemo(f"no demo checkpoint for {model.id}", "Convert a hub id or a folder, and give its --bundle.")
        _no_revision(name, revision)
        return Checkpoint("demo", "demo", folder)
    if Path(name).is_dir():
        _no_revision(name, revision)
        return Checkpoint(name, "folder", Path(name).resolve())
    if Path(name).exists():
        raise CheckpointError(f"{name} is a file", "Give the folder that holds config.json and model.safetensors.")
    if name.count("/") != 1 or name.startswith((".", "/")):
        raise CheckpointError(f"no folder {name}", "Give a folder that exists, a hub id (owner/name) or `demo`.")
    return _download(name, revision)


def _no_revision(name: str, revision: str | None) -> None:
    if revision:
        raise CheckpointError(f"--revision belongs to hub ids, {name} is on this machine", "Leave --revision out.")


def _download(hub_id: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, revision=revision, allow_patterns=list(ALLOWED_FILES)))
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the hub has no public {hub_id}", "Check the name; for a gated model accept its terms and set HF_TOKEN."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(
            f"cannot fetch {hub_id} from the hub ({type(error).__name__})",
            "Check the network, or give --checkpoint a folder or `demo`.",
        ) from error
    return Checkpoint(hub_id, "hub", folder, revision=folder.name)


def _check_architecture(model: ModelInfo, checkpoint: Checkpoint) -> None:
    file = checkpoint.folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        found = config.get("architectures") or [config.get("model_type", "unknown")]
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{checkpoint.id} has no readable config.json", "Give a folder in the hub's layout."
        ) from error
    if model.architecture not in found:
        raise CheckpointError(
            f"{checkpoint.id} is a {', '.join(map(str, found))}, {model.id} needs a {model.architecture}",
            "Give a checkpoint of that class, or another model (`convert list`).",
        )


def checkpoint_of_bundle(bundle: Bundle, model: ModelInfo) -> Checkpoint:
    """The checkpoint that a bundle was made from.

    Raises:
        CheckpointError: it is no longer there, or its weights are others now.
    """
    recorded = bundle.manifest.checkpoint
    checkpoint = resolve_checkpoint(model, recorded.location, recorded.revision)
    if checkpoint.entry().sha256 != recorded.sha256:
        raise CheckpointError(f"{recorded.location} has changed since {bundle.path} was made", "Convert it again.")
    return checkpoint


def plan_of_bundle(bundle: Bundle, model: ModelInfo) -> ExportPlan:
    """The `ExportPlan` that a bundle was made from, for the wrappers behind its packages.

    Raises:
        CheckpointError: the checkpoint is no longer there, or its weights are others now.
    """
    return export_of(model).plan(checkpoint_of_bundle(bundle, model).folder, bundle.manifest.options)
