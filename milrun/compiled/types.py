"""Types of MIL's text form as protobuf messages.

    TYPE : tensor<DTYPE, [SIZE, ?, ...]> | DTYPE | list<TYPE, SIZE> | state<TYPE> | dict<TYPE, TYPE> | tuple<TYPE, ...>

`program(1.3)` writes a scalar's type as its dtype, `program(1.0)` as a tensor of rank 0; both mean the same.
"""

from typing import Any

from milrun.compiled.tokens import Tokens
from milrun.coreml_proto import MIL
from milrun.numerics import DTYPE_NAMES

DTYPE_NUMBERS = {name: number for number, name in DTYPE_NAMES.items()}
_SHORT = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}
_UNRUN = frozenset({"bf16", "fp8e4m3fn", "fp8e5m2"})
COMPOSED = frozenset({"tensor", "list", "state", "dict", "tuple"})
_DEEPEST = 16


def starts_type(tokens: Tokens, ahead: int = 0) -> bool:
    """Whether a type stands here: a composed one, or the name of a dtype."""
    token = tokens.peek(ahead)
    return token.kind == "name" and (token.text in COMPOSED or _dtype_name(token.text) in DTYPE_NUMBERS)


def read_type(tokens: Tokens, depth: int = 0) -> Any:
    """The type that stands here, as a `ValueType`.

    Raises:
        PackageError: no type, or one that milrun does not know.
    """
    if depth > _DEEPEST:
        tokens.fail("a type within a type, too deep")
    result = MIL.ValueType()
    kind = tokens.peek().text
    if kind not in COMPOSED:
        result.tensorType.dataType = _dtype(tokens)
        return result
    tokens.take()
    tokens.expect("<")
    if kind == "tensor":
        _read_tensor(tokens, result.tensorType)
    elif kind == "list":
        result.listType.type.CopyFrom(read_type(tokens, depth + 1))
        tokens.expect(",")
        _read_size(tokens, result.listType.length)
    elif kind == "state":
        result.stateType.wrappedType.CopyFrom(read_type(tokens, depth + 1))
    elif kind == "dict":
        result.dictionaryType.keyType.CopyFrom(read_type(tokens, depth + 1))
        tokens.expect(",")
        result.dictionaryType.valueType.CopyFrom(read_type(tokens, depth + 1))
    else:
        result.tupleType.SetInParent()
        while tokens.peek().text != ">":
            result.tupleType.types.append(read_type(tokens, depth + 1))
            if not tokens.accept(","):
                break
    tokens.expect(">")
    return result


def _read_tensor(tokens: Tokens, tensor: Any) -> None:
    tensor.dataType = _dtype(tokens)
    tokens.expect(",")
    tokens.expect("[")
    while tokens.peek().text != "]":
        _read_size(tokens, tensor.dimensions.add())
        if not tokens.accept(","):
            break
    tokens.expect("]")
    tensor.rank = len(tensor.dimensions)


def _read_size(tokens: Tokens, dimension: Any) -> None:
    if tokens.accept("?"):
        dimension.unknown.variadic = False
        return
    token = tokens.of_kind("number")
    if not token.text.isdecimal() or int(token.text) >= 2**63:
        tokens.fail(f"{token.text} is no size", token.start)
    dimension.constant.size = int(token.text)


def _dtype(tokens: Tokens) -> int:
    token = tokens.of_kind("name")
    name = _dtype_name(token.text)
    if name not in DTYPE_NUMBERS:
        what = "runs no values of the type" if token.text in _UNRUN else "knows no type"
        tokens.fail(f"milrun {what} {token.text}", token.start)
    return DTYPE_NUMBERS[name]


def _dtype_name(text: str) -> str:
    return _SHORT.get(text, text)
