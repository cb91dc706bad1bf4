"""Finding the parts of an `.mlpackage` folder: the model's protobuf and the folder of its weights."""

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milrun.compiled import is_compiled, spec_from_compiled
from milrun.coreml_proto import DECODE_ERRORS, Model
from milrun.errors import PackageError
from milrun.unready import refuse_archive, refuse_pointer

# Key of the metadata that maps function -> op name -> path of the PyTorch module the op came from, as JSON.
SCOPES = "milrun.scopes"
# Names of what `open_package` reads.
MODEL_SUFFIXES = (".mlpackage", ".mlmodelc", ".mlmodel")


@dataclass(frozen=True)
class Package:
    """A parsed package: the Core ML specification, and the folder that its weight files lie in.

    `root` is None for a bare `.mlmodel`, which has no weight files: what lies beside it is not its own.
    """

    path: Path
    spec: Any
    root: Path | None

    @property
    def scopes(self) -> dict[str, dict[str, str]]:
        """Function -> op name -> PyTorch module path; empty where the package does not say."""
        try:
            scopes = json.loads(self.spec.description.metadata.userDefined.get(SCOPES, "{}"))
        except (ValueError, RecursionError) as error:
            raise PackageError(f"{self.path}: the metadata '{SCOPES}' is not JSON: {error}") from error
        if not _maps_to_strings(scopes):
            raise PackageError(f"{self.path}: the metadata '{SCOPES}' is not function -> op -> module path")
        return dict(scopes)

    def weight_path(self, file_name: str) -> Path:
        """Resolve a blob file name such as `@model_path/weights/weight.bin`, refusing to leave the package."""
        if self.root is None:
            raise PackageError(
                f"{self.path} is not a package, and its weights are in a file: give the .mlpackage folder"
            )
        return _file_inside(self.root, file_name.removeprefix("@model_path/"), "the weight file")


def open_package(path: str | Path) -> Package:
    """Parse an `.mlpackage` folder, a compiled `.mlmodelc`, or a bare `.mlmodel` that holds all of its weights itself.

    Raises:
        PackageError: the folder or one of its parts is missing or damaged, a zip archive or a Git LFS pointer.
    """
    path = Path(path)
    if not path.exists():
        raise PackageError(f"no package at {path}")
    if path.is_file():
        refuse_pointer(path)
        refuse_archive(path)
    if is_compiled(path):
        return Package(path=path, spec=spec_from_compiled(path), root=path.resolve())
    given = path.resolve()
    model_path = _model_path(path) if path.is_dir() else _file_inside(given.parent, given.name, "the model")
    refuse_pointer(model_path)
    try:
        spec = Model.Model.FromString(model_path.read_bytes())
    except OSError as error:
        raise PackageError(f"cannot read {model_path}: {error}") from error
    except DECODE_ERRORS as error:
        wanted = "" if path.is_dir() else "; a package is an .mlpackage folder"
        raise PackageError(f"{model_path} is not a Core ML model: {error}{wanted}") from error
    return Package(path=path, spec=spec, root=model_path.parent if path.is_dir() else None)


def read_scopes(path: Path) -> dict[str, dict[str, str]]:
    """The module paths that a package carries (see `Package.scopes`)."""
    return open_package(path).scopes


def write_scopes(path: Path, scopes: dict[str, dict[str, str]]) -> None:
    """Put module paths into a package that is there already; weights are not touched."""
    package = open_package(path)
    package.spec.description.metadata.userDefined[SCOPES] = json.dumps(scopes)
    _model_path(path).write_bytes(package.spec.SerializeToString())


def _model_path(folder: Path) -> Path:
    if not (folder / "Manifest.json").exists():
        raise PackageError(f"{folder} is not a package: it has no Manifest.json")
    manifest = _file_inside(folder, "Manifest.json", "the manifest")
    refuse_pointer(manifest)
    try:
        parsed = json.loads(manifest.read_text(encoding="utf-8"))
        relative = parsed["itemInfoEntries"][parsed["rootModelIdentifier"]]["path"]
    except OSError as error:
        raise PackageError(f"cannot read {manifest}: {error}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise PackageError(f"{manifest} is damaged: {error!r}") from error
    return _file_inside(folder, f"Data/{relative}", "the model")


def _file_inside(folder: Path, relative: str, what: str) -> Path:
    """A regular file of the package: no link may lead out of the folder, to a device or to a pipe."""
    try:
        path = (folder / relative).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise PackageError(f"{what} {relative!r} lies outside the package {folder}")
        if not stat.S_ISREG(path.stat().st_mode):
            raise PackageError(f"{what} {relative!r} of {folder} is not a regular file")
    except (OSError, ValueError, RuntimeError) as error:  # no such file; a null byte; links in a circle
        raise PackageError(f"cannot read {what} {relative!r} of {folder}: {error}") from error
    return path


def _maps_to_strings(scopes: Any) -> bool:
    inner = scopes.values() if isinstance(scopes, dict) else [None]
    return all(isinstance(names, dict) and all(isinstance(n, str) for n in names.values()) for names in inner)
