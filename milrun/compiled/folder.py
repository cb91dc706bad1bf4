"""The parts of an `.mlmodelc` folder as one Core ML specification."""

from pathlib import Path
from typing import Any

from milrun.compiled.interface import description_in
from milrun.compiled.program import program_from_text
from milrun.coreml_proto import Model
from milrun.errors import PackageError

PROGRAM, INTERFACE = "model.mil", "coremldata.bin"
_NEURAL = ("model.espresso.net", "neural_network_model.bin")


def is_compiled(path: Path) -> bool:
    """Whether a folder is a compiled model, by its name or by what is in it."""
    return path.suffix == ".mlmodelc" or (path.is_dir() and (path / PROGRAM).is_file())


def spec_from_compiled(folder: Path) -> Any:
    """The specification of the package that a compiled model was made from.

    Raises:
        PackageError: it is no ML Program, a part is missing or damaged, or it holds what milrun does not know.
    """
    if not folder.is_dir():
        raise PackageError(f"{folder} is not a folder, as a compiled model is")
    program = folder / PROGRAM
    if not program.is_file():
        raise PackageError(f"{folder} {_without_program(folder)}")
    try:
        text = program.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackageError(f"cannot read {program}: {error}") from error
    spec = Model.Model(mlProgram=program_from_text(text, str(program)))
    if (folder / INTERFACE).is_file():
        spec.description.CopyFrom(description_in(folder / INTERFACE))
    return spec


def _without_program(folder: Path) -> str:
    if any((folder / name).exists() for name in _NEURAL):
        return "holds a neural network; milrun runs ML Programs (convert_to='mlprogram')"
    if (folder / "model0").is_dir():
        return "holds a pipeline; milrun runs ML Programs"
    return f"is not a compiled ML Program: it has no {PROGRAM}"
