"""The program of `model.mil` as the protobuf that a package holds.

    program(1.0) ATTRIBUTES { FUNCTION ... }
    FUNCTION   : func NAME<ios18>(TYPE NAME, ...) ATTRIBUTES { STATEMENT ... } -> (NAME, ...);
    STATEMENT  : TYPE NAME, ... = OP(NAME = ARGUMENT, ...) ATTRIBUTES;   without `TYPE NAME =` where it yields nothing
    ARGUMENT   : NAME | VALUE | (ARGUMENT, ...)
    ATTRIBUTES : [NAME = VALUE, ...], or nothing

Seen in files of coremlc 1436.100.10 to 3520.5.1. How it writes blocks within an op (`cond`, `while_loop`) is not known
from any public file; such an op is refused by name.
"""

from typing import Any

from milrun.compiled.tokens import Tokens
from milrun.compiled.types import read_type
from milrun.compiled.values import read_value, starts_value
from milrun.coreml_proto import MIL
from milrun.opsets import OPSETS

_OPSET_NAMES = {name.lower(): number for number, name in OPSETS.items()}
_VERSIONS = ("1.0", "1.3")
_WITH_BLOCKS = frozenset({"cond", "while_loop", "map", "reduce", "call"})


def program_from_text(text: str, source: str) -> Any:
    """Parse a program.

    Args:
        text: of `model.mil`.
        source: the file's name, for messages.

    Returns:
        `MIL_pb2.Program`.

    Raises:
        PackageError: with line and column: what is no MIL, or a construct that milrun does not know.
    """
    tokens = Tokens(text, source)
    program = MIL.Program(version=1)
    tokens.expect("program")
    tokens.expect("(")
    version = tokens.of_kind("number")
    if version.text not in _VERSIONS:
        tokens.fail(f"MIL's version {version.text}; milrun reads {' and '.join(_VERSIONS)}", version.start)
    tokens.expect(")")
    _attributes(tokens)
    tokens.expect("{")
    while not tokens.accept("}"):
        _read_function(tokens, program.functions)
    if tokens.peek().kind != "end":
        tokens.fail(f"'{tokens.peek().text[:40]}' stands behind the program")
    return program


def _read_function(tokens: Tokens, functions: Any) -> None:
    tokens.expect("func")
    name = tokens.of_kind("name")
    if name.text in functions:
        tokens.fail(f"a second function {name.text}", name.start)
    function = functions[name.text]
    tokens.expect("<")
    opset = tokens.of_kind("name")
    if opset.text not in _OPSET_NAMES:
        tokens.fail(f"the opset {opset.text}; milrun knows {', '.join(_OPSET_NAMES)}", opset.start)
    function.opset = _OPSET_NAMES[opset.text]
    tokens.expect(">")
    tokens.expect("(")
    _typed_names(tokens, function.inputs, ")")
    tokens.expect(")")
    _attributes(tokens)
    block = function.block_specializations[function.opset]
    tokens.expect("{")
    while not tokens.accept("}"):
        _read_statement(tokens, block.operations.add())
    tokens.expect("->")
    tokens.expect("(")
    while tokens.peek().text != ")":
        block.outputs.append(tokens.of_kind("name").text)
        if not tokens.accept(","):
            break
    tokens.expect(")")
    tokens.accept(";")


def _read_statement(tokens: Tokens, operation: Any) -> None:
    if tokens.peek(1).text != "(" or starts_value(tokens):
        _typed_names(tokens, operation.outputs, "=")
        tokens.expect("=")
    kind = tokens.of_kind("name")
    operation.type = kind.text
    tokens.expect("(")
    while tokens.peek().text != ")":
        _read_argument(tokens, operation.inputs[tokens.of_kind("name").text])
        if not tokens.accept(","):
            break
    tokens.expect(")")
    for name, value in _attributes(tokens).items():
        operation.attributes[name].CopyFrom(value)
    if kind.text in _WITH_BLOCKS or tokens.peek().text != ";":
        tokens.fail(
            f"milrun does not read {kind.text} with blocks in a compiled model: give its .mlpackage", kind.start
        )
    tokens.expect(";")


def _typed_names(tokens: Tokens, items: Any, end: str) -> None:
    while tokens.peek().text != end:
        item = items.add()
        item.type.CopyFrom(read_type(tokens))
        item.name = tokens.of_kind("name").text
        if not tokens.accept(","):
            break


def _read_argument(tokens: Tokens, argument: Any) -> None:
    tokens.expect("=")
    if not tokens.accept("("):
        _read_binding(tokens, argument.arguments.add())
        return
    while tokens.peek().text != ")":
        _read_binding(tokens, argument.arguments.add())
        if not tokens.accept(","):
            break
    tokens.expect(")")


def _read_binding(tokens: Tokens, binding: Any) -> None:
    if starts_value(tokens):
        binding.value.CopyFrom(read_value(tokens))
    else:
        binding.name = tokens.of_kind("name").text


def _attributes(tokens: Tokens) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tokens.accept("["):
        while tokens.peek().text != "]":
            name = tokens.of_kind("name").text
            tokens.expect("=")
            found[name] = read_value(tokens)
            if not tokens.accept(","):
                break
        tokens.expect("]")
    return found
