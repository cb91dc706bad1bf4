"""The text form itself: what it says, and what is refused by name, with line and column."""

import random

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

import milrun
from milrun import PackageError
from milrun.compiled.program import program_from_text
from tests.milrun.compiled.mil_text import write_compiled
from tests.milrun.harness import save_program

ADD = """program(1.3)
[buildInfo = dict<string, string>({{"coremlc-version", "3520.5.1"}})]
{
    func main<ios18>(tensor<fp32, [2]> x) [FlexibleShapeInformation = tuple<>()] { // a comment
        fp32 half = const()[name = string("half"), val = fp32(0x1p-1)];
        tensor<fp32, [2]> y = add(x = x, y = half)[name = string("y")];
    } -> (y);
}
"""


def folder_of(text, folder):
    folder = folder / "a.mlmodelc"
    folder.mkdir()
    (folder / "model.mil").write_text(text, encoding="utf-8")
    return folder


def test_without_an_interface_the_text_alone_says_the_types(tmp_path):
    model = milrun.load(folder_of(ADD, tmp_path))
    (y,) = model.predict({"x": np.array([1, 2], np.float32)}).values()
    np.testing.assert_array_equal(y, [1.5, 2.5])
    assert str(model.inputs["x"]) == "float32 [2]"


@pytest.mark.parametrize(
    ("before", "after", "line", "reason"),
    [
        ("program(1.3)", "program(2.0)", 1, "MIL's version 2.0; milrun reads 1.0 and 1.3"),
        ("ios18", "ios99", 4, "the opset ios99; milrun knows ios15"),
        ("fp32 half", "fp128 half", 5, "milrun knows no type fp128"),
        ("fp32 half", "bf16 half", 5, "milrun runs no values of the type bf16"),
        ("0x1p-1", "0x1p-1, 3", 5, "')' is expected, ',' stands here"),
        ("0x1p-1", "true", 5, "a number is expected, 'true' stands here"),
        ("val = fp32(0x1p-1)", "val = int8(0x1p-1)", 5, "0x1p-1 is no int8"),
        ('string("half"), val = fp32(0x1p-1)', 'string("half"), val = int8(300)', 5, "int8 out of range"),
        ("tensor<fp32, [2]> y", "tensor<fp32, [-2]> y", 6, "-2 is no size"),
        ("add(x", "add(x, x", 6, "'=' is expected"),
        ('[name = string("y")];', '[name = string("\\q")];', 6, "does not know the escape \\q"),
        ('[name = string("y")];', '[name = string("y")] { };', 6, "does not read add with blocks"),
        ("add(x = x, y = half)", "while_loop(x = x)", 6, "does not read while_loop with blocks"),
        ("-> (y)", "-> [y]", 7, "'(' is expected, '[' stands here"),
        ("} -> (y);\n}\n", "} -> (y);\n", 8, "'func' is expected, the end of the file stands here"),
        ("// a comment", "\u00a7", 4, "'\u00a7' is not MIL"),
        ("func main<ios18>", "func main<ios18>() {} -> (); func main<ios18>", 4, "a second function main"),
    ],
)
def test_what_is_not_known_is_refused_where_it_stands(before, after, line, reason):
    assert before in ADD
    with pytest.raises(PackageError) as refused:
        program_from_text(ADD.replace(before, after), "model.mil")
    assert str(refused.value).startswith(f"model.mil line {line}, column ")
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "model.mil").unlink(), "has no model.mil"),
        (lambda folder: (folder / "model.mil").write_bytes(b"\xff\xfe"), "cannot read"),
        (lambda folder: (folder / "coremldata.bin").write_bytes(b""), "is damaged, or of a layout"),
        (lambda folder: cut(folder / "coremldata.bin", 100), "truncated"),
        (lambda folder: cut(folder / "weights" / "weight.bin", 80), "truncated"),
        (lambda folder: (folder / "weights" / "weight.bin").unlink(), "weight file"),
    ],
)
def test_damaged_parts(tmp_path, change, reason):
    weight = np.arange(128, dtype=np.float32).reshape(16, 8)
    package = save_program(
        lambda x: mb.linear(x=x, weight=weight), {"x": np.ones((1, 8), np.float32)}, tmp_path, "iOS17"
    )
    folder = write_compiled(package, tmp_path / "a.mlmodelc")
    change(folder)
    with pytest.raises(PackageError, match=reason):
        milrun.load(folder)


def cut(file, size):
    file.write_bytes(file.read_bytes()[:size])


def test_no_mutation_of_the_text_is_anything_but_a_program_or_an_error(tmp_path):
    """Words swapped, dropped, doubled and replaced; a PackageError or another error of milrun's, at once."""
    draw = random.Random(0)
    odd = ["[", "]", "1e400", "9" * 30, '"', "?", ""]
    words = [*ADD.replace("(", " ( ").replace(")", " ) ").split(" ")]
    folder = folder_of(ADD, tmp_path)
    outcomes = {True: 0, False: 0}
    for _ in range(400):
        mutated = list(words)
        for _ in range(draw.randint(1, 3)):
            place, other = draw.randrange(len(mutated)), draw.randrange(len(mutated))
            draw.choice(
                [
                    lambda m=mutated, p=place: m.pop(p),
                    lambda m=mutated, p=place, o=other: m.insert(p, m[o]),
                    lambda m=mutated, p=place, o=other: m.__setitem__(p, m[o]),
                    lambda m=mutated, p=place: m.__setitem__(p, draw.choice(odd)),
                ]
            )()
        (folder / "model.mil").write_text(" ".join(mutated), encoding="utf-8")
        try:
            milrun.load(folder)
            outcomes[True] += 1
        except milrun.MilrunError:
            outcomes[False] += 1
    assert outcomes[False] > 200
    assert outcomes[True] > 5
