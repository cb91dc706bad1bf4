"""Rules about shapes: rank, sizes of dimensions, the last axis, and shapes that are not fixed."""

from collections.abc import Iterator

from milrun.program import Operation, TensorType
from toolkit.lint.rule import Hit, Rule, Source, each_op
from toolkit.lint.sources import (
    ANEFORGE_COMPILE,
    ANEFORGE_TARGETS,
    ANEMLL,
    APPLE,
    APPLE_RESEARCH,
    MOBIUS,
    PROFILER,
    READ,
    coremltools_issue,
)
from toolkit.lint.target import Target
from toolkit.lint.view import FunctionView

_MAX_RANK, _SAFE_RANK = 5, 4
_CHANNELS = 65_536
_NARROW = 32  # float16 elements in 64 bytes
_CONVOLUTIONS = ("conv", "conv_transpose")


def _ranks(view: FunctionView, op: Operation) -> int:
    return max((len(shape) for shape in view.shapes(op)), default=0)


def _rank_6(view: FunctionView, op: Operation, _: Target) -> str:
    rank = _ranks(view, op)
    return f"rank {rank}" if rank > _MAX_RANK else ""


def _rank_5(view: FunctionView, op: Operation, _: Target) -> str:
    return "rank 5" if _ranks(view, op) == _MAX_RANK else ""


def _dimension(view: FunctionView, op: Operation, target: Target) -> str:
    for shape in view.shapes(op):
        channels = 1 if len(shape) == _SAFE_RANK or op.type in _CONVOLUTIONS else None
        for axis, size in enumerate(shape):
            limit = _CHANNELS if axis == channels else target.extent
            if size is not None and size > limit:
                return f"dimension {axis} is {size}, the limit is {limit}"
    return ""


def _zero_length(view: FunctionView, op: Operation, _: Target) -> str:
    return "a dimension is 0" if any(0 in shape for shape in view.shapes(op)) else ""


def _dynamic(view: FunctionView, _: Target) -> Iterator[Hit]:
    for name, kind in view.inputs.items():
        if kind.ranges or ((kind.shape is None or None in kind.shape) and not kind.shapes):
            yield Hit(f"input {name} is {kind}")


def _enumerated(view: FunctionView, _: Target) -> Iterator[Hit]:
    norm = next((op for op in view.operations if op.type == "layer_norm"), None)
    if norm is not None and any(kind.shapes for kind in view.inputs.values()):
        yield Hit("enumerated shapes and layer_norm", norm)


def _edges(view: FunctionView) -> Iterator[tuple[str, TensorType]]:
    yield from view.inputs.items()
    yield from ((name, view.types[name]) for name in view.function.block.outputs if name in view.types)


def _narrow(view: FunctionView, _: Target) -> Iterator[Hit]:
    for name, kind in _edges(view):
        last = kind.shape[-1] if kind.shape else None
        if kind.dtype.startswith("float") and last and last % _NARROW:
            singleton = ": 32 times the memory" if last == 1 else ""
            yield Hit(f"{name} has a last axis of {last}{singleton}")


def _moves_last_axis(view: FunctionView, op: Operation, _: Target) -> str:
    if op.type not in ("reshape", "transpose"):
        return ""
    before, after = view.type_of(op, "x"), next(view.shapes(op), None)
    if before is None or not before.shape or not after:
        return ""
    if op.type == "transpose":
        perm = view.value(op, "perm")
        moved = perm is not None and perm[-1] % len(after) != len(after) - 1
    else:
        moved = before.shape[-1] != after[-1]
    return f"{list(before.shape)} -> {list(after)}" if moved else ""


def _last_axis_slice(view: FunctionView, op: Operation, _: Target) -> str:
    if op.type != "slice_by_index":
        return ""
    before, begin = view.type_of(op, "x"), view.value(op, "begin")
    if before is None or not before.shape or not begin or len(begin) != len(before.shape):
        return ""
    whole = view.value(op, "begin_mask")
    offset = 0 if whole and whole[-1] else begin[-1]
    return f"begins at {offset} of {before.shape[-1]}" if offset else ""


RULES = (
    Rule(
        "rank-6",
        "error",
        "A tensor of rank 6 or more is rejected.",
        "Merge or drop dimensions of size 1.",
        (APPLE, Source("coremltools 9.0: refuses to write a tensor of rank 6", READ, "Apple")),
        each_op(_rank_6),
    ),
    Rule(
        "rank-5",
        "warning",
        "A tensor of rank 5 is at the limit: some report that it fails to compile.",
        "Keep to rank 4: merge heads and groups, or take one head at a time.",
        (MOBIUS, ANEMLL),
        each_op(_rank_5),
        conflict="Apple's rules allow rank 5; mobius, Anemll and ANEForge report failures at rank 5.",
    ),
    Rule(
        "dimension",
        "warning",
        "No dimension is above 16,384 (M1 to M3) or 65,536 (M4 on); channels reach 65,536.",
        "Slice the tensor, for example the head of a large vocabulary.",
        (ANEFORGE_TARGETS, ANEMLL, Source("microsoft/onnxruntime#19543", READ, "measured")),
        each_op(_dimension),
        applies="16,384: M1 to M3; 65,536: M4 on",
        conflict="WhisperKit's plans support a reshape to 480,000 on the Neural Engine, and run it on the CPU.",
    ),
    Rule(
        "zero-length",
        "error",
        "A tensor without elements crashes Core ML on iOS.",
        "Leave the empty tensor out.",
        (Source("FluidInference/mobius IOS_COREML_ISSUES.md #1", READ, "measured"),),
        each_op(_zero_length),
    ),
    Rule(
        "dynamic-shape",
        "error",
        "A shape that is known only at run time keeps the program off the Neural Engine.",
        "Fix the shape: one function per length.",
        (APPLE, PROFILER),
        _dynamic,
    ),
    Rule(
        "enumerated-shapes",
        "warning",
        "Enumerated shapes together with layer_norm keep the program off the Neural Engine.",
        "Fix the shape: one function per length.",
        (coremltools_issue(1909),),
        _enumerated,
    ),
    Rule(
        "narrow-last-axis",
        "info",
        "The last axis of inputs and outputs is padded to 64 bytes: 32 float16 elements.",
        "Move a dimension that is a multiple of 32 to the end.",
        (APPLE, APPLE_RESEARCH),
        _narrow,
    ),
    Rule(
        "last-axis-move",
        "info",
        "A reshape or transpose that touches the last axis rewrites the whole tensor.",
        "Keep the last axis in place where the maths allows it.",
        (APPLE,),
        each_op(_moves_last_axis),
    ),
    Rule(
        "last-axis-slice",
        "info",
        "A slice that begins inside the last axis may read wrong elements once two are concatenated, and saturates "
        "above 4,094 on M1 and M2.",
        "Slice along another axis, or compare the outputs with Linux (`compare`).",
        (ANEFORGE_COMPILE,),
        each_op(_last_axis_slice),
        applies="wrong elements: before M4, and M5 with macOS 27.2",
        conflict="Seen on a private route; Core ML's may differ.",
    ),
)
