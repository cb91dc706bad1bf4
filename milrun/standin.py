"""Let coremltools predict on any machine: `MLModel(path).predict(...)` through milrun, without macOS.

    with milrun.standin.predictions():
        model = coremltools.models.MLModel("encoder.mlpackage")
        outputs = model.predict({"mel": mel})

Inside the block milrun stands in for coremltools' native module `libcoremlpython`, and coremltools is told that it runs
on macOS. Values cross as they do with Core ML (coremltools `coremlpython/CoreMLPythonUtils.mm`): a float16 output
arrives as float32, a scalar as an array of shape [1], a class label as str or int, class probabilities as a dict, an
image as a PIL image; shapes are checked against the model's description, fixed, ranged or enumerated. What Core ML
refuses is a `RuntimeError` here too. Only ML Programs run: for another kind of model coremltools warns while loading
and raises in `predict`, as it does where Core ML cannot load a model.
"""

import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from milrun.coreml_proto import FeatureTypes
from milrun.errors import MilrunError
from milrun.interface import InputType, function_description
from milrun.model import Model
from milrun.package import open_package
from milrun.program import parse_program
from milrun.state import State

# What coremltools is told: the newest system and specification that coremltools 9.0 knows.
MACOS_VERSION = (26, 0)
SPECIFICATION_VERSION = 10

_ARRAY = FeatureTypes.ArrayFeatureType
_IMAGE = FeatureTypes.ImageFeatureType
# float16 leaves the binding as float32 (rdar://92239209 in its source).
_ARRAY_DTYPES: dict[int, Any] = {
    _ARRAY.FLOAT16: np.float32,
    _ARRAY.FLOAT32: np.float32,
    _ARRAY.DOUBLE: np.float64,
    _ARRAY.INT32: np.int32,
}


class ModelKindError(RuntimeError):
    """The model is no ML Program (a neural network, a tree, a pipeline): milrun does not run it."""


class StateProxy:
    """What stands behind coremltools' `MLState`."""

    def __init__(self, state: State) -> None:
        self.state = state

    def read_state(self, name: str) -> np.ndarray:
        """A copy of one state; float16 as float32."""
        with _as_runtime_error():
            value = self.state.read_state(name)
        return value.astype(np.float32) if value.dtype == np.float16 else value

    def write_state(self, name: str, value: np.ndarray) -> None:
        """Replace one state."""
        with _as_runtime_error():
            self.state.write_state(name, value)


