"""Compiled models of the stand-in: a copy of the package in a folder that ends in `.mlmodelc`, with a mark."""

import shutil
import tempfile
from pathlib import Path

from milrun.errors import MilrunError
from milrun.package import Package, open_package

SUFFIX = ".mlmodelc"
MARK = "compiled-by-milrun-standin"


class ModelKindError(RuntimeError):
    """The model is no ML Program (a neural network, a tree, a pipeline): the stand-in does not run it."""


def is_compiled(path: str) -> bool:
    """Whether Core ML would take a path for that of a compiled model."""
    return path.rstrip("/").endswith(SUFFIX)


def compile_package(path: str) -> Path:
    """Compile a model, into a new temporary folder that is the caller's to delete.

    Args:
        path: an `.mlpackage` folder or an `.mlmodel` file.

    Raises:
        ModelKindError: the model is no ML Program.
        RuntimeError: it is missing, damaged or cannot be copied.
    """
    source = Path(path)
    target = Path(tempfile.mkdtemp(prefix=f"{source.stem}_", suffix=SUFFIX))
    try:
        _program(source)
        if source.is_dir():
            shutil.copytree(source, target / source.name, symlinks=True)
        else:
            shutil.copyfile(source, target / source.name)
        (target / MARK).write_text(source.name, encoding="utf-8")  # last: a copy that was cut short has no mark
    except (OSError, MilrunError) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise RuntimeError(f'Error compiling model: "{error}".') from error
    except ModelKindError:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return target


def open_compiled(folder: str | Path) -> Package:
    """The package in a compiled model.

    Raises:
        ModelKindError: it is no ML Program.
        PackageError: it is damaged, or was compiled only in part.
    """
    mark = Path(folder) / MARK
    if not mark.is_file():  # one of Core ML itself
        return _program(Path(folder))
    return _program(Path(folder) / mark.read_text(encoding="utf-8"))


def _program(path: Path) -> Package:
    package = open_package(path)
    kind = package.spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise ModelKindError(f"milrun's stand-in runs ML Programs only, this model is of kind {kind}")
    return package
