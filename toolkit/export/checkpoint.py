"""Finding a checkpoint: a hub id, a folder, a file, or the demo that ships with the project.

The small files are fetched and judged first, so that a wrong name costs kilobytes; then the weights. A checkpoint of
another layout (toolkit/export/layout.py) is translated into transformers'.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from toolkit.bundle.bundle import Bundle
from toolkit.bundle.checksums import sha256_of_json, sha256_of_path
from toolkit.bundle.manifest import MANIFEST, CheckpointEntry
from toolkit.contract import export_of
from toolkit.errors import CheckpointError, NoDemo
from toolkit.export.layout import layouts_of, translated
from toolkit.export.source import Source, open_source, read_json
from toolkit.export.weights import fetch_weights
from toolkit.mac_files import is_clutter
from toolkit.model import ModelInfo
from toolkit.spec import ExportPlan

DEMO_FOLDER = Path(__file__).resolve().parents[2] / "demo"
CONFIG = "config.json"
TRANSFORMERS = "transformers"
# What a checkpoint may bring beside its weights: configuration, tokenizer, text rules. No pickles, no code.
_SMALL = (".json", ".model", ".txt", ".jinja")
_ADAPTER_CONFIG = "adapter_config.json"
_EXPORTED = (".onnx", ".gguf", ".mlpackage", ".mlmodelc", ".tflite", ".npz")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        id: as the user named it.
        kind: hub, folder, file or demo.
        folder: in transformers' layout.
        revision: the hub's commit; None for what lies on this machine.
        location: finds it again; empty is the folder.
        format: how it was published: transformers, or the name of another layout.
        origin: what a checkpoint of another layout was translated from: file -> sha256.
    """

    id: str
    kind: Literal["hub", "folder", "file", "demo"]
    folder: Path
    revision: str | None = None
    location: str = ""
    format: str = TRANSFORMERS
    origin: Mapping[str, str] = field(default_factory=dict)

    def entry(self) -> CheckpointEntry:
        """The manifest's form, with the sha256 over all weight files, those of a codec in a folder of its own too."""
        files = (f for f in self.folder.rglob("*.safetensors") if not is_clutter(f.relative_to(self.folder)))
        digests = [sha256_of_path(file) for file in sorted(files)]
        here = self.kind in ("folder", "file")
        return CheckpointEntry(
            id=Path(self.id).resolve().name if here else self.id,
            kind=self.kind,
            revision=self.revision,
            sha256=digests[0] if len(digests) == 1 else sha256_of_json(digests),
            location=self.location or (str(self.folder) if here else self.id),
            format=self.format,
            origin=dict(self.origin),
        )


