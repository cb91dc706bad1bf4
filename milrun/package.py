"""Finding the parts of an `.mlpackage` folder: the model's protobuf and the folder of its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milrun.coreml_proto import Model
from milrun.errors import PackageError

# Key of the metadata that maps function -> op name -> path of the PyTorch module the op came from, as JSON.
SCOPES = "milrun.scopes"


@dataclass(frozen=True)
class Package:
    """A parsed package: the Core ML specification and where its weight files are."""

    path: Path
    spec: Any
    root: Path

    @property
    def scopes(self) -> dict[str, dict[str, str]]:
        """Function -> op name -> PyTorch module path; empty where the package does not say."""
        try:
            scopes = json.loads(self.spec.description.metadata.userDefined.get(SCOPES, "{}"))
        except ValueError as error:
            raise PackageError(f"{self.path}: the metadata '{SCOPES}' is no JSON: {error}") from error
        return scopes if isinstance(scopes, dict) else {}

    def weight_path(self, file_name: str) -> Path:
        """Resolve a blob file name such as `@model_path/weights/weight.bin`, refusing to leave the package."""
        relative = file_name.removeprefix("@model_path/")
        if "\0" in relative:
            raise PackageError(f"{self.path}: the name of a weight file, {file_name!r}, holds a null byte")
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise PackageError(f"{self.path}: the weight file '{file_name}' lies outside the package")
        return path


def open_package(path: str | Path) -> Package:
    """Parse an `.mlpackage` folder (or a bare `.mlmodel` file).

    Raises:
        PackageError: the folder or one of its parts is missing or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise PackageError(f"no package at {path}")
    if path.suffix == ".mlmodelc":
        raise PackageError(f"{path} is a compiled model: give the .mlpackage that it was made from")
    model_path = _model_path(path) if path.is_dir() else path
    try:
        spec = Model.Model.FromString(model_path.read_bytes())
    except OSError as error:
        raise PackageError(f"cannot read {model_path}: {error}") from error
    except _DECODE_ERRORS as error:
        wanted = "" if path.is_dir() else "; a package is an .mlpackage folder"
        raise PackageError(f"{model_path} is not a Core ML model: {error}{wanted}") from error
    return Package(path=path, spec=spec, root=model_path.parent)


def read_scopes(path: Path) -> dict[str, dict[str, str]]:
    """The module paths that a package carries (see `Package.scopes`)."""
    return open_package(path).scopes


def write_scopes(path: Path, scopes: dict[str, dict[str, str]]) -> None:
    """Put module paths into a package that is there already; weights are not touched."""
    package = open_package(path)
    package.spec.description.metadata.userDefined[SCOPES] = json.dumps(scopes)
    _model_path(path).write_bytes(package.spec.SerializeToString())


def _model_path(folder: Path) -> Path:
    manifest = folder / "Manifest.json"
    try:
        parsed = json.loads(manifest.read_text(encoding="utf-8"))
        relative = parsed["itemInfoEntries"][parsed["rootModelIdentifier"]]["path"]
    except OSError as error:
        raise PackageError(f"{folder} is not a package: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PackageError(f"{manifest} is damaged: {error!r}") from error
    path = (folder / "Data" / str(relative)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise PackageError(f"{manifest} points outside the package: {relative}")
    return path


def _decode_errors() -> tuple[type[Exception], ...]:
    from google.protobuf.message import DecodeError

    return (DecodeError, RuntimeError)


_DECODE_ERRORS = _decode_errors()
