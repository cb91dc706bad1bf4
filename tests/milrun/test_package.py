"""Damaged and hostile packages: each is a PackageError at load that says what is wrong."""

import json
import os
import shutil
import struct

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

import milrun
from milrun import PackageError
from milrun.blob import unpack_bits
from milrun.coreml_proto import Model
from tests.milrun.harness import save_program

X = np.ones((1, 8), np.float32)
WEIGHT = np.arange(128, dtype=np.float32).reshape(16, 8)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return save_program(lambda x: mb.linear(x=x, weight=WEIGHT), {"x": X}, tmp_path_factory.mktemp("whole"), "iOS17")


@pytest.fixture
def package(original, tmp_path):
    return shutil.copytree(original, tmp_path / "copy.mlpackage")


def model_file(package):
    return package / "Data" / "com.apple.CoreML" / "model.mlmodel"


def weight_file(package):
    return package / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"


def rewrite(package, change):
    spec = Model.Model.FromString(model_file(package).read_bytes())
    change(spec)
    model_file(package).write_bytes(spec.SerializeToString())


def blobs(spec):
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    values = [op.attributes["val"] for op in block.operations if op.type == "const"]
    return [value.blobFileValue for value in values if value.WhichOneof("value") == "blobFileValue"]


def test_the_whole_package_runs(package):
    (y,) = milrun.load(package).predict({"x": X}).values()
    np.testing.assert_allclose(y, X @ WEIGHT.T)


@pytest.mark.parametrize("kept", [0, 10, 64, 100, 300])
def test_truncated_weights(package, kept):
    content = weight_file(package).read_bytes()
    weight_file(package).write_bytes(content[:kept])
    with pytest.raises(PackageError, match=r"truncated|cannot map"):
        milrun.load(package)


def test_missing_weights(package):
    weight_file(package).unlink()
    with pytest.raises(PackageError, match="cannot read the weight file"):
        milrun.load(package)


@pytest.mark.parametrize(("offset", "message"), [(128, "no blob record"), (1 << 40, "lies outside the file")])
def test_wrong_offset(package, offset, message):
    def change(spec):
        blobs(spec)[0].offset = offset

    rewrite(package, change)
    with pytest.raises(PackageError, match=message):
        milrun.load(package)


def test_a_record_of_another_size(package):
    content = bytearray(weight_file(package).read_bytes())
    struct.pack_into("<Q", content, 64 + 8, 64)
    weight_file(package).write_bytes(content)
    with pytest.raises(PackageError, match="holds 64 bytes"):
        milrun.load(package)


def test_a_weight_file_whose_name_holds_a_null_byte_is_refused(package):
    def change(spec):
        for blob in blobs(spec):
            blob.fileName = "@model_path/weights/wei\0ht.bin"

    rewrite(package, change)
    with pytest.raises(PackageError, match="null byte"):
        milrun.load(package)


@pytest.mark.parametrize("name", ["@model_path/../../../secret.bin", "/etc/passwd"])
def test_weights_outside_the_package_are_refused(package, name):
    (package.parent / "secret.bin").write_bytes(b"\0" * 4096)

    def change(spec):
        for blob in blobs(spec):
            blob.fileName = name

    rewrite(package, change)
    with pytest.raises(PackageError, match="outside the package"):
        milrun.load(package)


def test_a_model_outside_the_package_is_refused(package):
    manifest = package / "Manifest.json"
    content = json.loads(manifest.read_text())
    content["itemInfoEntries"][content["rootModelIdentifier"]]["path"] = "../../elsewhere.mlmodel"
    manifest.write_text(json.dumps(content))
    with pytest.raises(PackageError, match="lies outside the package"):
        milrun.load(package)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"rootModelIdentifier": "a", "itemInfoEntries": {}}'])
def test_damaged_manifest(package, content):
    (package / "Manifest.json").write_text(content)
    with pytest.raises(PackageError, match="damaged"):
        milrun.load(package)


def test_not_a_package(tmp_path):
    with pytest.raises(PackageError, match="no package at"):
        milrun.load(tmp_path / "nothing.mlpackage")
    with pytest.raises(PackageError, match="is not a package"):
        milrun.load(tmp_path)


def test_what_is_no_package_says_what_a_package_is(tmp_path):
    (tmp_path / "compiled.mlmodelc").mkdir()
    with pytest.raises(PackageError, match=r"not a compiled ML Program: it has no model\.mil"):
        milrun.load(tmp_path / "compiled.mlmodelc")
    (tmp_path / "notes.txt").write_text("notes of a meeting")
    with pytest.raises(PackageError, match=r"is not a Core ML model: .*; a package is an \.mlpackage folder"):
        milrun.load(tmp_path / "notes.txt")


@pytest.mark.parametrize("content", [b"\xff\xff\xff\xff", b"not a protobuf at all"])
def test_corrupt_protobuf(package, content):
    model_file(package).write_bytes(content)
    with pytest.raises(PackageError, match="is not a Core ML model"):
        milrun.load(package)


