"""The conversion: plan, convert what is not there yet, measure every package on real audio, publish the bundle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from commands.voice import note
from parity.ladder.packages import measure_bundle
from toolkit.bundle.bundle import Bundle, read_manifest
from toolkit.bundle.checksums import sha256_of_json, sha256_of_path
from toolkit.bundle.inspect import found_precision
from toolkit.bundle.manifest import MANIFEST, CheckpointEntry, ComponentEntry, FunctionEntry, Manifest, PackageEntry
from toolkit.bundle.sources import source_digests
from toolkit.bundle.versions import tool_versions
from toolkit.bundle.writer import Staging, staging_for
from toolkit.contract import export_of
from toolkit.errors import Interrupted, OutputError, ToolkitError
from toolkit.export.checkpoint import Checkpoint, resolve_checkpoint
from toolkit.export.compress import refuse_compression
from toolkit.export.package import export_component, refuse_states
from toolkit.model import ModelInfo, ModelOption
from toolkit.quiet import check_package_writer
from toolkit.spec import ComponentSpec, Compression, ExportPlan, Precision

BUILD_FOLDER = Path("build")
# What makes a package of a wrapper, whatever the model.
PACKAGER = "toolkit.export.package"


@dataclass(frozen=True)
class ConvertRequest:
    """What `convert MODEL` was asked for; `options` are the model's own."""

    model: ModelInfo
    checkpoint: str | None = None
    revision: str | None = None
    output: Path | None = None
    only: tuple[str, ...] = ()
    precision: Precision = "fp16"
    compression: Compression = "none"
    target: str = "iOS18"
    force: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A request with its checkpoint found and its plan made; nothing written yet."""

    request: ConvertRequest
    checkpoint: Checkpoint
    entry: CheckpointEntry
    plan: ExportPlan
    output: Path

    @property
    def components(self) -> tuple[ComponentSpec, ...]:
        """The components that `--only` leaves, all of them without it."""
        only = self.request.only
        return tuple(c for c in self.plan.components if not only or c.name in only)

    @cached_property
    def sources(self) -> dict[str, str]:
        """The modules that decide what the packages compute, each with its sha256."""
        return sources_of(self.request.model)


@dataclass(frozen=True)
class Converted:
    """A published bundle, and which of its components were converted anew or kept."""

    bundle: Bundle
    converted: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every output of every package is within its gate."""
        return all(p.passed for c in self.bundle.manifest.components for p in c.parity)


# Told (what is being done, steps done, steps in all).
OnStep = Callable[[str, int, int], None]


def sources_of(model: ModelInfo) -> dict[str, str]:
    """The modules that decide what a model's packages compute, each with its sha256."""
    return source_digests((f"{model.package}.export", PACKAGER))


def default_output(model: ModelInfo, checkpoint: str | None, options: Mapping[str, Any] | None = None) -> Path:
    """`build/<model>/<checkpoint's last name>`, and what the options chose in the checkpoint."""
    name = Path((checkpoint or model.default_checkpoint).partition("@")[0])
    stem = name.stem if name.suffix in (".nemo", ".yaml", ".safetensors") else name.name
    chosen = [str((options or {})[o.name]) for o in model.options.get("convert", ()) if _names_bundle(o, options or {})]
    return BUILD_FOLDER / model.id / "-".join([stem, *chosen])


def _names_bundle(option: ModelOption, given: Mapping[str, Any]) -> bool:
    return option.names_bundle and bool(given.get(option.name))


def prepare(request: ConvertRequest) -> Prepared:
    """Find the checkpoint and make the plan.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ToolkitError: `--only` names a component that the model does not have, or a component keeps states that the
            target does not have, or the target cannot read the compression.
    """
    refuse_compression(request.compression, request.target)
    options = {o.name: o.default for o in request.model.options.get("convert", ())} | request.options
    checkpoint = resolve_checkpoint(request.model, request.checkpoint, request.revision, options)
    plan = export_of(request.model).plan(checkpoint.folder, options)
    names = [c.name for c in plan.components]
    if unknown := set(request.only) - set(names):
        raise ToolkitError(f"no component {', '.join(sorted(unknown))}", f"There are: {', '.join(names)}.")
    output = request.output or default_output(request.model, request.checkpoint, options)
    prepared = Prepared(request, checkpoint, checkpoint.entry(), plan, output)
    for component in prepared.components:
        refuse_states(component, request.target)
    return prepared


def convert(prepared: Prepared, on_step: OnStep = lambda what, done, of: None) -> Converted:
    """Convert, measure, publish.

    A failed gate does not stop the bundle from being published: it is whole, its manifest says which output failed,
    and `Converted.passed` is false.

    Raises:
        OutputError: the bundle cannot be written.
        RuntimeFault: a package breaks its own description.
        UnsupportedError: coremltools cannot write packages on this machine.
    """
    check_package_writer()
    with staging_for(prepared.output, note) as staging:
        _refuse_to_drop(prepared)
        try:
            return _convert(prepared, staging, on_step)
        except KeyboardInterrupt as error:
            if not staging.worth_keeping:
                raise
            kept = f"interrupted; finished components are kept in {staging.path}"
            raise Interrupted(kept, "Run the same command to go on.") from error


