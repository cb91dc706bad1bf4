"""Pipelines: models that run one after the other, values flowing by name from inputs and earlier parts to later ones.

Source: `Model.proto` (Pipeline) and `PipelineValidator.cpp` in coremltools' `mlmodel`: a part reads the newest value of
a name; outputs are looked up the same way.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from milrun.compiled import is_compiled, part_folder
from milrun.errors import InputError, OpError, PackageError
from milrun.interface import InputType, check_names
from milrun.model import Model
from milrun.package import Package
from milrun.program import TensorType
from milrun.state import State
from milrun.suppression import Suppression

_KINDS = ("pipeline", "pipelineClassifier", "pipelineRegressor")


@dataclass(frozen=True)
class Part:
    """One model of a pipeline: its place, its name, and what it is made of."""

    index: int
    name: str
    package: Package

    def __str__(self) -> str:
        return f"part '{self.name}' (index {self.index})"


def is_pipeline(package: Package) -> bool:
    """Whether a package holds models that run one after the other."""
    return package.spec.WhichOneof("Type") in _KINDS


def parts_of(package: Package) -> tuple[Part, ...]:
    """The parts of a pipeline in their order; where they have no names, `model0`, `model1` and so on.

    Raises:
        PackageError: there are none, or their names are not one for each.
    """
    kind = package.spec.WhichOneof("Type")
    pipeline = package.spec.pipeline if kind == "pipeline" else getattr(package.spec, kind).pipeline
    names = list(pipeline.names) or [f"model{index}" for index in range(len(pipeline.models))]
    if not pipeline.models or len(names) != len(pipeline.models) or len(set(names)) != len(names):
        raise PackageError(f"{package.path} is a pipeline of {len(pipeline.models)} models with the names {names}")
    return tuple(
        Part(index, name, Package(package.path / name, spec, _root(package, index)))
        for index, (name, spec) in enumerate(zip(names, pipeline.models, strict=True))
    )


def part_of(package: Package, wanted: str | int) -> Part:
    """One part, by name or by index; a text that is no name may be an index.

    Raises:
        PackageError: no pipeline, or no such part.
    """
    if not is_pipeline(package):
        raise PackageError(f"{package.path} is no pipeline: it has no part {wanted!r}")
    parts = parts_of(package)
    for part in parts:
        if wanted == part.name:
            return part
    index = int(wanted) if isinstance(wanted, int) or wanted.isdecimal() else -1
    if not 0 <= index < len(parts):
        raise PackageError(f"{package.path} has no part {wanted!r}; it has {', '.join(map(str, parts))}")
    return parts[index]


@contextmanager
def in_part(part: Part) -> Iterator[None]:
    """Say in an error which part it is from."""
    try:
        yield
    except OpError as error:
        reason = f"{error.reason}, in {part}"
        raise OpError(error.op_type, error.op_name, reason, error.inputs, error.scope) from error
    except (PackageError, InputError) as error:
        raise type(error)(f"{part}: {error}") from error


class Pipeline:
    """Models that run one after the other, with the methods of `Model`.

    `parts["name"].inspect` looks inside one of them.

    Args:
        package: of the whole.
        steps: its parts, and what runs each.

    Attributes:
        inputs: name -> `InputType` of each input, as the first part that reads it has it.
        outputs: name -> type of each output, as the last part that makes it has it.
        states: name -> `TensorType` of the states of all parts.
        functions: empty: a pipeline has parts instead.
        parts: name -> what runs the part.

    Raises:
        PackageError: a part reads, or the pipeline gives, what nothing makes; or two parts do not fit together.
    """

    functions: tuple[str, ...] = ()

    def __init__(self, package: Package, steps: Sequence[tuple[Part, Any]]) -> None:
        self.path = package.path
        self._steps = tuple(steps)
        self.parts: dict[str, Model | Suppression | Pipeline] = {part.name: step for part, step in steps}
        description = package.spec.description
        described = bool(description.input or description.output)
        names = [item.name for item in description.input] if described else _read_from_outside(self._steps)
        self.inputs = {name: _first_reader(self._steps, name) for name in names}
        made = _checked_flow(self.path, self._steps, self.inputs)
        results = [item.name for item in description.output] if described else _unread(self._steps)
        if missing := [name for name in results if name not in made]:
            raise PackageError(f"{self.path} should give {missing}, which no part makes")
        self.outputs = {name: made[name] for name in results}
        self.states = _states(self.path, self._steps)

    def make_state(self) -> State:
        """A fresh set of the states of all parts, all zeros.

        Raises:
            InputError: there is no memory for them.
        """
        return State(self.states)

    def predict(self, inputs: Mapping[str, Any], state: State | None = None) -> dict[str, Any]:
        """Run the parts once, in their order.

        Args:
            inputs: name -> array, as for `Model.predict`.
            state: what `make_state` returned; changed by the call. Required when a part has states.

        Returns:
            name -> array in the dtype that the part declares.

        Raises:
            InputError: wrong names, shapes, dtypes, or no state where one is needed; it names the part.
            OpError: an op failed; it names the part.
        """
        check_names(self.path.name, self.inputs, inputs)
        if self.states and (not isinstance(state, State) or set(state) != set(self.states)):
            raise InputError(f"{self.path.name} keeps states {sorted(self.states)}: pass what make_state() returned")
        values: dict[str, Any] = dict(inputs)
        for part, step in self._steps:
            given = {name: values[name] for name in step.inputs if name in values}
            own = state.only(step.states) if state is not None and step.states else None
            with in_part(part):
                values.update(step.predict(given, own))
        return {name: values[name] if name in values else self.inputs[name].filled() for name in self.outputs}


def _root(package: Package, index: int) -> Any:
    compiled = package.root is not None and is_compiled(package.root)
    return part_folder(package.root, index) if package.root is not None and compiled else package.root


def _read_from_outside(steps: Sequence[tuple[Part, Any]]) -> list[str]:
    """What parts read that no earlier one makes, where a pipeline does not say what its inputs are."""
    made: set[str] = set()
    names: dict[str, None] = {}
    for _, step in steps:
        names.update(dict.fromkeys(name for name in step.inputs if name not in made))
        made.update(step.outputs)
    return list(names)


def _unread(steps: Sequence[tuple[Part, Any]]) -> list[str]:
    """What parts make that no later one reads, where a pipeline does not say what its outputs are."""
    names: dict[str, None] = {}
    for _, step in steps:
        for name in step.inputs:
            names.pop(name, None)
        names.update(dict.fromkeys(step.outputs))
    return list(names)


def _first_reader(steps: Sequence[tuple[Part, Any]], name: str) -> InputType:
    for _, step in steps:
        if name in step.inputs:
            found: InputType = step.inputs[name]
            return found
    return InputType("float32", None, default=0.0)  # nothing reads it: whatever is given will do


def _checked_flow(path: Any, steps: Sequence[tuple[Part, Any]], inputs: Mapping[str, InputType]) -> dict[str, Any]:
    """name -> newest type; every part finds what it reads, in a shape that can fit."""
    made: dict[str, Any] = dict(inputs)
    makers: dict[str, Part] = {}
    for part, step in steps:
        for name, want in step.inputs.items():
            if name not in made and want.default is None:
                raise PackageError(
                    f"{path}: {part} reads '{name}', which is no input of the pipeline and made by no part before it"
                )
            if name in makers and not _can_fit(made[name], want):
                raise PackageError(f"{path}: {part} reads '{name}' as {want}, {makers[name]} makes {made[name]}")
        made.update(step.outputs)
        makers.update(dict.fromkeys(step.outputs, part))
    return made


def _can_fit(given: Any, want: InputType) -> bool:
    if not isinstance(given, TensorType) or given.dtype in ("string", "dictionary"):
        return False
    if given.shape is None or want.shape is None:
        return True
    return len(given.shape) == len(want.shape) and all(
        one is None or two is None or one == two for one, two in zip(given.shape, want.shape, strict=True)
    )


def _states(path: Any, steps: Sequence[tuple[Part, Any]]) -> dict[str, TensorType]:
    states: dict[str, TensorType] = {}
    for part, step in steps:
        for name, declared in step.states.items():
            if name in states:
                raise PackageError(f"{path}: {part} keeps a state '{name}', as an earlier part does; load one part")
            states[name] = declared
    return states
