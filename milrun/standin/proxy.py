"""What stands behind coremltools' `MLModel`, `CompiledMLModel` and `MLState`."""

import shutil
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from milrun.errors import MilrunError
from milrun.interface import function_description
from milrun.model import Model
from milrun.program import parse_program
from milrun.standin import plan
from milrun.standin.binding import feature, features, whole
from milrun.standin.block import SPECIFICATION_VERSION, Predictions
from milrun.standin.compiled import ModelKindError, compile_package, is_compiled, open_compiled
from milrun.standin.results import array_from_image, value_from_result
from milrun.state import State

_FUNCTIONS_SINCE = (15, 0)


class StateProxy:
    """What stands behind coremltools' `MLState`.

    Args:
        state: zeros at first.
        owner: the model that made it, and the only one that takes it.
        macos: what the binding runs on.
    """

    def __init__(self, state: State, owner: object, macos: tuple[int, ...]) -> None:
        self.state, self.owner, self._macos = state, owner, macos

    def read_state(self, name: str) -> np.ndarray:
        """A copy of one state; float16 as float32.

        Raises:
            RuntimeError: there is no state of this name.
        """
        with _as_runtime_error():
            value = self.state.read_state(name)
        return value.astype(np.float32) if value.dtype == np.float16 else value

    def write_state(self, name: str, value: np.ndarray) -> None:
        """Replace one state.

        Raises:
            RuntimeError: unknown name, another shape, or a value that the binding refuses, as float16.
        """
        array = feature(value, self._macos)
        if not isinstance(array, np.ndarray):
            raise RuntimeError("Failed to write state, only multi-array value is supported")
        with _as_runtime_error():
            self.state.write_state(name, array)