def resolve_checkpoint(
    model: ModelInfo, name: str | None = None, revision: str | None = None, options: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Find a checkpoint, and check that it is one of this model, whole and safe to read.

    Args:
        model: the model family.
        name: hub id, `hf://` name, folder, file or `demo`; the model's default hub id when left out.
        revision: branch, tag or commit, for the hub only.
        options: the model's own of `convert`, which may choose among what a repository holds.

    Raises:
        CheckpointError: it is not there, of another architecture, damaged, or in a form that is not read.
        NoDemo: `demo` was asked for, and the model has none.
    """
    name = name or model.default_checkpoint
    if name == "demo":
        return _demo(model, revision)
    source = open_source(name, revision)
    for layout in layouts_of(model):
        if (foreign := layout.open(source, options or {})) is not None:
            origin = {file: sha256_of_path(path) for file, path in sorted(foreign.files.items())}
            folder = translated(model, origin, foreign, name)
            export_of(model).check(folder)
            return Checkpoint(name, source.kind, folder, source.revision, source.location, layout.name, origin)
    folder = _transformers_folder(model, source)
    return Checkpoint(name, source.kind, folder, source.revision, source.location)


def fetch_folder(name: str) -> tuple[Path, str]:
    """A part of a checkpoint that lives on its own in transformers' layout, such as a codec.

    Args:
        name: folder, or hub id, optionally with @revision.

    Returns:
        Its folder, and a name that finds the same one again: the whole path, or the hub id @ the commit.

    Raises:
        CheckpointError: it is not there.
    """
    hub_id, _, revision = name.partition("@")
    source = open_source(name) if Path(name).is_dir() else open_source(hub_id, revision or None)
    folder = source.fetch(_small_files(source))
    fetch_weights(source)
    return folder, f"{source.location}@{source.revision}" if source.revision else source.location


def checkpoint_of_bundle(bundle: Bundle, model: ModelInfo) -> Checkpoint:
    """The checkpoint that a bundle was made from.

    Raises:
        CheckpointError: it is no longer there, or its weights are others now.
    """
    manifest = bundle.manifest
    recorded = manifest.checkpoint
    checkpoint = resolve_checkpoint(model, recorded.location, recorded.revision, manifest.options)
    if checkpoint.entry().sha256 != recorded.sha256:
        raise CheckpointError(f"{recorded.location} has changed since {bundle.path} was made", "Convert it again.")
    return checkpoint


def plan_of_bundle(bundle: Bundle, model: ModelInfo) -> ExportPlan:
    """The `ExportPlan` that a bundle was made from, for the wrappers behind its packages.

    Raises:
        CheckpointError: the checkpoint is no longer there, or its weights are others now.
    """
    return export_of(model).plan(checkpoint_of_bundle(bundle, model).folder, bundle.manifest.options)


def _demo(model: ModelInfo, revision: str | None) -> Checkpoint:
    folder = DEMO_FOLDER / "checkpoints" / model.id
    if not folder.is_dir():
        raise NoDemo(f"no demo checkpoint for {model.id}", "Convert a hub id or a folder, and give its --bundle.")
    if revision:
        raise CheckpointError("--revision belongs to hub ids, demo is on this machine", "Leave --revision out.")
    _transformers_folder(model, open_source(str(folder)))
    return Checkpoint("demo", "demo", folder)


def _transformers_folder(model: ModelInfo, source: Source) -> Path:
    """The source as a folder in transformers' layout: small files, then weights."""
    _refuse_near_misses(model, source)
    _check_architecture(model, source)
    folder = source.fetch(_small_files(source))
    export_of(model).check(folder)
    fetch_weights(source)
    if further := [file for file in source.files if file.endswith(".safetensors") and "/" in file]:
        source.fetch(further)
    return folder


def _small_files(source: Source) -> list[str]:
    return [file for file in source.files if file.endswith(_SMALL)]


def _refuse_near_misses(model: ModelInfo, source: Source) -> None:
    """What is no checkpoint in a known layout, but something that has a way to become one."""
    name, files = source.name, source.files
    if _ADAPTER_CONFIG in files:
        raise CheckpointError(
            f"{name} is an adapter (LoRA), not a whole model",
            "Merge it (`merge_and_unload()` of peft), and save model and processor with `save_pretrained(folder)`.",
        )
    if MANIFEST in files:
        raise CheckpointError(f"{name} is a bundle, already converted", "Give it to `infer` or `compare` as --bundle.")
    if source.kind == "file" or source.entry:
        raise CheckpointError(
            f"{name} is a file that {model.id} cannot be read from",
            "Give the folder or hub id that holds config.json and model.safetensors (docs/checkpoints.md).",
        )
    if CONFIG in files:
        return
    if any(file.endswith(".nemo") for file in files):
        raise CheckpointError(
            f"{name} holds a .nemo archive, {model.id} cannot be read from one",
            "Give a checkpoint in transformers' layout.",
        )
    if found := next((file for file in files if file.endswith(_EXPORTED) or _exported_folder(file)), ""):
        raise CheckpointError(
            f"{name} holds an exported model ({found})", "Give the PyTorch checkpoint that it was made from."
        )
    raise CheckpointError(
        f"{name} has no readable config.json",
        f"Give a folder in the hub's layout, as `{model.architecture}.save_pretrained` writes it.",
    )


def _exported_folder(file: str) -> bool:
    return any(part.endswith((".mlpackage", ".mlmodelc")) for part in file.split("/"))


def _check_architecture(model: ModelInfo, source: Source) -> None:
    config = read_json(source, CONFIG)
    found = config.get("architectures") or []
    if not isinstance(found, list):
        found = [found]
    if isinstance(config.get("quantization"), dict):
        raise CheckpointError(f"{source.name} is quantised for MLX", "Give the checkpoint that it was made from.")
    if model.architecture in found or (not found and config.get("model_type") == _model_type(model)):
        return
    said = ", ".join(map(str, found)) or f"model of type {config.get('model_type', 'unknown')}"
    raise CheckpointError(
        f"{source.name} is a {said}, {model.id} needs a {model.architecture}", _step_for(model, found, config)
    )


def _step_for(model: ModelInfo, found: list[Any], config: Mapping[str, Any]) -> str:
    """What to do with a checkpoint of another class."""
    for name in found:
        if name in model.near_misses:
            return model.near_misses[name]
    for other in model.siblings():
        if other.architecture in found or (not found and config.get("model_type") == _model_type(other)):
            return f"Use `convert {other.id}`."
    return "No model here is of that class; `convert list` shows those that are."


def _model_type(model: ModelInfo) -> str | None:
    """The `model_type` of the model's class; None where transformers has no such class."""
    import transformers

    kind = getattr(transformers, model.architecture, None)
    return kind.config_class.model_type if kind is not None else None