class ModelProxy:
    """What stands behind coremltools' `MLModel`: the methods of `libcoremlpython._MLModelProxy` that run a model.

    Args:
        path: an `.mlpackage` folder or an `.mlmodel` file.
        compute_units: taken for compatibility; milrun has one.
        function_name: which function; empty for the default one.
        optimization_hints: taken for compatibility.
        asset: compiled models are not supported.

    Raises:
        ModelKindError: the model is no ML Program.
        RuntimeError: the package is damaged or holds ops that milrun lacks.
    """

    def __init__(
        self,
        path: str,
        compute_units: str = "",
        function_name: str = "",
        optimization_hints: Mapping[str, str] | None = None,
        asset: Any = None,
    ) -> None:
        started = time.perf_counter_ns()
        if asset is not None or str(path).rstrip("/").endswith(".mlmodelc"):
            raise ModelKindError("milrun does not run compiled models (.mlmodelc): load the package")
        with _as_runtime_error():
            package = open_package(path)
            kind = package.spec.WhichOneof("Type")
            if kind != "mlProgram":
                raise ModelKindError(f"milrun runs ML Programs only, this model is of kind {kind}")
            self.model = Model(package, parse_program(package), function_name or None, cache_weights=True)
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

    @staticmethod
    def compileModel(path: str) -> str:  # noqa: N802  (the native module's name)
        """Compiling is Core ML's own.

        Raises:
            ModelKindError: always.
        """
        raise ModelKindError(f"milrun does not compile models: {path}")

    @staticmethod
    def get_available_compute_devices() -> list[Any]:
        """No device that coremltools has a class for."""
        return []

    get_all_compute_devices = get_available_compute_devices

    def get_compiled_model_path(self) -> str:
        """There is no compiled model.

        Raises:
            ModelKindError: always.
        """
        raise ModelKindError("milrun does not compile models: there is no compiled path")

    def get_load_duration_in_nano_seconds(self) -> int:
        """How long loading took."""
        return self._load_ns

    def get_last_predict_duration_in_nano_seconds(self) -> int | None:
        """How long the last prediction took; None before the first."""
        return self._predict_ns

    def newState(self) -> StateProxy:  # noqa: N802  (the native module's name)
        """Fresh states, all zeros."""
        return StateProxy(self.model.make_state())

    def predict(self, data: Mapping[str, Any], state: StateProxy | None = None) -> dict[str, Any]:
        """Run the model once.

        Raises:
            RuntimeError: an input is missing, or its shape or kind is not the description's; or an op failed.
        """
        started = time.perf_counter_ns()
        feeds = {item.name: self._feed(item, data) for item in self._description.input if self._is_given(item, data)}
        with _as_runtime_error("Unable to compute the prediction using ML Program: "):
            results = self.model.predict(feeds, None if state is None else state.state)
        self._predict_ns = time.perf_counter_ns() - started
        return {item.name: _value_from_result(item, results[item.name]) for item in self._description.output}

    def batchPredict(self, data: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802
        """Run the model once an item."""
        return [self.predict(item) for item in data]

    def _is_given(self, item: Any, data: Mapping[str, Any]) -> bool:
        if item.name not in data and self.model.inputs[item.name].default is None:
            raise RuntimeError(f"input '{item.name}' is required but not given")
        return item.name in data

    def _feed(self, item: Any, data: Mapping[str, Any]) -> np.ndarray:
        declared = self.model.inputs[item.name]
        is_image = item.type.WhichOneof("Type") == "imageType"
        array = _array_from_image(item, data[item.name]) if is_image else np.asarray(data[item.name])
        _check_shape(item.name, declared, array.shape)
        if is_image:
            return array.astype(declared.dtype)
        if declared.shape == () and array.size == 1:  # Core ML has no scalars: they come as [1]
            array = array.reshape(())
        if declared.dtype == "bool":
            return array.astype(np.bool_)
        return array if declared.dtype.startswith("float") else array.astype(declared.dtype)


@contextmanager
def predictions() -> Iterator[None]:
    """Make coremltools predict through milrun inside the block; everything is restored on exit.

    Names that other modules imported from coremltools inside the block (`from ... import _macos_version`) keep what
    they got. Models loaded inside the block go on predicting after it. Not meant for several threads at once.
    """
    import coremltools

    native = "coremltools.libcoremlpython"
    module = types.ModuleType(native)
    vars(module)["_MLModelProxy"] = ModelProxy
    ours: dict[str, Any] = {
        "_MLModelProxy": ModelProxy,
        "_IS_MACOS": True,
        "_is_macos": _is_macos,
        "_macos_version": _macos_version,
    }
    loaded, attribute = sys.modules.get(native), vars(coremltools).get("libcoremlpython")
    before = {name: vars(m)[name] for m in _coremltools_modules() for name in ours if name in vars(m)}
    sys.modules[native] = module
    vars(coremltools)["libcoremlpython"] = module
    _put(ours)
    try:
        yield
    finally:
        _put(before)  # also in modules of coremltools that were imported inside the block
        _restore(sys.modules, native, loaded)
        _restore(vars(coremltools), "libcoremlpython", attribute)


def _is_macos() -> bool:
    return True


def _macos_version() -> tuple[int, ...]:
    return MACOS_VERSION


def _coremltools_modules() -> list[types.ModuleType]:
    return [m for name, m in list(sys.modules.items()) if name.split(".")[0] == "coremltools" and m is not None]


def _put(values: Mapping[str, Any]) -> None:
    for module in _coremltools_modules():
        for name, value in values.items():
            if name in vars(module):
                setattr(module, name, value)


def _restore(where: Any, name: str, value: Any) -> None:
    if value is None:
        where.pop(name, None)
    else:
        where[name] = value


@contextmanager
def _as_runtime_error(prefix: str = "") -> Iterator[None]:
    try:
        yield
    except MilrunError as error:
        raise RuntimeError(f"{prefix}{error}") from error


def _check_shape(name: str, declared: InputType, shape: tuple[int, ...]) -> None:
    if fault := declared.fault(shape):
        raise RuntimeError(f"input '{name}': {fault}")


def _array_from_image(item: Any, image: Any) -> np.ndarray:
    """PIL image -> float32 [1, 3 or 1, H, W] in the order of channels that the description names."""
    wanted = item.type.imageType
    if not hasattr(image, "getbands"):
        raise RuntimeError(f"input '{item.name}' is an image, got {type(image).__name__}")
    pixels = np.asarray(image, dtype=np.float32)
    if pixels.ndim == 2:
        return pixels[None, None]  # [H, W] -> [1, 1, H, W]
    pixels = pixels[:, :, :3].transpose(2, 0, 1)  # [H, W, 3] -> [3, H, W]
    return np.ascontiguousarray(pixels[::-1] if wanted.colorSpace == _IMAGE.BGR else pixels)[None]


def _image_from_array(item: Any, array: np.ndarray) -> Any:
    """[1, 3 or 1, H, W] -> PIL image: RGBA, L or F; eight-bit pixels are clipped and rounded."""
    from PIL import Image

    space = item.type.imageType.colorSpace
    planes = array.reshape(array.shape[-3:])
    if space == _IMAGE.GRAYSCALE_FLOAT16:
        return Image.fromarray(planes[0].astype(np.float32))
    pixels = np.clip(np.rint(planes), 0, 255).astype(np.uint8)
    if space == _IMAGE.GRAYSCALE:
        return Image.fromarray(pixels[0])
    if space == _IMAGE.BGR:
        pixels = pixels[::-1]
    opaque = np.full_like(pixels[:1], 255)
    return Image.fromarray(np.ascontiguousarray(np.concatenate([pixels, opaque]).transpose(1, 2, 0)))


def _array_from_result(item: Any, result: Any) -> np.ndarray:
    dtype = _ARRAY_DTYPES.get(item.type.multiArrayType.dataType, np.float32)
    array = np.asarray(result).astype(dtype)
    return array.reshape(1) if array.ndim == 0 else array


_FROM_RESULT: dict[str, Callable[[Any, Any], Any]] = {
    "multiArrayType": _array_from_result,
    "imageType": _image_from_array,
    "stringType": lambda item, result: str(result),
    "int64Type": lambda item, result: int(result),
    "doubleType": lambda item, result: float(result),
    "dictionaryType": lambda item, result: {key: float(value) for key, value in result.items()},
}


def _value_from_result(item: Any, result: Any) -> Any:
    kind = item.type.WhichOneof("Type")
    if kind not in _FROM_RESULT:
        raise RuntimeError(f"output '{item.name}' is of kind {kind}, which milrun does not hand out")
    return _FROM_RESULT[kind](item, result)


__all__ = ["MACOS_VERSION", "ModelKindError", "ModelProxy", "StateProxy", "predictions"]
