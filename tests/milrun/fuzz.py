"""Structural fuzzing of programs, each case in a process of its own under limits of memory and time.

    uv run python -m tests.milrun.fuzz PACKAGE... --cases 5000 [--first SEED]

A case is a seed: it picks a package and one to three mutations. Prints one line a case that ends in anything but a
result or a MilrunError: another exception, or a signal. What runs out of time is counted, not listed: a loop may have
no end.
"""

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import milrun
from milrun.coreml_proto import Model
from milrun.package import open_package

MEMORY = 3 * 2**30  # beyond what the process holds before the case
SECONDS = 10
MOST_INPUT_ELEMENTS = 10**7
OPS = [*sorted({name.split("@")[0] for name in milrun.OPS}), "const", "nonsense"]
NUMBERS = [0, 1, 2, 3, 7, -1, -2, 127, 255, 65536, 2**24, 2**31 - 1, -(2**31), 2**31, 2**40, 2**62, 2**63 - 1, -(2**63)]
SIZES = [0, 1, 2, 3, 8, 65536, 2**31, 2**32, 2**40, 2**63, 2**64 - 1]
DTYPES = [0, 1, 2, 10, 11, 12, 21, 23, 24, 25, 31, 34, 37, 39, 99]
WORDS = ["", "x", "nobody", "fp16", "int8", "same", "reflect", "nchw,nwhu->nchu", "a\0b", "CoreML5", "CoreML99"]
FIELDS = ["floats", "ints", "bools", "strings", "longInts", "doubles", "bytes"]


class Mutator:
    """One change to a program at a time, drawn from `draw`."""

    def __init__(self, spec, draw):
        self.draw = draw
        self.function = draw.choice(list(spec.mlProgram.functions.values()))
        self.root = self.function.block_specializations[self.function.opset]
        self.blocks = list(_blocks(self.root))
        self.ops = [op for block in self.blocks for op in block.operations]
        self.names = [output.name for op in self.ops for output in op.outputs] + [i.name for i in self.function.inputs]

    def mutate(self):
        """Apply one mutation; returns its name."""
        chosen = self.draw.choice([name for name in dir(self) if name.startswith("change_")])
        getattr(self, chosen)()
        return chosen

    def pick(self, of=None):
        """An op that computes, or None."""
        known = [op for op in self.ops if op.type != "const" and (of is None or getattr(op, of))]
        return self.draw.choice(known) if known else None

    def change_type(self):
        self.pick().type = self.draw.choice(OPS)

    def change_inputs(self):
        op, other = self.pick("inputs"), self.pick("inputs")
        name = self.draw.choice(sorted(op.inputs))
        argument = other.inputs[self.draw.choice(sorted(other.inputs))]
        how = self.draw.randrange(4)
        if how == 0:
            del op.inputs[name]
        elif how == 1:
            op.inputs[self.draw.choice([name, "x", "y", "axis", "blocks", "foo"])].CopyFrom(_copy(argument))
        elif how == 2:
            op.inputs[name].arguments.extend([_copy(a) for a in argument.arguments])
        else:
            op.inputs[name].arguments.add().name = self.draw.choice([*self.names, "nobody"])

    def change_reader(self):
        arguments = [a for op in self.ops for i in op.inputs.values() for a in i.arguments if a.name]
        self.draw.choice(arguments).name = self.draw.choice([*self.names, "nobody"])

    def change_outputs(self):
        outputs = self.draw.choice([self.pick("outputs").outputs, self.draw.choice(self.ops).outputs])
        if outputs and self.draw.random() < 0.5:
            del outputs[-1]
        elif outputs:
            outputs.extend([_copy(outputs[0])])
            outputs[-1].name = self.draw.choice([outputs[0].name, "second"])

    def change_name(self):
        named = [op.outputs[0] for op in self.ops if op.outputs]
        self.draw.choice(named).name = self.draw.choice([*self.names, *WORDS])

    def change_order(self):
        operations = self.draw.choice(self.blocks).operations
        if operations:
            moved = _copy(self.draw.choice(operations))
            how = self.draw.randrange(2)
            if how:
                del operations[self.draw.randrange(len(operations))]
            operations.extend([moved])

    def change_blocks(self):
        op = self.pick("blocks") or self.pick() if self.draw.random() < 0.7 else self.pick()
        how = self.draw.randrange(4)
        if how == 0:
            op.blocks.add()
        elif how == 1:
            op.blocks.extend([_copy(self.draw.choice(self.blocks))])
        elif op.blocks and how == 2:
            del op.blocks[self.draw.randrange(len(op.blocks))]
        elif op.blocks:
            op.blocks[0].inputs.extend([_copy(self.function.inputs[0])])

    def change_block_outputs(self):
        block = self.draw.choice(self.blocks)
        how = self.draw.randrange(3)
        if how == 0 and block.outputs:
            del block.outputs[-1]
        elif how == 1 and block.outputs:
            block.outputs[0] = self.draw.choice(self.names)
        else:
            block.outputs.append(self.draw.choice(self.names))

    def change_value_type(self):
        types = [output.type for op in self.ops for output in op.outputs] + [i.type for i in self.function.inputs]
        types += [op.attributes["val"].type for op in self.ops if "val" in op.attributes]
        self._change(self.draw.choice(types))

    def _change(self, type):
        tensor = type.stateType.wrappedType.tensorType if type.HasField("stateType") else type.tensorType
        how = self.draw.randrange(5)
        if how == 0:
            tensor.dataType = self.draw.choice(DTYPES)
        elif how == 1 and tensor.dimensions:
            self.draw.choice(tensor.dimensions).constant.size = self.draw.choice(SIZES)
        elif how == 2 and tensor.dimensions:
            self.draw.choice(tensor.dimensions).unknown.variadic = self.draw.random() < 0.5
        elif how == 3:
            tensor.rank = self.draw.choice([-1, tensor.rank])
            tensor.dimensions.add().constant.size = self.draw.choice(SIZES)
        else:
            type.CopyFrom(_copy(self.draw.choice([op.outputs[0].type for op in self.ops if op.outputs])))

    def change_value(self):
        const = self.draw.choice([op for op in self.ops if "val" in op.attributes])
        value = const.attributes["val"]
        tensor = value.immediateValue.tensor
        how = self.draw.randrange(6)
        if how == 0:
            del const.attributes["val"]
        elif how == 1 and value.HasField("blobFileValue"):
            value.blobFileValue.offset = self.draw.choice([0, 64, 128, 2**40, 2**64 - 1])
        elif how == 2:
            value.immediateValue.Clear()
        elif how == 3:
            getattr(tensor, self.draw.choice(FIELDS)).SetInParent()
        elif how == 4:
            tensor.strings.values.append(self.draw.choice(WORDS))
        elif tensor.ints.values:
            tensor.ints.values[self.draw.randrange(len(tensor.ints.values))] = _int32(self.draw.choice(NUMBERS))

    def change_numbers(self):
        numbers = [op.attributes["val"].immediateValue.tensor for op in self.ops if "val" in op.attributes]
        numbers = [t.ints if t.ints.values else t.floats for t in numbers if t.ints.values or t.floats.values]
        if not numbers:
            return
        values = self.draw.choice(numbers).values
        chosen = self.draw.choice([*NUMBERS, *range(-4, 12)])
        values[self.draw.randrange(len(values))] = _int32(chosen)

    def change_function(self):
        how = self.draw.randrange(4)
        if how == 0:
            self.function.inputs.extend([_copy(self.draw.choice(self.function.inputs))])
        elif how == 1:
            del self.function.inputs[-1]
        elif how == 2:
            self.function.opset = self.draw.choice(WORDS)
        else:
            opset = self.draw.choice(["CoreML5", "CoreML8", "CoreML77"])
            self.function.block_specializations[opset].CopyFrom(_copy(self.root))
            self.function.opset = opset


