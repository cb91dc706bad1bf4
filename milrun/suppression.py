"""Non-maximum suppression: the last part of most pipelines that find objects, a model of its own kind in Core ML.

Source: `NonMaximumSuppression.proto` and its validator, in coremltools' `mlmodel`. The comment on `iouThreshold` there
calls boxes similar whose overlap is less than it. That must be a slip: by the same file a threshold of 1.0 suppresses
nothing, so boxes are similar that overlap by more.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from milrun.coreml_proto import FeatureTypes
from milrun.errors import InputError, PackageError
from milrun.interface import InputType, Interval, array_of, check_names
from milrun.package import Package
from milrun.program import TensorType
from milrun.state import State

_ARRAY = FeatureTypes.ArrayFeatureType
_DTYPES = {_ARRAY.DOUBLE: "float64", _ARRAY.FLOAT32: "float32", _ARRAY.FLOAT16: "float16"}
_BOX = 4
_MOST_ROWS = 2**20  # that an output may be padded to


class Suppression:
    """Keeps the most confident of boxes that overlap.

    Args:
        package: whose specification is `nonMaximumSuppression`.

    Attributes:
        inputs: name -> type: confidence [n, classes] and coordinates [n, 4] (centre x, centre y, width, height); where
            they have names, the two thresholds [], which may be left out.
        outputs: name -> type: confidence [kept, classes] and coordinates [kept, 4].
        labels: of the classes, texts or numbers; empty where the model has none.
        per_class: whether a box suppresses only boxes of its own class.

    Raises:
        PackageError: a name is missing, a threshold is out of range, or a type is not one of floats.
    """

    functions: tuple[str, ...] = ()

    def __init__(self, package: Package) -> None:
        spec = package.spec.nonMaximumSuppression
        self.path = package.path
        self.states: dict[str, TensorType] = {}
        self.per_class = bool(spec.pickTop.perClass)
        labels = spec.WhichOneof("ClassLabels")
        self.labels = tuple(getattr(spec, labels).vector) if labels else ()
        described = {item.name: item.type for item in package.spec.description.input}
        results = {item.name: item.type for item in package.spec.description.output}
        self._confidence, self._coordinates = spec.confidenceInputFeatureName, spec.coordinatesInputFeatureName
        self._kept = (spec.confidenceOutputFeatureName, spec.coordinatesOutputFeatureName)
        self._iou = (spec.iouThresholdInputFeatureName, _threshold(self.path, "iouThreshold", spec.iouThreshold, 1))
        self._least = (
            spec.confidenceThresholdInputFeatureName,
            _threshold(self.path, "confidenceThreshold", spec.confidenceThreshold, None),
        )
        for names in ((self._confidence, self._coordinates), self._kept):
            if not all(names) or names[0] == names[1]:
                raise PackageError(f"{self.path}: non-maximum suppression without two names of boxes: {list(names)}")
        self._rows = _row_limits(self.path, [results[name] for name in self._kept if name in results])
        self.inputs = {
            self._confidence: _matrix_type(self.path, described.get(self._confidence), None),
            self._coordinates: _matrix_type(self.path, described.get(self._coordinates), _BOX),
        }
        for name, value in (self._iou, self._least):
            if name:
                self.inputs[name] = InputType("float64", (), default=value)
        self.outputs = self._output_types(results)

    def make_state(self) -> State:
        """It has no states: an empty set."""
        return State({})

    def predict(self, inputs: Mapping[str, Any], state: State | None = None) -> dict[str, np.ndarray]:
        """Suppress boxes.

        Args:
            inputs: name -> confidence [n, classes], coordinates [n, 4], and thresholds.
            state: ignored; there is none.

        Returns:
            The rows of both inputs that are kept, by falling confidence; zeros where the model declares more rows.

        Raises:
            InputError: wrong names, shapes, dtypes or thresholds.
        """
        check_names(self.path.name, self.inputs, inputs)
        confidence, coordinates = (
            _matrix(name, inputs[name], self.inputs[name]) for name in (self._confidence, self._coordinates)
        )
        if len(confidence) != len(coordinates):
            raise InputError(f"{len(confidence)} rows of confidence for {len(coordinates)} boxes")
        if self.labels and confidence.shape[1] != len(self.labels):
            raise InputError(f"confidence in {confidence.shape[1]} classes, the model has {len(self.labels)} labels")
        radius = _given(inputs, self._iou, 1)
        least = _given(inputs, self._least, None)
        kept = _picked(confidence, coordinates, radius, least, self.per_class)[: self._rows.high]
        arrays = zip(self._kept, (confidence, coordinates), strict=True)
        return {name: _padded(array[kept], self._rows.low, self.outputs[name].dtype) for name, array in arrays}

    def _output_types(self, results: Mapping[str, Any]) -> dict[str, TensorType]:
        types = {}
        for name, source in zip(self._kept, (self._confidence, self._coordinates), strict=True):
            given = self.inputs[source]
            dtype = _dtype(self.path, results[name]) if name in results else given.dtype
            rows = self._rows.low if self._rows.low == self._rows.high else None
            types[name] = TensorType(dtype, (rows, given.shape[1] if given.shape else None))
        return types


def _picked(
    confidence: np.ndarray, coordinates: np.ndarray, radius: float, least: float, per_class: bool
) -> np.ndarray:
    """Indices of the boxes to keep: int64 [kept], by falling confidence, equals in their order.

    Args:
        confidence: [n, classes]; a box's own is that of its likeliest class.
        coordinates: [n, 4], centre x, centre y, width, height.
        radius: boxes that overlap by more than this (intersection over union) are one.
        least: boxes below this confidence are left out.
        per_class: only boxes of one likeliest class are compared.
    """
    if not confidence.size:
        return np.zeros(0, np.int64)
    best, label = confidence.max(axis=1), confidence.argmax(axis=1)
    order = np.argsort(-best, kind="stable")
    left = order[best[order] >= least]
    boxes = coordinates.astype(np.float64)
    kept = []
    while left.size:
        top, left = left[0], left[1:]
        kept.append(top)
        close = _overlap(boxes[top], boxes[left]) > radius
        if per_class:
            close &= label[left] == label[top]
        left = left[~close]
    return np.array(kept, np.int64)


def _overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union: [4], [n, 4] -> [n]; 0 where both are empty."""
    low = np.maximum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    width, height = np.maximum(high - low, 0).T
    shared = width * height
    union = box[2] * box[3] + others[:, 2] * others[:, 3] - shared
    overlap = np.zeros(len(others))
    np.divide(shared, union, out=overlap, where=union > 0)
    return overlap.clip(0, 1)  # rounding makes some boxes overlap themselves by more than 1


