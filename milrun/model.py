"""A loaded package: check the inputs, run the function, hand arrays back."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from milrun.errors import InputError, PackageError
from milrun.executor import CompiledFunction
from milrun.numerics import FLOATS, container_from_numpy, numpy_from_container
from milrun.package import Package, open_package
from milrun.program import Function, Program, TensorType, parse_program
from milrun.state import State
from milrun.step import LazyConst
from milrun.watch import StopRun, TraceRow, Watch


def load(
    path: str | Path, function_name: str | None = None, *, cache_weights: bool = True, rounding: bool = True
) -> "Model":
    """Load one function of an `.mlpackage`.

    Args:
        path: the package folder.
        function_name: which function of a multifunction package; its default one when left out.
        cache_weights: keep weights as float32 after first use; False converts them from the mapped file at each use,
            slower, with resident memory near the file's size.
        rounding: False leaves results that are declared float16 in float32, so that what precision costs can be told
            from what the program does; weights and other constants stay as stored.

    Raises:
        PackageError: missing or damaged package, or no such function.
        UnsupportedOpsError: names every op that milrun lacks.
    """
    package = open_package(path)
    return Model(package, parse_program(package), function_name, cache_weights, rounding=rounding)


class Model:
    """One function of a package.

    Attributes:
        inputs: name -> `TensorType` of each input.
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
        self.inputs = {n: t for n, t in tensors.items() if not t.is_state}
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
        """A fresh set of states, all zeros."""
        return State(self.states)

    def predict(self, inputs: Mapping[str, np.ndarray], state: State | None = None) -> dict[str, np.ndarray]:
        """Run the function once.

        Args:
            inputs: name -> array of the declared shape. Floats are rounded to the declared dtype, integers must fit it.
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
            keep: names of inner values to return, or "all".
            stop_after: name of a value, or an op type, after which the run ends.
            trace: also return one row an op: name, op, shape, dtype, smallest, largest, non-finite count.
            visit: called with the name and value of each result as it is computed. An array that it returns, of the
                same shape and of values that the declared dtype can hold, takes the value's place in the rest of the
                run. The value must not be changed, and must be copied to be kept.

        Returns:
            (name -> array of the values kept, rows). Floats are float32 whatever their declared dtype, which they fit.

        Raises:
            InputError: as for `predict`, no op yields a value that `keep` or `stop_after` names, or `visit` returned an
                array of another shape.
            OpError: an op failed.
        """
        self._require_known_values(() if keep == "all" else keep, stop_after)
        watch = Watch(keep=keep, stop_after=stop_after, trace=trace, visit=visit and _on_containers(visit))
        with suppress(StopRun):
            self._compiled.run(self._containers(inputs, state), watch)
        kept = {name: value.numpy().copy() for name, value in watch.values.items()}
        return kept, watch.rows

    def _require_known_values(self, keep: Iterable[str], stop_after: str | None) -> None:
        if isinstance(keep, str):
            raise InputError(f"keep is a set of names or 'all', got '{keep}'")
        operations = [operation for operation in self.function.block.walk() if operation.type != "const"]
        names = {name for operation in operations for name, _ in operation.outputs}
        stops = names | {operation.type for operation in operations}
        unknown = sorted(set(keep) - names) + ([] if stop_after is None or stop_after in stops else [stop_after])
        if unknown:
            raise InputError(f"no op of {self.path.name} yields {', '.join(unknown)}")

    def _output_types(self) -> dict[str, TensorType]:
        types: dict[str, Any] = dict(self.function.block.inputs)
        for operation in self.function.block.operations:
            types.update(operation.outputs)
        return {name: types[name] for name in self.function.block.outputs}

    def _containers(self, inputs: Mapping[str, np.ndarray], state: State | None) -> dict[str, Any]:
        if set(inputs) != set(self.inputs):
            raise InputError(f"{self.path.name} wants inputs {sorted(self.inputs)}, got {sorted(inputs)}")
        given: dict[str, Any] = {
            name: _checked(name, inputs[name], want, self._rounding) for name, want in self.inputs.items()
        }
        if self.states:
            if state is None or set(state) != set(self.states):
                raise InputError(
                    f"{self.path.name} keeps states {sorted(self.states)}: pass what make_state() returned"
                )
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
        if instead is not None and instead.shape != value.shape:
            raise InputError(f"visit gave {list(instead.shape)} for '{name}', which is {list(value.shape)}")
        return None if instead is None else container_from_numpy(instead)

    return see


def _checked(name: str, value: np.ndarray, type: TensorType, rounding: bool) -> Any:
    array = np.asarray(value)
    shape = type.shape
    if shape is not None and (
        array.ndim != len(shape) or any(w is not None and w != g for w, g in zip(shape, array.shape, strict=True))
    ):
        raise InputError(f"input '{name}' is {type}, got shape {list(array.shape)}")
    if type.dtype in FLOATS:
        if array.dtype.kind not in "fiub":
            raise InputError(f"input '{name}' is {type}, got {array.dtype}")
        with np.errstate(over="ignore"):  # beyond the dtype's range is infinite
            return container_from_numpy(
                array.astype(np.float16 if type.dtype == "float16" and rounding else np.float32)
            )
    if array.dtype.kind not in "iub":
        raise InputError(f"input '{name}' is {type}, got {array.dtype}")
    if array.dtype.kind != "b" and type.dtype != "bool":
        limits = np.iinfo(type.dtype)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise InputError(f"input '{name}' is {type}, got values from {array.min()} to {array.max()}")
    return container_from_numpy(array.astype(type.dtype))