def test_missing_model(package):
    model_file(package).unlink()
    with pytest.raises(PackageError, match="cannot read"):
        milrun.load(package)


def test_an_empty_model_is_no_program(package):
    model_file(package).write_bytes(b"")
    with pytest.raises(PackageError, match="is an empty model: milrun runs ML Programs"):
        milrun.load(package)


def test_a_neural_network_is_no_program(tmp_path):
    builder = ct.models.neural_network.NeuralNetworkBuilder(
        [("x", ct.models.datatypes.Array(3))], [("y", ct.models.datatypes.Array(3))]
    )
    builder.add_activation("relu", "RELU", "x", "y")
    ct.models.utils.save_spec(builder.spec, str(tmp_path / "old.mlmodel"))
    with pytest.raises(PackageError, match=r"\(neuralNetwork\): convert .* convert_to='mlprogram'"):
        milrun.load(tmp_path / "old.mlmodel")


def test_missing_function(package):
    with pytest.raises(PackageError, match=r"no function 'decode'; it has \['main'\]"):
        milrun.load(package, "decode")


def test_a_function_without_a_block_for_its_opset(package):
    def change(spec):
        spec.mlProgram.functions["main"].opset = "CoreML4"

    rewrite(package, change)
    with pytest.raises(PackageError, match="no block for its opset CoreML4"):
        milrun.load(package)


@pytest.mark.parametrize(
    ("dtype", "packed", "values"),
    [
        ("uint4", [0x21, 0xF3], [1, 2, 3, 15]),
        ("int4", [0x21, 0xF8], [1, 2, -8, -1]),
        ("uint1", [0b10000110], [0, 1, 1, 0, 0, 0, 0, 1]),
        ("uint2", [0b11100100], [0, 1, 2, 3]),
        ("uint3", [0b10001000, 0b11000110, 0b11111010], [0, 1, 2, 3, 4, 5, 6, 7]),
        ("uint6", [0b01000001, 0b00000000, 0b11111100], [1, 1, 0, 63]),
    ],
)
def test_sub_byte_integers_lie_lowest_bits_first(dtype, packed, values):
    np.testing.assert_array_equal(unpack_bits(np.array(packed, np.uint8), dtype, len(values)), values)


def test_too_few_sub_byte_integers():
    with pytest.raises(PackageError, match="need 12 bits"):
        unpack_bits(np.zeros(1, np.uint8), "uint4", 3)


def test_a_bare_model_file_has_no_weights_beside_it(package):
    """Whatever lies in a file's folder is not the model's to read."""
    with pytest.raises(PackageError, match=r"give the \.mlpackage folder"):
        milrun.load(model_file(package))


def test_a_bare_model_file_that_holds_all_itself(tmp_path):
    package = save_program(lambda x: mb.relu(x=x), {"x": X}, tmp_path, "iOS17")
    np.testing.assert_array_equal(*milrun.load(model_file(package)).predict({"x": X}).values(), X)


def link_outside(file):
    elsewhere = file.parents[file.parts[::-1].index("copy.mlpackage")] / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def pipe(file):
    file.unlink()
    os.mkfifo(file)


def device(file):
    file.unlink()
    file.symlink_to("/dev/zero")


@pytest.mark.parametrize("name", ["Manifest.json", "model.mlmodel", "weight.bin"])
@pytest.mark.parametrize(
    ("replace", "message"),
    [(link_outside, "lies outside the package"), (pipe, "not a regular file"), (device, "lies outside the package")],
)
def test_only_regular_files_of_the_package_are_opened(package, name, replace, message):
    replace(next(package.rglob(name)))
    with pytest.raises(PackageError, match=message):
        milrun.load(package)


def test_links_within_the_package_are_followed(package):
    model_file(package).rename(package / "Data" / "com.apple.CoreML" / "other.mlmodel")
    model_file(package).symlink_to("other.mlmodel")
    weight_file(package).parent.rename(package / "Data" / "com.apple.CoreML" / "numbers")
    weight_file(package).parent.symlink_to("numbers")
    test_the_whole_package_runs(package)


@pytest.mark.parametrize(
    "manifest",
    [
        "[" * 200_000,
        '{"rootModelIdentifier": 7, "itemInfoEntries": [1]}',
        '{"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": "x\\u0000y"}}}',
        '{"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": "\\ud800"}}}',
        '{"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": "loop/x"}}}',
        '{"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": ""}}}',
    ],
    ids=["deep", "list", "null-byte", "surrogate", "links-in-a-circle", "folder"],
)
def test_hostile_manifests(package, manifest):
    (package / "Data" / "loop").symlink_to("loop")
    (package / "Manifest.json").write_text(manifest)
    with pytest.raises(PackageError, match=r"damaged|cannot read|not a regular file"):
        milrun.load(package)