class ModelProxy:
    """What stands behind coremltools' `MLModel`: the methods of `libcoremlpython._MLModelProxy` that run a model.

    A package is compiled into a temporary folder, which goes when the model goes. When Core ML refuses to load what it
    compiled, the folder stays: the binding's destructor does not run then, nor does this one's.

    Args:
        path: an `.mlpackage` folder, an `.mlmodel` file, or a `.mlmodelc` folder that the stand-in compiled.
        compute_units: by coremltools' name; milrun has one.
        function_name: which function; empty for the default one.
        optimization_hints: taken for compatibility.
        asset: models from memory are not supported.

    Raises:
        ModelKindError: the model is no ML Program, or compiled by Core ML itself.
        RuntimeError: the package is damaged, has no such function or holds ops that milrun lacks; a function is named
            before macOS 15; or a refusal was asked for.
    """

    predictions: ClassVar[Predictions] = Predictions()

    def __init__(
        self,
        path: str,
        compute_units: str = "ALL",
        function_name: str = "",
        optimization_hints: Mapping[str, str] | None = None,
        asset: Any = None,
    ) -> None:
        if asset is not None:
            raise ModelKindError("milrun does not load models from memory: load the package")
        compiled_here = not is_compiled(path)
        self._folder = self.compileModel(path) if compiled_here else path
        if function_name and self.predictions.macos < _FUNCTIONS_SINCE:
            raise RuntimeError("The 'functionName' property can only be set on macOS >= 15.0")
        started = time.perf_counter_ns()
        with _as_runtime_error():
            package = open_compiled(self._folder)
            self.model = Model(package, parse_program(package), function_name or None, cache_weights=True)
        self._asked = (path, compute_units, self.model.function.name)
        self.predictions.at_load(*self._asked)
        if compiled_here:
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.predictions.loads += 1
        self._owner = object()
        self._description = function_description(package.spec.description, self.model.function.name)
        self._load_ns = time.perf_counter_ns() - started
        self._predict_ns: int | None = None

    @staticmethod
    def maximum_supported_specification_version() -> int:
        """The newest specification that can be loaded."""
        return SPECIFICATION_VERSION

    @staticmethod
    def auto_set_specification_version(spec: Any) -> Any:
        """Core ML lowers the version to what the model needs; milrun leaves it."""
        return spec

    @classmethod
    def compileModel(cls, path: str) -> str:  # noqa: N802  (the native module's name)
        """Compile a model into a new temporary folder, which stays.

        Raises:
            ModelKindError: the model is no ML Program.
            RuntimeError: it is missing or damaged.
        """
        folder = str(compile_package(path))
        cls.predictions.compiles += 1
        return folder

    @staticmethod
    def get_available_compute_devices() -> list[Any]:
        """CPU, GPU and Neural Engine, as coremltools' classes."""
        return list(plan.devices().values())

    get_all_compute_devices = get_available_compute_devices

    @staticmethod
    def get_model_structure(path: str) -> Any:
        """coremltools' `MLModelStructure` of a compiled model.

        Raises:
            RuntimeError: it is damaged.
        """
        with _as_runtime_error():
            return plan.structure(parse_program(open_compiled(path)))

    @staticmethod
    def get_compute_plan(path: str, compute_units: str) -> Any:
        """coremltools' `MLComputePlan` of a compiled model; of its default function, since no other can be named.

        Raises:
            RuntimeError: it is damaged.
        """
        with _as_runtime_error():
            return plan.compute_plan(parse_program(open_compiled(path)), compute_units)

    def get_compiled_model_path(self) -> str:
        """The folder of the compiled model; one that this model compiled goes with it."""
        return self._folder

    def get_load_duration_in_nano_seconds(self) -> int:
        """How long loading took."""
        return self._load_ns

    def get_last_predict_duration_in_nano_seconds(self) -> int | None:
        """How long the last prediction took; None before the first."""
        return self._predict_ns

    def newState(self) -> StateProxy:  # noqa: N802  (the native module's name)
        """Fresh states, all zeros."""
        return StateProxy(self.model.make_state(), self._owner, self.predictions.macos)

    def predict(self, data: Mapping[str, Any], state: StateProxy | None = None) -> dict[str, Any]:
        """Run the model once.

        Raises:
            RuntimeError: the binding refuses a value; an input is missing or unknown, or its shape or kind is not the
                description's; the states are missing or another model's; an op failed, or a failure was asked for.
            TypeError: the state is no state.
        """
        started = time.perf_counter_ns()
        given = features(data, self.predictions.macos)
        self._check_names(given)
        self._check_state(state)
        feeds = {item.name: self._feed(item, given[item.name]) for item in self._inputs() if item.name in given}
        self.predictions.at_predict(*self._asked)
        with _as_runtime_error("Unable to compute the prediction using ML Program: "):
            results = self.model.predict(feeds, None if state is None else state.state)
        self._predict_ns = time.perf_counter_ns() - started
        return {item.name: value_from_result(item, results[item.name]) for item in self._description.output}

    def batchPredict(self, data: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802
        """Run the model once an item."""
        return [self.predict(item) for item in data]

    def _inputs(self) -> list[Any]:
        return list(self._description.input)

    def _check_names(self, given: Mapping[str, Any]) -> None:
        names = [item.name for item in self._inputs()]
        for name in names:
            if name not in given and self.model.inputs[name].default is None:
                raise RuntimeError(f"input '{name}' is required but not given")
        # MLModel refuses them with a KeyError before; CompiledMLModel does not, and Core ML may overlook a wrong name.
        if unknown := sorted(set(given) - set(names)):
            raise RuntimeError(f"the model has no input {', '.join(unknown)}; it has {names}")

    def _check_state(self, state: StateProxy | None) -> None:
        if state is None:
            return
        if not isinstance(state, StateProxy):
            raise TypeError(f"predict(): incompatible function arguments: {type(state).__name__} is no state")
        if state.owner is not self._owner:
            raise RuntimeError("the state was made by another model or another function")

    def _feed(self, item: Any, value: Any) -> np.ndarray:
        declared = self.model.inputs[item.name]
        is_image = item.type.WhichOneof("Type") == "imageType"
        array = array_from_image(item, value) if is_image else value
        if not isinstance(array, np.ndarray):
            kind = type(value).__name__
            raise RuntimeError(f"The model expects input feature {item.name} to be an array, but the input is a {kind}")
        if fault := declared.fault(array.shape):
            raise RuntimeError(f"input '{item.name}': {fault}")
        if is_image:
            return array.astype(declared.dtype)
        if declared.shape == () and array.size == 1:  # Core ML has no scalars: they come as [1]
            array = array.reshape(())
        if declared.dtype == "bool":
            return array.astype(np.bool_)
        return array if declared.dtype.startswith("float") else whole(item.name, array, declared.dtype)


@contextmanager
def _as_runtime_error(prefix: str = "") -> Iterator[None]:
    try:
        yield
    except MilrunError as error:
        raise RuntimeError(f"{prefix}{error}") from error
