"""An ML Program as plain data: functions, blocks, operations, types and constants."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from milrun.blob import WeightFile, unpack_bits
from milrun.errors import PackageError
from milrun.numerics import DTYPE_NAMES, FLOATS, INTS, SUB_BYTE_BITS, numpy_dtype
from milrun.opsets import OPSETS
from milrun.package import Package

# Field of an immediate value (MIL.proto, TensorValue) -> the dtypes that it may hold; any number may be in `bytes`.
_FIELD_DTYPES = {
    "floats": FLOATS,
    "doubles": FLOATS,
    "ints": INTS | SUB_BYTE_BITS.keys(),
    "longInts": INTS | SUB_BYTE_BITS.keys(),
    "bools": {"bool"},
    "strings": {"string"},
}
_INPUT_DTYPES = FLOATS | INTS | {"bool"}
_MOST_ELEMENTS = 2**48  # of a constant, over its non-zero dimensions; NumPy's sizes end at 2^63 bytes


@dataclass(frozen=True)
class TensorType:
    """dtype and shape; None is a dimension known only at run time, `shape=None` an unknown rank."""

    dtype: str
    shape: tuple[int | None, ...] | None
    is_state: bool = False

    def __str__(self) -> str:
        dims = "*" if self.shape is None else ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.dtype} [{dims}]"


@dataclass(frozen=True)
class ListType:
    """A list whose elements are tensors."""

    element: TensorType
    length: int | None

    def __str__(self) -> str:
        return f"list of {self.element}"


ValueType = TensorType | ListType


@dataclass(frozen=True)
class Const:
    """A constant of the program, read when asked for."""

    type: ValueType
    read: Callable[[], Any] = field(repr=False)

    def numpy(self) -> np.ndarray:
        """The stored value, in its stored dtype."""
        return np.asarray(self.read())


@dataclass(frozen=True)
class Ref:
    """A value made by another op, or an input of the block."""

    name: str


Binding = Ref | Const


@dataclass(frozen=True)
class Operation:
    """One op: inputs by MIL parameter name, each a binding or, for variadic parameters, several.

    `scope` is the path of the PyTorch module that the op came from, empty where the package does not say.
    """

    type: str
    name: str
    inputs: dict[str, tuple[Binding, ...]]
    outputs: tuple[tuple[str, ValueType], ...]
    blocks: "tuple[Block, ...]"
    scope: str = ""


@dataclass(frozen=True)
class Block:
    """A sequence of ops with inputs and the names it yields."""

    inputs: tuple[tuple[str, ValueType], ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]

    def walk(self) -> Iterator[Operation]:
        """Every op, nested blocks included."""
        for operation in self.operations:
            yield operation
            for block in operation.blocks:
                yield from block.walk()


@dataclass(frozen=True)
class Function:
    """One entry point: its opset and its block."""

    name: str
    opset: str
    block: Block

    @cached_property
    def op_counts(self) -> dict[str, int]:
        """Op type -> how often it occurs, constants left out."""
        counts: dict[str, int] = {}
        for operation in self.block.walk():
            if operation.type != "const":
                counts[operation.type] = counts.get(operation.type, 0) + 1
        return counts


@dataclass(frozen=True)
class Program:
    """The functions of a package."""

    functions: dict[str, Function]
    default_function: str


def not_run(spec: Any) -> str:
    """What a model is that milrun does not run, and the way out."""
    kind = spec.WhichOneof("Type") or "an empty model"
    if kind.startswith("neuralNetwork"):
        return f"is a neural network ({kind}): convert the original model again, with convert_to='mlprogram'"
    return f"is {kind}: milrun runs ML Programs, non-maximum suppression, and pipelines of them"


def parse_program(package: Package) -> Program:
    """Turn a package's protobuf into a `Program`.

    Raises:
        PackageError: not an ML Program, or a damaged one.
    """
    if package.spec.WhichOneof("Type") != "mlProgram":
        raise PackageError(f"{package.path} {not_run(package.spec)}")
    parser = _Parser(package)
    functions = {name: parser.function(name, spec) for name, spec in package.spec.mlProgram.functions.items()}
    if not functions:
        raise PackageError(f"{package.path} holds no function")
    default = package.spec.description.defaultFunctionName or ("main" if "main" in functions else sorted(functions)[0])
    return Program(functions=functions, default_function=default)


def _check_names(block: Block, made: set[str]) -> None:
    """Every value is made before it is read (a cycle would read one that is not), and made once.

    Blocks side by side may each make a value of one name, which nobody else sees; `made` is left as it was.
    """
    own: list[str] = []

    def make(name: str, maker: str) -> None:
        if name in made:
            raise PackageError(f"{maker} makes '{name}', which is made already")
        made.add(name)
        own.append(name)

    def require(name: str, reader: str) -> None:
        if name not in made:
            raise PackageError(f"{reader} reads '{name}' before it is made")

    for name, _ in block.inputs:
        make(name, "an input")
    for operation in block.operations:
        who = f"op '{operation.name}' ({operation.type})"
        for bindings in operation.inputs.values():
            for binding in bindings:
                if isinstance(binding, Ref):
                    require(binding.name, who)
        for nested in operation.blocks:
            _check_names(nested, made)
        for name, _ in operation.outputs:
            make(name, who)
    for name in block.outputs:
        require(name, "the block's output")
    made.difference_update(own)


def _check_inputs(function: str, inputs: tuple[tuple[str, ValueType], ...]) -> None:
    for name, declared in inputs:
        where = f"input '{name}' of function '{function}' is {declared}"
        if not isinstance(declared, TensorType) or declared.dtype not in _INPUT_DTYPES:
            raise PackageError(f"{where}; milrun takes tensors of numbers and booleans")
        if declared.is_state and (declared.shape is None or None in declared.shape):
            raise PackageError(f"{where}; a state has a fixed shape")


def _check_const(operation: Operation) -> None:
    values = operation.inputs.get("val", ())
    one_value = len(values) == 1 and isinstance(values[0], Const)
    if not one_value or len(operation.outputs) != 1 or operation.blocks:
        raise PackageError(f"const '{operation.name}' is not one value under one name")


class _Parser:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._files: dict[str, WeightFile] = {}
        self._blobs: dict[tuple[str, int, ValueType], Const] = {}
        self._scopes: dict[str, str] = {}
        self._types: dict[bytes, ValueType] = {}  # few types, each of many values

    def function(self, name: str, spec: Any) -> Function:
        if spec.opset not in spec.block_specializations:
            raise PackageError(f"function '{name}' has no block for its opset {spec.opset}")
        if spec.opset not in OPSETS:
            raise PackageError(f"function '{name}' is of the opset {spec.opset!r}; milrun knows {', '.join(OPSETS)}")
        self._scopes = self._package.scopes.get(name, {})
        block = spec.block_specializations[spec.opset]
        inputs = tuple((item.name, self.type(item.type)) for item in spec.inputs)
        parsed = self.block(block)
        whole = Block(inputs, parsed.outputs, parsed.operations)
        _check_inputs(name, inputs)
        _check_names(whole, set())
        return Function(name, OPSETS[spec.opset], whole)

    def block(self, spec: Any) -> Block:
        return Block(
            inputs=tuple((item.name, self.type(item.type)) for item in spec.inputs),
            outputs=tuple(spec.outputs),
            operations=tuple(self.operation(item) for item in spec.operations),
        )

    def operation(self, spec: Any) -> Operation:
        outputs = tuple((item.name, self.type(item.type)) for item in spec.outputs)
        name = outputs[0][0] if outputs else spec.type
        inputs = {key: tuple(self.binding(b) for b in arg.arguments) for key, arg in spec.inputs.items()}
        # `const` and the iOS16 constexpr ops keep their values among the attributes.
        for key, value in spec.attributes.items():
            if key != "name":
                inputs[key] = (self.const(value),)
        blocks = tuple(self.block(b) for b in spec.blocks)
        operation = Operation(spec.type, name, inputs, outputs, blocks, self._scopes.get(name, ""))
        if spec.type == "const":
            _check_const(operation)
        return operation

    def binding(self, spec: Any) -> Binding:
        return Ref(spec.name) if spec.WhichOneof("binding") == "name" else self.const(spec.value)

    def type(self, spec: Any) -> ValueType:
        key = spec.SerializeToString()
        if key not in self._types:
            self._types[key] = self._read_type(spec)
        return self._types[key]

    def _read_type(self, spec: Any) -> ValueType:
        kind = spec.WhichOneof("type")
        if kind == "tensorType":
            return self._tensor_type(spec.tensorType)
        if kind == "stateType":
            wrapped = self._tensor_type(spec.stateType.wrappedType.tensorType)
            return TensorType(wrapped.dtype, wrapped.shape, is_state=True)
        if kind == "listType":
            element = self.type(spec.listType.type)
            if not isinstance(element, TensorType):
                raise PackageError("a list of lists is not an ML Program type")
            return ListType(element, _dimension(spec.listType.length))
        if kind == "dictionaryType":  # what `classify` yields: label -> probability
            return TensorType("dictionary", None)
        raise PackageError(f"unknown value type {kind}")

    def _tensor_type(self, spec: Any) -> TensorType:
        if spec.dataType not in DTYPE_NAMES:
            raise PackageError(f"unknown dtype {spec.dataType}")
        if spec.rank < 0 or any(d.WhichOneof("dimension") == "unknown" and d.unknown.variadic for d in spec.dimensions):
            return TensorType(DTYPE_NAMES[spec.dataType], None)
        return TensorType(DTYPE_NAMES[spec.dataType], tuple(_dimension(d) for d in spec.dimensions))

    def const(self, spec: Any) -> Const:
        value_type = self.type(spec.type)
        if spec.WhichOneof("value") == "blobFileValue":
            blob = spec.blobFileValue
            # One object a blob: functions that share a weight share what is made of it.
            key = (blob.fileName, blob.offset, value_type)
            if key not in self._blobs:
                self._blobs[key] = Const(value_type, self._blob_reader(blob, value_type))
            return self._blobs[key]
        value = _immediate(spec.immediateValue, value_type)  # a damaged one is found at load, not in the first run
        return Const(value_type, lambda: value)

    def _blob_reader(self, blob: Any, value_type: ValueType) -> Callable[[], np.ndarray]:
        if not isinstance(value_type, TensorType) or value_type.dtype == "string":
            raise PackageError(f"only numbers can live in a weight file, not {value_type}")
        shape = _static_shape(value_type)
        if blob.fileName not in self._files:
            self._files[blob.fileName] = WeightFile(self._package.weight_path(blob.fileName))
        file = self._files[blob.fileName]
        file.locate(blob.offset, value_type.dtype, shape)  # a damaged file is found at load, not in the first run
        return lambda: file.read(blob.offset, value_type.dtype, shape)


def _dimension(spec: Any) -> int | None:
    return int(spec.constant.size) if spec.WhichOneof("dimension") == "constant" else None


def _static_shape(value_type: TensorType) -> tuple[int, ...]:
    if value_type.shape is None or any(d is None for d in value_type.shape):
        raise PackageError(f"a constant of unknown shape: {value_type}")
    if math.prod(d for d in value_type.shape if d) > _MOST_ELEMENTS:
        raise PackageError(f"a constant of an absurd shape: {value_type}")
    return tuple(d for d in value_type.shape if d is not None)


def _immediate(spec: Any, value_type: ValueType) -> Any:
    kind = spec.WhichOneof("value")
    if kind == "tensor" and isinstance(value_type, TensorType):
        return _immediate_tensor(spec.tensor, value_type)
    if kind == "list" and isinstance(value_type, ListType):
        return [_immediate(item.immediateValue, value_type.element) for item in spec.list.values]
    raise PackageError(f"a constant of kind {kind} where {value_type} is declared")


def _immediate_tensor(spec: Any, value_type: TensorType) -> np.ndarray:
    field_name = spec.WhichOneof("value")
    shape = _static_shape(value_type)
    count = math.prod(shape)
    dtype = numpy_dtype(value_type.dtype)
    if field_name is None:
        flat = np.zeros(0, dtype=dtype)
    elif value_type.dtype not in _FIELD_DTYPES.get(field_name, _INPUT_DTYPES | SUB_BYTE_BITS.keys()):
        raise PackageError(f"a constant holds {field_name} where {value_type} is declared")
    elif field_name == "bytes":
        raw = np.frombuffer(bytearray(spec.bytes.values), dtype=np.uint8)
        flat = unpack_bits(raw, value_type.dtype, count) if value_type.dtype in SUB_BYTE_BITS else _view(raw, dtype)
    else:
        flat = _converted(list(getattr(spec, field_name).values), dtype, value_type)
    if flat.size != count:
        raise PackageError(f"a constant holds {flat.size} elements, {value_type} needs {count}")
    return flat.reshape(shape)


def _converted(values: list[Any], dtype: np.dtype, value_type: TensorType) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # beyond the dtype's range is infinite
            return np.array(values, dtype=dtype)
    except OverflowError as error:
        raise PackageError(f"a constant does not fit {value_type}: {error}") from error


def _view(raw: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if raw.size % dtype.itemsize:
        raise PackageError(f"a constant of {raw.size} bytes is not made of {dtype}")
    return raw.view(dtype)
