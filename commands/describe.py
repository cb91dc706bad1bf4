"""A bundle, or a conversion that is still a plan, in words: what `convert inspect` and `convert --dry-run` print."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from milrun.errors import PackageError
from toolkit.bundle.bundle import open_bundle, rebuild_step
from toolkit.bundle.inspect import inspect_package
from toolkit.bundle.manifest import ComponentEntry, FunctionEntry, TensorEntry
from toolkit.errors import BundleError

if TYPE_CHECKING:
    from commands.conversion import Prepared


def describe_bundle(path: Path) -> dict[str, Any]:
    """Everything `inspect` shows, JSON-ready; precision, ops and sizes are read from the files.

    Raises:
        BundleError: the bundle cannot be opened.
    """
    bundle = open_bundle(path)
    try:
        components = [_component(bundle.path, entry) for entry in bundle.manifest.components]
    except PackageError as error:
        raise BundleError(str(error), rebuild_step(bundle.manifest, bundle.path)) from error
    manifest = bundle.manifest
    return {
        "bundle": str(path),
        "model": manifest.model,
        "checkpoint": manifest.checkpoint.model_dump(mode="json"),
        "target": manifest.target,
        "options": manifest.options,
        "versions": manifest.versions,
        "size_bytes": sum(p.size_bytes for c in manifest.components for p in c.packages),
        "components": components,
        "assets": [asset.file for asset in manifest.assets],
    }


def describe_plan(prepared: "Prepared") -> dict[str, Any]:
    """What a conversion would write, JSON-ready."""
    return {
        "dry_run": True,
        "bundle": str(prepared.output),
        "model": prepared.request.model.id,
        "checkpoint": prepared.entry.model_dump(mode="json"),
        "target": prepared.request.target,
        "options": prepared.plan.options,
        "components": [
            {
                "name": spec.name,
                "precision": prepared.request.precision,
                "compression": prepared.request.compression,
                "functions": [_function(FunctionEntry.of(f)) for f in spec.functions],
            }
            for spec in prepared.components
        ],
        "assets": sorted(prepared.plan.assets),
    }


def text_from_description(description: dict[str, Any]) -> str:
    """The description for a person."""
    size = f", {_megabytes(description['size_bytes'])}" if "size_bytes" in description else ""
    title = "would write" if description.get("dry_run") else "bundle"
    lines = [
        f"{title} {description['bundle']}: {description['model']} from {_origin(description['checkpoint'])}, "
        f"target {description['target']}{size}"
    ]
    for key in ("converted", "kept"):
        if description.get(key):
            lines.append(f"{key}: {', '.join(description[key])}")
    for component in description["components"]:
        lines += _component_lines(component)
    lines.append(f"host files: {', '.join(description['assets'])}")
    return "\n".join(lines)


def _origin(checkpoint: dict[str, Any]) -> str:
    """A checkpoint's name, with its commit, and its format where that is not transformers'."""
    commit = f"@{revision[:12]}" if (revision := checkpoint["revision"]) else ""
    form = f" ({checkpoint['format']})" if checkpoint["format"] != "transformers" else ""
    return f"{checkpoint['id']}{commit}{form}"


def _component(path: Path, entry: ComponentEntry) -> dict[str, Any]:
    packages = []
    for package in entry.packages:
        found = inspect_package(path / package.file)
        packages.append(
            {
                "file": package.file,
                "size_bytes": package.size_bytes,
                "precision_found": found.precision,
                "weight_bytes": found.weight_bytes,
                "compressed_weights": found.compressed_weights,
                "ops": found.ops,
            }
        )
    return {
        "name": entry.name,
        "precision": entry.precision,
        "compression": entry.compression,
        "packages": packages,
        "functions": [_function(f) for f in entry.functions],
        "parity": [p.model_dump(mode="json") for p in entry.parity],
    }


def _function(entry: FunctionEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "inputs": [_tensor(t) for t in entry.inputs],
        "outputs": [_tensor(t) for t in entry.outputs],
        "states": [_tensor(t) for t in entry.states],
    }


def _tensor(entry: TensorEntry) -> dict[str, Any]:
    return entry.model_dump(mode="json")


def _component_lines(component: dict[str, Any]) -> list[str]:
    compression = "" if component["compression"] == "none" else f", weights {component['compression']}"
    lines = [f"\n{component['name']} ({component['precision']}{compression})"]
    for package in component.get("packages", ()):
        counts = {name: sum(ops.values()) for name, ops in package["ops"].items()}
        ops = ", ".join(f"{count} ops in {name}" for name, count in counts.items())
        compressed = f", {n} weights compressed" if (n := package["compressed_weights"]) else ""
        lines.append(
            f"  {package['file']}: {_megabytes(package['size_bytes'])}, {package['precision_found']} as found"
            f"{compressed}, {ops}"
        )
    for function in component["functions"]:
        lines.append(f"  {function['name']}")
        for side in ("inputs", "outputs", "states"):
            for t in function[side]:
                lines.append(f"    {side[:-1]:7}{t['name']:18}{t['dtype']:9}{t['shape']!s:18}{t['meaning']}")
    for row in component.get("parity", ()):
        compared = row["max_abs"] is not None
        psnr = f"{row['psnr_db']:.1f} dB" if row["psnr_db"] is not None else "exact" if row["max_abs"] == 0 else "none"
        errors = f"max abs {row['max_abs']:.2e}, rel L2 {row['rel_l2'] or 0:.2e}, " if compared else "not compared, "
        verdict = "passed" if row["passed"] else "FAILED"
        lines.append(
            f"  parity {row['function']}: {row['output']}: {errors}"
            f"PSNR {psnr}, {row['mismatches']} integers differ, {row['calls']} calls: {verdict} ({row['gate']})"
        )
    return lines


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
