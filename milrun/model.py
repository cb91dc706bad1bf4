"""A loaded package: check the inputs, run the function, hand arrays back."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from milrun.errors import InputError, PackageError
from milrun.executor import CompiledFunction
from milrun.interface import InputType, array_of, check_names, input_types
from milrun.numerics import FLOATS, container_from_numpy, numpy_from_container
from milrun.package import Package
from milrun.program import Function, Operation, Program, TensorType, ValueType
from milrun.state import State
from milrun.step import LazyConst
from milrun.values import TensorList
from milrun.watch import NotReachedWarning, StopRun, TraceRow, Watch


class Model:
    """One function of a package.

    Attributes:
        inputs: name -> `InputType` of each input: dtype, shape, and the shapes and defaults that are allowed.
        outputs: name -> `TensorType` of each output, in order.
        states: name -> `TensorType` of each state.
        functions: names of all functions in the package.
    """

    def __init__(
        self,
        package: Package,
        program: Program,
        function_name: str | None,
        cache_weights: bool,
        weights: dict[int, LazyConst] | None = None,
        *,
        rounding: bool = True,
    ) -> None:
        name = function_name or program.default_function
        if name not in program.functions:
            raise PackageError(f"{package.path} has no function '{name}'; it has {sorted(program.functions)}")
        self._package, self._program, self._cache_weights, self._rounding = package, program, cache_weights, rounding
        self.path = package.path
        self.functions = tuple(sorted(program.functions))
        self.function: Function = program.functions[name]
        self._weights: dict[int, LazyConst] = {} if weights is None else weights
        self._compiled = CompiledFunction(self.function, cache_weights, self._weights, rounding=rounding)
        tensors = {n: t for n, t in self.function.block.inputs if isinstance(t, TensorType)}
        wanted = {n: t for n, t in tensors.items() if not t.is_state}
        self.inputs = input_types(package.spec.description, name, wanted)
        self.states = {n: t for n, t in tensors.items() if t.is_state}
        self.outputs = self._output_types()

    def sibling(self, function_name: str, *, rounding: bool | None = None) -> "Model":
        """Another function of the same package, or the same with other rounding; they share their weights in memory.

        Args:
            function_name: of the package.
            rounding: as for `load`; this model's own when left out.

        Raises:
            PackageError: no such function.
        """
        rounds = self._rounding if rounding is None else rounding
        return Model(self._package, self._program, function_name, self._cache_weights, self._weights, rounding=rounds)

    def make_state(self) -> State:
        """A fresh set of states, all zeros.

        Raises:
            InputError: there is no memory for them.
        """
        return State(self.states)

    def predict(self, inputs: Mapping[str, np.ndarray], state: State | None = None) -> dict[str, np.ndarray]:
        """Run the function once.

        Args:
            inputs: name -> array of the declared shape, or of one that the package's description allows. Floats are
                rounded to the declared dtype, integers must fit it. What has a default may be left out.
            state: what `make_state` returned; changed by the call. Required when the function has states.

        Returns:
            name -> array in the declared dtype.

        Raises:
            InputError: wrong names, shapes, dtypes, or no state where one is needed.
            OpError: an op failed.
        """
        results = self._compiled.run(self._containers(inputs, state))
        return self._arrays(results)

    def inspect(
        self,
        inputs: Mapping[str, np.ndarray],
        state: State | None = None,
        *,
        keep: Iterable[str] | str = (),
        stop_after: str | None = None,
        trace: bool = False,
        visit: Callable[[str, np.ndarray], np.ndarray | None] | None = None,
    ) -> tuple[dict[str, np.ndarray], list[TraceRow]]:
        """Run the function and look inside.

        Args:
            inputs: as for `predict`.
            state: as for `predict`.
            keep: names of inner values to return, of inputs or constants too; or "all", every tensor that an op yields.
            stop_after: name of a value, or an op type, after which the run ends.
            trace: also return one row an op: name, op, shape, dtype, smallest, largest, non-finite count; before them
                one for each input and constant that `keep` names.
            visit: called with the name and value of each result as it is computed. An array that it returns, of the
                same shape and of values that the declared dtype can hold, takes the value's place in the rest of the
                run. The value must not be changed, and must be copied to be kept.

        Returns:
            (name -> array of the values kept, rows). Floats are float32 whatever their declared dtype, which they fit.
            A classifier's label is a str, its probabilities a dict, a list of tensors a list of arrays.

        Raises:
            InputError: as for `predict`, no op yields a value that `keep` or `stop_after` names, or `visit` returned an
                array of another shape.
            OpError: an op failed.

        Warns:
            NotReachedWarning: the run did not come to what `keep` or `stop_after` names, as in a branch not taken.
        """
        names = frozenset() if keep == "all" else self._known_values(keep)
        self._require_stop(stop_after)
        wanted = keep if keep == "all" else names
        watch = Watch(keep=wanted, stop_after=stop_after, trace=trace, visit=visit and _on_containers(visit))
        given = self._containers(inputs, state)
        for name, operation, declared, value in self._before_the_run(names, given):
            watch.record(name, operation, declared, value)
        with suppress(StopRun):
            self._compiled.run(given, watch)
        if missed := watch.missed():
            reason = "in a branch that was not taken, or after the end of the run"
            warnings.warn(f"not reached: {', '.join(missed)} ({reason})", NotReachedWarning, stacklevel=2)
        return {name: _plain(value) for name, value in watch.values.items()}, watch.rows

    def watched(self, inputs: Mapping[str, np.ndarray], watch: Watch | None) -> None:
        """Run the function once, with fresh states, under a watch of the caller's.

        Raises:
            InputError: as for `predict`.
            OpError: an op failed.
        """
        self._compiled.run(self._containers(inputs, self.make_state() if self.states else None), watch)

    def is_constant(self, name: str) -> bool:
        """Whether a value of the program needs no input: a constant, or what a `constexpr_` op makes of constants."""
        return self._compiled.constant(name) is not None

    def constant(self, name: str) -> np.ndarray:
        """A constant of the program as its ops read it: dense whatever its compression, floats in float32.

        Raises:
            InputError: the program has no constant of this name.
            OpError: it cannot be decompressed.
        """
        constant = self._compiled.constant(name)
        if constant is None:
            raise InputError(f"{self.path.name} has no constant '{name}'")
        return np.asarray(_plain(constant.make()))

    def _known_values(self, keep: Iterable[str] | str) -> frozenset[str]:
        if isinstance(keep, str):
            raise InputError(f"keep is a set of names or 'all', got '{keep}'")
        names = frozenset(keep)
        known = {name for operation in self.function.block.walk() for name, _ in operation.outputs} | set(self.inputs)
        if unknown := sorted(names - known):
            raise InputError(f"no op of {self.path.name} yields {', '.join(unknown)}")
        return names

    def _require_stop(self, stop_after: str | None) -> None:
        if stop_after is None:
            return
        operations = list(self.function.block.walk())
        computed = [o for o in operations if self._compiled.constant(o.name) is None]
        if any(stop_after in (o.type, *dict(o.outputs)) for o in computed):
            return
        if stop_after in self.inputs or any(stop_after in (o.type, *dict(o.outputs)) for o in operations):
            raise InputError(f"a run cannot stop after {stop_after}: it is there before the run, name it in keep")
        raise InputError(f"no op of {self.path.name} yields {stop_after}")

    def _before_the_run(
        self, names: frozenset[str], given: Mapping[str, Any]
    ) -> Iterator[tuple[str, Operation, ValueType, Any]]:
        """The inputs and constants of these names."""
        for name, want in self.inputs.items():
            if name in names:
                yield name, Operation("input", name, {}, ((name, want),), ()), want, given[name]
        for operation in self.function.block.walk():
            for name, declared in operation.outputs:
                if name in names and (constant := self._compiled.constant(name)) is not None:
                    yield name, operation, declared, constant.get()

    def _output_types(self) -> dict[str, TensorType]:
        types: dict[str, Any] = dict(self.function.block.inputs)
        for operation in self.function.block.operations:
            types.update(operation.outputs)
        return {name: types[name] for name in self.function.block.outputs}

    def _containers(self, inputs: Mapping[str, np.ndarray], state: State | None) -> dict[str, Any]:
        check_names(self.path.name, self.inputs, inputs)
        given: dict[str, Any] = {
            name: _checked(name, inputs[name] if name in inputs else want.filled(), want, self._rounding)
            for name, want in self.inputs.items()
        }
        if self.states:
            if not isinstance(state, State) or set(state) != set(self.states):
                raise InputError(
                    f"{self.path.name} keeps states {sorted(self.states)}: pass what make_state() returned"
                )
            for name, cell in state.cells.items():
                if cell.type != self.states[name]:
                    raise InputError(f"state '{name}' is {self.states[name]}, the one given is {cell.type}")
            given.update(state.cells)
        return given

    def _arrays(self, results: list[Any]) -> dict[str, np.ndarray]:
        arrays = {}
        for name, value in zip(self.function.block.outputs, results, strict=True):  # one value may be output twice
            declared = self.outputs[name]
            known = isinstance(declared, TensorType) and not isinstance(value, (str, dict, list))
            arrays[name] = numpy_from_container(value, declared.dtype) if known else value
        return arrays


def _on_containers(
    visit: Callable[[str, np.ndarray], np.ndarray | None],
) -> Callable[[str, torch.Tensor], torch.Tensor | None]:
    def see(name: str, value: torch.Tensor) -> torch.Tensor | None:
        instead = visit(name, value.numpy())
        if instead is None:
            return None
        array = np.asarray(instead)
        if array.shape != value.shape:
            raise InputError(f"visit gave {list(array.shape)} for '{name}', which is {list(value.shape)}")
        return container_from_numpy(array)

    return see


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy().copy()
    if isinstance(value, TensorList):
        return [_plain(value.blank if element is None else element) for element in value.elements]
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _checked(name: str, value: Any, want: InputType, rounding: bool) -> Any:
    array, shape = array_of(name, value, want), want.shape
    fits = shape is None or (
        array.ndim == len(shape) and all(w is None or w == g for w, g in zip(shape, array.shape, strict=True))
    )
    # The description speaks where the program leaves a size open; it has [1] for a scalar of the program.
    if not fits or ((shape is None or None in shape) and want.fault(array.shape)):
        raise InputError(f"input '{name}' is {want}, got shape {list(array.shape)}")
    if want.dtype in FLOATS:
        if array.dtype.kind not in "fiub":
            raise InputError(f"input '{name}' is {want}, got {array.dtype}")
        with np.errstate(over="ignore"):  # beyond the dtype's range is infinite
            return container_from_numpy(
                array.astype(np.float16 if want.dtype == "float16" and rounding else np.float32)
            )
    if array.dtype.kind not in "iub":
        convert = f": convert it with .astype(np.{want.dtype})" if array.dtype.kind == "f" else ""
        raise InputError(f"input '{name}' is {want}, got {array.dtype}{convert}")
    if array.dtype.kind != "b" and want.dtype != "bool":
        limits = np.iinfo(want.dtype)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise InputError(f"input '{name}' is {want}, got values from {array.min()} to {array.max()}")
    return container_from_numpy(array.astype(want.dtype))
