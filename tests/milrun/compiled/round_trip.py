"""A package, written as a compiled model and read back, is the same program with the same interface."""

import itertools

import numpy as np

from milrun.package import open_package
from milrun.program import Const, Ref, TensorType, parse_program
from tests.milrun.compiled.mil_text import model_bytes, name_in_text, write_compiled


def assert_same_when_compiled(package, scratch):
    """Both forms of the text; returns the folder of the last, an .mlmodelc."""
    for version in ("1.0", "1.3"):
        folder = write_compiled(package, scratch / f"{version}.mlmodelc", version)
        expected, found = open_package(package), open_package(folder)
        assert model_bytes(found.spec) == model_bytes(expected.spec)
        assert_same_programs(parse_program(found), parse_program(expected))
    return folder


def assert_same_programs(found, expected):
    assert found.functions.keys() == expected.functions.keys()
    assert found.default_function == expected.default_function
    for name, function in expected.functions.items():
        other = found.functions[name]
        assert other.opset == function.opset
        assert other.block.inputs == renamed(function.block.inputs)
        assert other.block.outputs == tuple(map(name_in_text, function.block.outputs))
        for one, two in itertools.zip_longest(other.block.operations, function.block.operations):
            assert_same_operations(one, two)


def assert_same_operations(found, expected):
    assert (found.type, found.outputs, found.scope) == (expected.type, renamed(expected.outputs), expected.scope)
    assert found.inputs.keys() == expected.inputs.keys(), expected
    for name, bindings in expected.inputs.items():
        for one, two in itertools.zip_longest(found.inputs[name], bindings):
            if isinstance(two, Ref):
                assert one == Ref(name_in_text(two.name))
            else:
                assert_same_constants(one, two)


def assert_same_constants(found, expected):
    assert isinstance(found, Const)
    assert found.type == expected.type
    one, two = (value.read() for value in (found, expected))
    for a, b in zip(one, two, strict=True) if isinstance(two, list) else [(one, two)]:
        np.testing.assert_array_equal(a, b)
        assert np.asarray(a).dtype == np.asarray(b).dtype or not isinstance(expected.type, TensorType)


def renamed(values):
    return tuple((name_in_text(name), declared) for name, declared in values)
