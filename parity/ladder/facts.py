"""Facts about the bundle and the machine, so that two reports can be compared."""

import platform
from importlib.metadata import PackageNotFoundError, version

from parity.ladder.tables import TitledTable
from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import ComponentEntry

_MIB = 2**20


def facts_of(bundle: Bundle) -> tuple[TitledTable, ...]:
    """Checkpoint, components, and versions then and now."""
    return _checkpoint(bundle), _components(bundle), _versions(bundle)


def _checkpoint(bundle: Bundle) -> TitledTable:
    manifest = bundle.manifest
    rows = {
        "checkpoint": manifest.checkpoint.id,
        "revision": manifest.checkpoint.revision or "-",
        "weights' sha256": manifest.checkpoint.sha256,
        "deployment target": manifest.target,
        **{f"option {name}": str(value) for name, value in sorted(manifest.options.items())},
    }
    return TitledTable("bundle", ("fact", "value"), tuple(rows.items()))


def _components(bundle: Bundle) -> TitledTable:
    headers = ("component", "precision", "compression", "functions", "MiB", "sha256")
    return TitledTable("components", headers, tuple(_component(c) for c in bundle.manifest.components))


def _component(component: ComponentEntry) -> tuple[str | float, ...]:
    size = sum(package.size_bytes for package in component.packages) / _MIB
    sums = " ".join(package.sha256[:12] for package in component.packages)
    functions = ", ".join(function.name for function in component.functions)
    return component.name, component.precision, component.compression, functions, round(size, 2), sums


def _versions(bundle: Bundle) -> TitledTable:
    here = {"python": platform.python_version(), "system": platform.platform()}
    made = bundle.manifest.versions
    names = dict.fromkeys([*made, *here])
    rows = tuple((name, made.get(name, "-"), here.get(name) or _version(name)) for name in names)
    return TitledTable("versions", ("what", "when converted", "in this run"), rows)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