def _refuse_to_drop(prepared: Prepared) -> None:
    """`--only` must not cost a bundle its other components because they were made with other settings."""
    if not prepared.request.only or not (prepared.output / MANIFEST).is_file():
        return
    recorded = {c.name: c.fingerprint for c in read_manifest(prepared.output).components}
    wanted = {c.name for c in prepared.components}
    others = [c for c in prepared.plan.components if c.name in recorded and c.name not in wanted]
    dropped = [c.name for c in others if recorded[c.name] != fingerprint(prepared, c)]
    if dropped:
        raise OutputError(
            f"{prepared.output} holds {', '.join(dropped)} made with other settings; --only would drop them",
            "Leave --only out to convert all of it, or give --output another folder.",
        )


def _convert(prepared: Prepared, staging: Staging, on_step: OnStep) -> Converted:
    if prepared.request.force:
        staging.discard_all()
    wanted = {c.name for c in prepared.components}
    steps = sum(len(c.functions) for c in prepared.components) + 1
    done, entries, converted = 0, [], []
    for spec in prepared.plan.components:
        previous = None if prepared.request.force and spec.name in wanted else staging.finished(spec.name)
        if previous is not None and previous.fingerprint == fingerprint(prepared, spec):
            entries.append(previous.model_copy(update={"compute_units": spec.compute_units}))
            done += len(spec.functions) if spec.name in wanted else 0
        elif spec.name in wanted:
            on_step(spec.name, done, steps)
            entries.append(_convert_component(prepared, spec, staging))
            done += len(spec.functions)
            converted.append(spec.name)
    on_step("parity on real audio", done, steps)
    manifest = _measured(prepared, _manifest(prepared, entries, staging), staging)
    staging.publish(manifest)
    on_step("done", steps, steps)
    kept = tuple(e.name for e in entries if e.name not in converted)
    return Converted(Bundle(prepared.output, manifest), tuple(converted), kept)


def _convert_component(prepared: Prepared, spec: ComponentSpec, staging: Staging) -> ComponentEntry:
    request = prepared.request
    with staging.component_folder(spec.name) as folder:
        files = export_component(spec, folder, request.precision, request.target, compression=request.compression)
        packages = tuple(
            PackageEntry(
                file=file,
                sha256=sha256_of_path(folder / file),
                size_bytes=sum(f.stat().st_size for f in (folder / file).rglob("*") if f.is_file()),
                functions=dict(functions),
            )
            for file, functions in files.items()
        )
        for file in files:
            _check_label(folder / file, request.precision)
    entry = ComponentEntry(
        name=spec.name,
        packages=packages,
        fingerprint=fingerprint(prepared, spec),
        sources=prepared.sources,
        precision=request.precision,
        compression=request.compression,
        compute_units=spec.compute_units,
        functions=tuple(FunctionEntry.of(f) for f in spec.functions),
    )
    staging.add(entry)
    return entry


def _check_label(package: Path, precision: Precision) -> None:
    found = found_precision(package)
    if found != precision:
        raise OutputError(f"{package.name} should be {precision} but is {found}", "Please report it.")


def fingerprint(prepared: Prepared, spec: ComponentSpec) -> str:
    """sha256 over everything that decides what a component's package computes."""
    request = prepared.request
    return sha256_of_json(
        {
            "component": spec.name,
            "functions": [FunctionEntry.of(f).model_dump(mode="json") for f in spec.functions],
            "fp32_ops": spec.fp32_ops,
            "precision": request.precision,
            "compression": request.compression,
            "target": request.target,
            "options": prepared.plan.options,
            "weights": prepared.entry.sha256,
            "sources": prepared.sources,
            "versions": tool_versions(),
        }
    )


def _manifest(prepared: Prepared, entries: list[ComponentEntry], staging: Staging) -> Manifest:
    return Manifest(
        schema_version=1,
        model=prepared.request.model.id,
        task=prepared.request.model.task,
        checkpoint=prepared.entry,
        target=prepared.request.target,
        options=prepared.plan.options,
        components=tuple(entries),
        assets=staging.add_assets(prepared.plan.assets),
        host=prepared.plan.host,
        versions=tool_versions(),
    )


def _measured(prepared: Prepared, manifest: Manifest, staging: Staging) -> Manifest:
    """The manifest with the parity of every component that has none yet."""
    unmeasured = {c.name for c in manifest.components if not c.parity}
    if not unmeasured:
        return manifest
    rows = measure_bundle(prepared.request.model, Bundle(staging.path, manifest), prepared.plan, unmeasured)
    components = tuple(
        c.model_copy(update={"parity": tuple(rows[c.name])}) if c.name in rows else c for c in manifest.components
    )
    return manifest.model_copy(update={"components": components})
