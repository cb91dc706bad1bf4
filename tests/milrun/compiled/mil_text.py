"""Writes a package as a compiled model, in the text form that coremlc writes: what the reader is tested with."""

import re
import shutil
import struct
from pathlib import Path

import numpy as np

from milrun.coreml_proto import Model
from milrun.numerics import DTYPE_NAMES
from milrun.opsets import OPSETS
from milrun.package import open_package
from milrun.pipeline import is_pipeline, parts_of
from milrun.program import _immediate_tensor, _Parser  # the elements of a message, as the package itself is read

SHORT = {"float16": "fp16", "float32": "fp32", "float64": "fp64"}
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


class NestedBlocksError(Exception):
    """The program has blocks within an op, whose text form nobody knows."""


def write_compiled(package, folder, version="1.0"):
    """Write `folder`, an .mlmodelc with a folder for each part of a pipeline; `version` decides how scalars look."""
    return write_opened(open_package(package), folder, version)


def write_opened(opened, folder, version="1.0"):
    """Write an opened package, or an opened part of a pipeline with all weights of the pipeline."""
    folder = Path(folder)
    folder.mkdir()
    if is_pipeline(opened):
        (folder / "coremldata.bin").write_bytes(interface(opened.spec, pipeline_kind(opened)))
        for part in parts_of(opened):
            write_opened(part.package, folder / f"model{part.index}", version)
        return folder
    if opened.spec.WhichOneof("Type") != "mlProgram":
        (folder / "coremldata.bin").write_bytes(whole(opened.spec))
        return folder
    text = Writer(opened, version).program()
    (folder / "model.mil").write_text(text, encoding="utf-8")
    (folder / "coremldata.bin").write_bytes(interface(opened.spec))
    weights = opened.root / "weights" if opened.root else None
    if weights and weights.is_dir():
        shutil.copytree(weights, folder / "weights")
    return folder


def interface(spec, kind=b"generic"):
    """`coremldata.bin` of a specification, laid out as seen."""
    description = spec.description.SerializeToString()
    head = struct.pack("<II", len(description) + 8, 5 if kind == b"generic" else 1) + bytes(20)
    version = struct.pack("<Q", spec.specificationVersion)
    return head + sized(kind) + version + bytes(24) + sized(description) + bytes(16)


def whole(spec):
    """`coremldata.bin` of a model that coremlc does not compile, laid out as seen."""
    head = struct.pack("<II", 610, 1) + bytes(20)
    return head + sized(b"spec") + struct.pack("<Q", spec.specificationVersion) + bytes(24) + spec.SerializeToString()


def pipeline_kind(package):
    """The kind of a pipeline, which lists its parts."""
    kinds = ("v5.0.0generic" if p.package.spec.WhichOneof("Type") == "mlProgram" else "v1.0.0spec"
             for p in parts_of(package))  # fmt: skip
    return b"generic" + "".join(f".model{index}{kind}" for index, kind in enumerate(kinds)).encode()


def sized(content):
    return struct.pack("<Q", len(content)) + content


def name_in_text(name):
    """A value's name as an identifier of the text: coremlc replaces what is none."""
    plain = re.sub(r"\W", "_", name)
    return plain if plain and not plain[0].isdigit() else f"_{plain}"


def quoted(text):
    return '"' + "".join(ESCAPES.get(c, c) for c in text) + '"'


class Writer:
    def __init__(self, package, version):
        self.spec, self.version = package.spec, version
        self.types = _Parser(package)

    def program(self):
        functions = "".join(self.function(name, f) for name, f in self.spec.mlProgram.functions.items())
        pairs = ", ".join(f'{{"{k}", "{v}"}}' for k, v in (("coremlc-version", "3520.5.1"), ("of", "tests")))
        string = self.type_of("string", ())
        return f"program({self.version})\n[buildInfo = dict<{string}, {string}>({{{pairs}}})]\n{{\n{functions}}}\n"

    def function(self, name, spec):
        block = spec.block_specializations[spec.opset]
        inputs = ", ".join(f"{self.type(i.type)} {name_in_text(i.name)}" for i in spec.inputs)
        body = "".join(self.operation(op) for op in block.operations)
        outputs = ", ".join(name_in_text(o) for o in block.outputs)
        return f"    func {name}<{OPSETS[spec.opset].lower()}>({inputs}) {{\n{body}        }} -> ({outputs});\n"

    def operation(self, op):
        if op.blocks:
            raise NestedBlocksError(op.type)
        outputs = ", ".join(f"{self.type(o.type)} {name_in_text(o.name)}" for o in op.outputs)
        arguments = ", ".join(f"{key} = {self.argument(op.inputs[key])}" for key in sorted(op.inputs))
        attributes = ", ".join(f"{key} = {self.value(op.attributes[key])}" for key in sorted(op.attributes))
        left = f"{outputs} = " if outputs else ""
        return f"            {left}{op.type}({arguments})[{attributes}];\n"

    def argument(self, argument):
        items = [self.value(b.value) if b.WhichOneof("binding") == "value" else name_in_text(b.name)
                 for b in argument.arguments]  # fmt: skip
        return items[0] if len(items) == 1 else f"({', '.join(items)})"

    def type(self, spec):
        kind = spec.WhichOneof("type")
        if kind == "tensorType":
            tensor = spec.tensorType
            sizes = ["?" if d.WhichOneof("dimension") == "unknown" else d.constant.size for d in tensor.dimensions]
            return self.type_of(DTYPE_NAMES[tensor.dataType], sizes)
        if kind == "stateType":
            return f"state<{self.type(spec.stateType.wrappedType)}>"
        if kind == "dictionaryType":
            return f"dict<{self.type(spec.dictionaryType.keyType)}, {self.type(spec.dictionaryType.valueType)}>"
        length = spec.listType.length
        size = "?" if length.WhichOneof("dimension") == "unknown" else length.constant.size
        return f"list<{self.type(spec.listType.type)}, {size}>"

    def type_of(self, dtype, sizes):
        dtype = SHORT.get(dtype, dtype)
        if not sizes and self.version == "1.3":
            return dtype
        return f"tensor<{dtype}, [{', '.join(map(str, sizes))}]>"

    def value(self, value):
        if value.WhichOneof("value") == "blobFileValue":
            blob = value.blobFileValue
            path, offset = self.type_of("string", ()), self.type_of("uint64", ())
            inner = f"BLOBFILE(path = {path}({quoted(blob.fileName)}), offset = {offset}({blob.offset}))"
        elif value.type.WhichOneof("type") == "listType":
            inner = "[" + ", ".join(self.literal(v) for v in value.immediateValue.list.values) + "]"
        else:
            inner = self.literal(value)
        return f"{self.type(value.type)}({inner})"

    def literal(self, value):
        declared = self.types.type(value.type)
        if not declared.shape and declared.dtype == "string":
            return quoted(value.immediateValue.tensor.strings.values[0])
        return nested(_immediate_tensor(value.immediateValue.tensor, declared))


def nested(array):
    if array.ndim:
        return "[" + ", ".join(nested(part) for part in array) + "]"
    item = array[()]
    if isinstance(item, np.bool_):
        return "true" if item else "false"
    if isinstance(item, np.str_):
        return quoted(str(item))
    return float(item).hex() if array.dtype.kind == "f" else str(int(item))


def model_bytes(spec):
    """A specification without its program, which is compared as parsed."""
    bare = Model.Model()
    bare.description.CopyFrom(spec.description)
    return bare.SerializeToString(deterministic=True)
