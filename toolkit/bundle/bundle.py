"""Opening a bundle: find it, check it, refuse it when it is damaged or stale."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from toolkit.bundle.checksums import sha256_of_path
from toolkit.bundle.fetched import FETCHED_STEP, fetched_bundle, fetched_manifest, is_fetched, is_on_hub
from toolkit.bundle.manifest import MANIFEST, ComponentEntry, Manifest, manifest_in
from toolkit.bundle.place import wait_for
from toolkit.bundle.sources import changed_sources
from toolkit.errors import BundleError


@dataclass(frozen=True)
class Bundle:
    """A checked bundle on disk."""

    path: Path
    manifest: Manifest

    def locate(self, component: str, function: str) -> tuple[Path, str]:
        """Where a function of a component is: (package, name of the function inside it).

        Raises:
            BundleError: the bundle has no such component or function.
        """
        entry = self.manifest.component(component)
        if entry is None or all(f.name != function for f in entry.functions):
            raise BundleError(f"{self.path} has no {component} ({function})", rebuild_step(self.manifest, self.path))
        package = entry.package(function)
        return self.path / package.file, package.functions[function]

    def with_components(self, names: Iterable[str]) -> "Bundle":
        """This bundle as if it held these components and no others, for a runtime that brings its own."""
        entries = tuple(ComponentEntry.model_construct(name=name) for name in names)
        return Bundle(self.path, self.manifest.model_copy(update={"components": entries}))

    def asset(self, name: str) -> Path:
        """Path of a host file.

        Raises:
            BundleError: the manifest lists no such file.
        """
        if name not in {a.file for a in self.manifest.assets}:
            raise BundleError(f"{self.path} has no asset '{name}'", rebuild_step(self.manifest, self.path))
        return self.path / name


def open_bundle(path: Path, *, check: bool = True) -> Bundle:
    """Open a bundle.

    Args:
        path: the bundle's folder, or `hub:OWNER/NAME[@REVISION]`, which is fetched.
        check: compare checksums of every package and asset, and of the code that they were made by.

    Raises:
        BundleError: missing, damaged, stale, or written by another schema.
    """
    path = fetched_bundle(path) if is_on_hub(path) else path
    bundle = Bundle(path, read_manifest(path))
    try:
        if check:
            _check(bundle)
    except BundleError:
        if read_manifest(path) == bundle.manifest:
            raise
        return open_bundle(path)  # another process has put a new bundle there meanwhile
    return bundle


def read_manifest(path: Path) -> Manifest:
    """Read and check `manifest.json` alone; of a bundle on the hub, nothing else is fetched.

    Raises:
        BundleError: it is missing, or not what the schema says.
    """
    if is_on_hub(path):
        return fetched_manifest(path)
    try:
        return _read(path)
    except BundleError:
        wait_for(path)  # it may be changing its place just now
        return _read(path)


def _read(path: Path) -> Manifest:
    file = path / MANIFEST
    if not path.exists():
        raise BundleError(f"no bundle at {path}", f"Make one with `convert MODEL --output {path}`.")
    if not file.is_file():
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}", "Give the folder that `convert` wrote.")
    return manifest_in(file, f"Convert the model again: `convert MODEL --output {path} --force`.")


def rebuild_step(manifest: Manifest, path: Path) -> str:
    """The command that makes this bundle anew; for one from the hub, a command that makes one like it."""
    source = manifest.checkpoint.location
    revision = f" --revision {manifest.checkpoint.revision}" if manifest.checkpoint.revision else ""
    precisions = {component.precision for component in manifest.components}
    precision = f" --precision {precisions.pop()}" if len(precisions) == 1 else ""
    compressions = {component.compression for component in manifest.components} - {"none"}
    precision += f" --compress {compressions.pop()}" if len(compressions) == 1 else ""
    options = "".join(_flag(name, value) for name, value in manifest.options.items())
    settings = f"{revision}{precision} --target {manifest.target}{options}"
    if is_fetched(path):
        return f"{FETCHED_STEP} `convert {manifest.model} --checkpoint {quote(source)}{settings}`."
    where = f"--checkpoint {quote(source)}{settings} --output {quote(str(path))}"
    return f"Rebuild it: `convert {manifest.model} {where} --force`."


def _flag(name: str, value: Any) -> str:
    """An option as it is typed; one without a value was not given."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f" --{flag}" if value else f" --no-{flag}"
    return f" --{flag} {quote(str(value))}" if value != "" else ""


def _check(bundle: Bundle) -> None:
    for component in bundle.manifest.components:
        _check_component(bundle, component)
    for asset in bundle.manifest.assets:
        _check_file(bundle, bundle.path / asset.file, asset.sha256)


def _check_component(bundle: Bundle, component: ComponentEntry) -> None:
    for package in component.packages:
        _check_file(bundle, bundle.path / package.file, package.sha256)
    if changed := changed_sources(component.sources):
        raise BundleError(
            f"{bundle.path}: {component.name} was made by another version of {', '.join(changed)}",
            rebuild_step(bundle.manifest, bundle.path),
        )


def _check_file(bundle: Bundle, file: Path, sha256: str) -> None:
    try:
        found = sha256_of_path(file) if file.exists() else None
    except FileNotFoundError:  # it went while it was read
        found = None
    if found is None:
        raise BundleError(f"{bundle.path}: {file.name} is missing", _restore_step(bundle))
    if found != sha256:
        raise BundleError(f"{bundle.path}: {file.name} has changed", _restore_step(bundle))


def _restore_step(bundle: Bundle) -> str:
    """How to have the files again that a bundle was made of."""
    if is_fetched(bundle.path):
        return "Delete this folder: it is then fetched again."
    return rebuild_step(bundle.manifest, bundle.path)