def _blocks(block):
    yield block
    for operation in block.operations:
        for nested in operation.blocks:
            yield from _blocks(nested)


def _copy(message):
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _int32(number):
    return max(-(2**31), min(2**31 - 1, number))


def attempt(path):
    """Load, predict and inspect every function."""
    for name in milrun.load(path).functions:
        model = milrun.load(path, name)
        shapes = {n: tuple(4 if d is None else d for d in t.shape or ()) for n, t in model.inputs.items()}
        if sum(float(np.prod(np.array(shape, dtype=np.float64))) for shape in shapes.values()) > MOST_INPUT_ELEMENTS:
            return
        inputs = {n: np.ones(shapes[n], np.float32 if "f" in t.dtype else np.int32) for n, t in model.inputs.items()}
        model.predict(inputs, model.make_state() if model.states else None)
        model.inspect(inputs, model.make_state() if model.states else None, keep="all", trace=True)


def case(seed, packages, scratch, write):
    """Write what the case is, then what came of it: a result, or an error of milrun."""
    draw = random.Random(seed)
    source = draw.choice(packages)
    spec = Model.Model.FromString(open_package(source).spec.SerializeToString())
    done = []
    for _ in range(draw.choice([1, 1, 2, 3])):
        try:
            done.append(Mutator(spec, draw).mutate())
        except (AttributeError, IndexError, KeyError) as error:  # an earlier change left nothing to draw from
            done.append(f"nothing ({error})")
    model_file = next(source.rglob("model.mlmodel"))
    target = scratch / "case.mlpackage"
    for file in (f for f in source.rglob("*") if f.is_file()):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(spec.SerializeToString() if file == model_file else file.read_bytes())
    write({"end": "other", "seed": seed, "package": source.name, "changes": done})  # holds where nothing follows
    try:
        attempt(target)
    except milrun.MilrunError as error:
        write({"end": type(error).__name__})
    else:
        write({"end": "result"})


def bound_memory():
    """Give the process MEMORY beyond what it holds, where the system says how much that is (Linux).

    macOS does not enforce the limit: there milrun's own checks and the time are what bounds a case.
    """
    statm = Path("/proc/self/statm")
    if statm.exists():
        held = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY,) * 2)


def forked(seed, packages, scratch):
    """`case` in a child with limits."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        bound_memory()
        signal.alarm(SECONDS)
        try:
            case(seed, packages, scratch, lambda said: os.write(writer, json.dumps(said).encode() + b"\n"))
        finally:  # the child ends here, whatever is on its way up
            if sys.exc_info()[0] is not None:
                traceback.print_exc()
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = [json.loads(line) for line in pipe.read().splitlines()] or [{"end": "other", "seed": seed}]
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {"end": "time"} if os.WTERMSIG(status) == signal.SIGALRM else said[0] | {"signal": os.WTERMSIG(status)}
    return said[-1]


def main():
    """Run the cases; exit code 1 where one ended as none should."""
    parser = argparse.ArgumentParser(prog="python -m tests.milrun.fuzz", description=__doc__.split("\n\n")[0])
    parser.add_argument("packages", nargs="+", type=Path, metavar="PACKAGE", help="what to mutate")
    parser.add_argument("--cases", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="seed of the first case (default: 0)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ends: Counter = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(arguments.first, arguments.first + arguments.cases):
            result = forked(seed, arguments.packages, Path(scratch) / str(seed % 50))
            ends[result["end"]] += 1
            if result["end"] == "other":
                print(json.dumps(result), flush=True)
    print(dict(ends))
    return int(ends["other"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
