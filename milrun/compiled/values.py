"""Values of MIL's text form as protobuf messages: `TYPE(LITERAL)`.

    LITERAL : number | "string" | true | false | [LITERAL, ...] | BLOBFILE(path = VALUE, offset = VALUE)
            | {{LITERAL, LITERAL}, ...} | (LITERAL, ...)

Floats are decimal, or hexadecimal as C's `%a` writes them, which is exact.
"""

from typing import Any

import numpy as np

from milrun.compiled.tokens import Tokens
from milrun.compiled.types import COMPOSED, read_type, starts_type
from milrun.coreml_proto import MIL
from milrun.numerics import DTYPE_NAMES, FLOATS, SUB_BYTE_BITS, numpy_dtype

_TRUTH = {"true": True, "false": False}
# Field of the message (MIL.proto, TensorValue) that holds elements of a dtype; `bytes` all others.
_FIELDS = {"bool": "bools", "string": "strings", "float32": "floats", "float64": "doubles", "int32": "ints",
           "int64": "longInts", "uint64": "longInts"}  # fmt: skip


def starts_value(tokens: Tokens) -> bool:
    """Whether a value stands here: a type, and a parenthesis or its arguments behind it."""
    return starts_type(tokens) and tokens.peek(1).text == ("<" if tokens.peek().text in COMPOSED else "(")


def read_value(tokens: Tokens) -> Any:
    """The value that stands here, as a `Value`.

    Raises:
        PackageError: no value, one that does not fit its type, or one that milrun does not know.
    """
    value = MIL.Value(type=read_type(tokens))
    tokens.expect("(")
    kind = value.type.WhichOneof("type")
    if tokens.peek().text == "BLOBFILE" and kind == "tensorType":
        _read_blob(tokens, value.blobFileValue)
    elif kind == "tensorType":
        _read_tensor(tokens, value.type.tensorType, value.immediateValue.tensor)
    elif kind == "listType":
        _read_list(tokens, value.type.listType.type, value.immediateValue.list)
    else:
        _skip(tokens)  # build information and flexible shapes: the interface says them too
    tokens.expect(")")
    return value


def _read_blob(tokens: Tokens, blob: Any) -> None:
    tokens.expect("BLOBFILE")
    tokens.expect("(")
    found = {}
    for _ in range(2):
        name = tokens.of_kind("name").text
        tokens.expect("=")
        found[name] = read_value(tokens).immediateValue.tensor
        tokens.accept(",")
    tokens.expect(")")
    paths, offsets = (found[name] if name in found else tokens.fail(f"BLOBFILE without {name}")
                      for name in ("path", "offset"))  # fmt: skip
    if len(paths.strings.values) != 1 or len(offsets.longInts.values) != 1 or offsets.longInts.values[0] < 0:
        tokens.fail("BLOBFILE wants one string and one offset")
    blob.fileName, blob.offset = paths.strings.values[0], offsets.longInts.values[0]


def _read_tensor(tokens: Tokens, type: Any, tensor: Any) -> None:
    dtype, start = DTYPE_NAMES[type.dataType], tokens.peek().start
    elements = _elements(tokens, dtype)
    field = _FIELDS.get(dtype, "bytes")
    if field != "bytes":
        getattr(tensor, field).SetInParent()
        try:
            getattr(tensor, field).values.extend(elements)
        except (TypeError, ValueError) as error:
            tokens.fail(f"{dtype} out of range: {error}", start)
    elif dtype in SUB_BYTE_BITS:
        tensor.ints.SetInParent()
        tensor.ints.values.extend(_in_range(tokens, elements, SUB_BYTE_BITS[dtype], dtype.startswith("u"), start))
    else:
        with np.errstate(over="ignore"):
            try:
                tensor.bytes.values = np.array(elements, numpy_dtype(dtype)).tobytes()
            except (OverflowError, ValueError) as error:
                tokens.fail(f"{dtype} out of range: {error}", start)


def _in_range(tokens: Tokens, elements: list[Any], bits: int, unsigned: bool, start: int) -> list[int]:
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if elements and not low <= min(elements) <= max(elements) <= high:
        tokens.fail(f"an element that {bits} bits do not hold", start)
    return elements


def _elements(tokens: Tokens, dtype: str) -> list[Any]:
    """The elements of a tensor in their order, however deep the brackets nest."""
    found: list[Any] = []
    depth = 0
    while True:
        if tokens.accept("["):
            depth += 1
            if tokens.peek().text == "]":
                continue
        elif tokens.accept("]"):
            depth -= 1
        else:
            found.append(_element(tokens, dtype))
        while depth and tokens.accept("]"):
            depth -= 1
        if not depth:
            return found
        tokens.accept(",")


def _element(tokens: Tokens, dtype: str) -> Any:
    if dtype == "string":
        return tokens.string()
    token = tokens.take()
    if dtype == "bool":
        if token.text not in _TRUTH:
            tokens.fail(f"true or false is expected, '{token.text}' stands here", token.start)
        return _TRUTH[token.text]
    if token.kind != "number":
        tokens.fail(f"a number is expected, '{token.text[:40]}' stands here", token.start)
    try:
        return _float(token.text) if dtype in FLOATS else int(token.text, 0)
    except (ValueError, OverflowError):
        tokens.fail(f"{token.text} is no {dtype}", token.start)


def _float(text: str) -> float:
    return float.fromhex(text) if "x" in text.lower() else float(text)


def _read_list(tokens: Tokens, type: Any, items: Any) -> None:
    items.SetInParent()
    if type.WhichOneof("type") != "tensorType":
        tokens.fail("milrun knows lists of tensors only")
    closing = {"[": "]", "(": ")", "{": "}"}.get(tokens.peek().text)
    if closing is None:
        tokens.fail(f"a list is expected, '{tokens.peek().text[:40]}' stands here")
    tokens.take()
    while tokens.peek().text != closing:
        item = items.values.add()
        if starts_value(tokens):
            item.CopyFrom(read_value(tokens))
        else:
            item.type.CopyFrom(type)
            _read_tensor(tokens, type.tensorType, item.immediateValue.tensor)
        if not tokens.accept(","):
            break
    tokens.expect(closing)


def _skip(tokens: Tokens) -> None:
    """Pass what stands between two parentheses."""
    depth = 0
    while depth or tokens.peek().text != ")":
        token = tokens.take()
        if token.kind == "end":
            tokens.fail("the file ends within a value")
        if token.kind == "mark":
            depth += (token.text in "([{") - (token.text in ")]}")