def _padded(rows: np.ndarray, least: int, dtype: str) -> np.ndarray:
    missing = max(0, least - len(rows))
    return np.pad(rows, ((0, missing), (0, 0))).astype(dtype)


def _threshold(path: Any, name: str, value: float, most: float | None) -> float:
    if not _in_range(value, most):
        raise PackageError(f"{path}: {name} {value} is not {_range(most)}")
    return float(value)


def _given(inputs: Mapping[str, Any], threshold: tuple[str, float], most: float | None) -> float:
    name, usual = threshold
    if not name or name not in inputs:
        return usual
    array = array_of(name, inputs[name], TensorType("float64", ()))
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise InputError(f"input '{name}' is one number, got {array.dtype} {list(array.shape)}")
    value = float(array.reshape(()))
    if not _in_range(value, most):
        raise InputError(f"input '{name}' is {value}, not {_range(most)}")
    return value


def _in_range(value: float, most: float | None) -> bool:
    return value >= 0 and (most is None or value <= most)


def _range(most: float | None) -> str:
    return "a number from 0 on" if most is None else f"from 0 to {most}"


def _matrix_type(path: Any, item: Any, columns: int | None) -> InputType:
    if item is None:
        return InputType("float64", (None, columns))
    shape = tuple(item.multiArrayType.shape)
    if len(shape) == 2 and item.multiArrayType.WhichOneof("ShapeFlexibility") is None:
        columns = columns or shape[1] or None
    return InputType(_dtype(path, item), (None, columns))


def _dtype(path: Any, item: Any) -> str:
    if item.WhichOneof("Type") != "multiArrayType" or item.multiArrayType.dataType not in _DTYPES:
        raise PackageError(f"{path}: non-maximum suppression of values that are not arrays of floats")
    return _DTYPES[item.multiArrayType.dataType]


def _row_limits(path: Any, items: list[Any]) -> Interval:
    """How many rows the outputs must and may have; either of them may say it."""
    low, high = 0, None
    for array in (item.multiArrayType for item in items):
        flexibility = array.WhichOneof("ShapeFlexibility")
        if flexibility == "enumeratedShapes":
            raise PackageError(f"{path}: non-maximum suppression with enumerated shapes; a range is allowed")
        if flexibility == "shapeRange" and array.shapeRange.sizeRanges:
            rows = array.shapeRange.sizeRanges[0]
            least, most = rows.lowerBound, None if rows.upperBound < 0 else rows.upperBound
        elif len(array.shape) == 2:
            least = most = array.shape[0]
        else:
            continue
        low = max(low, least)
        high = most if high is None else high if most is None else min(high, most)
    if low > _MOST_ROWS:
        raise PackageError(f"{path}: non-maximum suppression that fills up to {low} boxes; milrun fills {_MOST_ROWS}")
    if high is not None and low > high:
        raise PackageError(f"{path}: non-maximum suppression that must keep {low} boxes and at most {high}")
    return Interval(low, high)


def _matrix(name: str, value: Any, want: InputType) -> np.ndarray:
    array = array_of(name, value, want)
    columns = want.shape[1] if want.shape else None
    if array.ndim != 2 or array.dtype.kind not in "fiu" or (columns is not None and array.shape[1] != columns):
        raise InputError(f"input '{name}' is {want}, got {array.dtype} {list(array.shape)}")
    with np.errstate(over="ignore"):  # beyond the dtype's range is infinite
        return array.astype(want.dtype)
