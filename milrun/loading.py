"""Loading whatever can be run: a function of an ML Program, a pipeline, or one part of it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

from milrun.errors import PackageError, UnsupportedOpsError
from milrun.model import Model
from milrun.package import Package, open_package
from milrun.pipeline import Part, Pipeline, in_part, is_pipeline, part_of, parts_of
from milrun.program import not_run, parse_program
from milrun.suppression import Suppression

_SUPPRESSION = "nonMaximumSuppression"


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection while a program is built: hundreds of thousands of objects, and none of them is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@overload
def load(
    path: str | Path, function_name: str, *, cache_weights: bool = ..., rounding: bool = ..., part: None = ...
) -> Model: ...


@overload
def load(
    path: str | Path,
    function_name: str | None = ...,
    *,
    cache_weights: bool = ...,
    rounding: bool = ...,
    part: str | int | None = ...,
) -> Model | Pipeline | Suppression: ...


def load(
    path: str | Path,
    function_name: str | None = None,
    *,
    cache_weights: bool = True,
    rounding: bool = True,
    part: str | int | None = None,
) -> Model | Pipeline | Suppression:
    """Load a model: an `.mlpackage`, an `.mlmodelc`, or an `.mlmodel` without weight files.

    Args:
        path: the package folder, the compiled folder, or the file.
        function_name: which function of a multifunction package; its default one when left out.
        cache_weights: keep weights as float32 after first use; False converts them from the mapped file at each use,
            slower, with resident memory near the file's size.
        rounding: False leaves results that are declared float16 in float32, so that what precision costs can be told
            from what the program does; weights and other constants stay as stored.
        part: one part of a pipeline, by name or by index; the whole when left out.

    Returns:
        A `Model` of an ML Program's function, a `Pipeline`, or a `Suppression`, by what the package, or the part, is.

    Raises:
        PackageError: missing or damaged package, of a kind that milrun does not run, or no such function or part.
        UnsupportedOpsError: names every op that milrun lacks, in all parts.
        OpError: an op's parameters or blocks are not those of its kind.
    """
    with _collector_paused():
        return _load(path, function_name, part, cache_weights=cache_weights, rounding=rounding)


def _load(
    path: str | Path, function_name: str | None, part: str | int | None, **options: Any
) -> Model | Pipeline | Suppression:
    package = open_package(path)
    if part is not None:
        package = part_of(package, part).package
    if package.spec.WhichOneof("Type") == "mlProgram":
        return _program(package, function_name, **options)
    if function_name is not None and _runs(package):
        what = "the function is of one part: name the part too" if is_pipeline(package) else "it has no functions"
        raise PackageError(f"{package.path} is no ML Program, but {package.spec.WhichOneof('Type')}: {what}")
    return _whole(package, **options)


def _whole(package: Package, **options: Any) -> Model | Pipeline | Suppression:
    if is_pipeline(package):
        return _pipeline(package, **options)
    if package.spec.WhichOneof("Type") == _SUPPRESSION:
        return Suppression(package)
    return _program(package, None, **options)


def _program(package: Package, function_name: str | None, *, cache_weights: bool, rounding: bool) -> Model:
    return Model(package, parse_program(package), function_name, cache_weights, rounding=rounding)


def _pipeline(package: Package, **options: Any) -> Pipeline:
    parts = parts_of(package)
    if refused := [f"{part} {not_run(part.package.spec)}" for part in parts if not _runs(part.package)]:
        raise PackageError(f"{package.path} is a pipeline that milrun cannot run: {'; '.join(refused)}")
    steps: list[tuple[Part, Any]] = []
    missing: dict[str, int] = {}
    for part in parts:
        try:
            with in_part(part):
                steps.append((part, _whole(part.package, **options)))
        except UnsupportedOpsError as error:
            for op, count in error.missing.items():
                missing[op] = missing.get(op, 0) + count
    if missing:
        raise UnsupportedOpsError(missing)
    return Pipeline(package, steps)


def _runs(package: Package) -> bool:
    return is_pipeline(package) or package.spec.WhichOneof("Type") in ("mlProgram", _SUPPRESSION)
