"""The parts of an `.mlmodelc` folder as one Core ML specification.

A pipeline is a folder whose `coremldata.bin` describes the whole; its parts are compiled models in the folders
`model0`, `model1` and so on, each with weights of its own.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from milrun.compiled.interface import spec_in
from milrun.compiled.program import program_from_text
from milrun.coreml_proto import Model
from milrun.errors import PackageError
from milrun.unready import refuse_pointer

PROGRAM, INTERFACE = "model.mil", "coremldata.bin"
_NEURAL = ("model.espresso.net", "neural_network_model.bin")
_DEEPEST = 16  # pipelines within pipelines; protobuf allows about as many


def is_compiled(path: Path) -> bool:
    """Whether a folder is a compiled model, by its name or by what is in it."""
    return path.suffix == ".mlmodelc" or (path.is_dir() and any((path / n).is_file() for n in (PROGRAM, INTERFACE)))


def spec_from_compiled(folder: Path) -> Any:
    """The specification of the model that a compiled one was made from; a kind that milrun does not run is bare.

    Raises:
        PackageError: a part is missing or damaged, or holds what milrun does not know.
    """
    if not folder.is_dir():
        raise PackageError(f"{folder} is not a folder, as a compiled model is")
    spec = _spec(folder, 0)
    if spec.WhichOneof("Type") is None:
        raise PackageError(f"{folder} is not a compiled ML Program: it has no {PROGRAM}")
    return spec


def part_folder(folder: Path, index: int) -> Path:
    """Where the part of a compiled pipeline lies."""
    return folder / f"model{index}"


def _spec(folder: Path, depth: int) -> Any:
    if depth > _DEEPEST:
        raise PackageError(f"{folder} is a pipeline within a pipeline, too deep")
    spec = spec_in(folder / INTERFACE) if (folder / INTERFACE).is_file() else Model.Model()
    if (folder / PROGRAM).is_file():
        spec.mlProgram.CopyFrom(_program(folder / PROGRAM))
    elif part_folder(folder, 0).is_dir():
        spec.pipeline.models.extend(_spec(part, depth + 1) for part in _parts(folder))
        spec.pipeline.names.extend(part.name for part in _parts(folder))
    elif any((folder / name).exists() for name in _NEURAL):
        spec.neuralNetwork.SetInParent()
    return spec


def _parts(folder: Path) -> Iterator[Path]:
    index = 0
    while (part := part_folder(folder, index)).is_dir():
        yield part
        index += 1


def _program(file: Path) -> Any:
    refuse_pointer(file)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackageError(f"cannot read {file}: {error}") from error
    return program_from_text(text, str(file))
