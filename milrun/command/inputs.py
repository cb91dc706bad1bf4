"""The inputs of a command's runs: .npy files, and random values."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from milrun.errors import InputError
from milrun.interface import InputType


def read_inputs(
    declared: Mapping[str, InputType], given: Sequence[str], rng: np.random.Generator | None
) -> dict[str, np.ndarray]:
    """The inputs of a run, by name.

    Args:
        declared: name -> type of the function's inputs.
        given: `NAME=FILE.npy` each.
        rng: makes the inputs that are not given; None leaves them out.

    Raises:
        InputError: an argument of another form, or a file that is not a .npy.
    """
    inputs = {}
    for item in given:
        name, separator, file = item.partition("=")
        if not separator:
            raise InputError(f"--input wants NAME=FILE.npy, got '{item}'")
        inputs[name] = _read_array(Path(file))
    if rng is not None:
        for name, wanted in declared.items():
            if name not in inputs and not _is_setting(wanted):
                inputs[name] = _random_array(wanted, rng)
    return inputs


def _is_setting(declared: InputType) -> bool:
    """Whether an input is a number with a usual value, such as a threshold, for which a random one is of no use."""
    return declared.default is not None and declared.shape == ()


def _read_array(file: Path) -> np.ndarray:
    try:
        loaded = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is not a .npy file: {error}") from error
    if not isinstance(loaded, np.ndarray):
        raise InputError(f"{file} holds several arrays: give one .npy file an input")
    return loaded


def _random_array(declared: InputType, rng: np.random.Generator) -> np.ndarray:
    """Normal floats, integers 0 and 1 (an index or a length that is rarely out of range), in the default shape."""
    shape = declared.example_shape
    if declared.dtype.startswith("float"):
        return rng.standard_normal(shape).astype(declared.dtype)
    return rng.integers(0, 2, shape).astype(declared.dtype)
