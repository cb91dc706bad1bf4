"""Rules about ops: which have no kernel on the Neural Engine, and which depend on the chip or on values."""

from collections.abc import Iterator

from milrun.program import Operation, TensorType
from toolkit.lint.rule import Hit, Rule, Source, each_op, of_type
from toolkit.lint.sources import (
    ANEFORGE_COMPILE,
    ANEFORGE_SWEEP,
    ANEFORGE_TARGETS,
    APPLE,
    APPLE_ANE_TRANSFORMERS,
    HOLLANCE,
    MOBIUS,
    PROFILER,
    READ,
    WHISPERKIT_PLANS,
)
from toolkit.lint.target import Target
from toolkit.lint.view import FunctionView

_RECURRENT = ("lstm", "gru", "rnn")
_LOOKUPS = ("gather", "gather_along_axis", "gather_nd")
_NO_KERNEL = (
    *("scatter", "scatter_along_axis", "scatter_nd", "cumsum", "non_zero", "one_hot", "reverse_sequence", "shape"),
    *("reduce_argmax", "reduce_argmin", "reduce_prod", "band_part", "mod", "sliding_windows", "crop_resize"),
    *("random_bernoulli", "random_categorical", "random_normal", "random_uniform"),
    *("logical_and", "logical_or", "logical_xor"),
    *("tan", "sinh", "cosh", "asin", "acos", "atanh"),
)
_STATEFUL = ("read_state", "write_state", "slice_update")
_WALLED = (
    *("while_loop", "cond", "argsort", "make_list", "list_gather", "list_length", "list_read", "list_scatter"),
    "list_write",
)
_NONLINEAR = ("relu", "sigmoid", "tanh", "gelu", "silu", "exp", "softplus", "leaky_relu", "elu", "relu6", "erf", "sqrt")
_PASSIVE = ("cast", "read_state", "write_state")
_MASKED_BY = ("add", "sub", "select", "maximum")
_LOWEST_MASK = -4e4
_TRIGONOMETRY_FROM, _TOPK_FROM = 3, 2


def _float_dtypes(op: Operation) -> set[str]:
    if op.type in _PASSIVE:
        return set()
    dtypes = {kind.dtype for _, kind in op.outputs if isinstance(kind, TensorType)}
    return dtypes & {"float16", "float32"}


def _is_float32(view: FunctionView) -> bool:
    """Whether nine tenths of the float ops compute in float32."""
    found = [dtypes for op in view.operations if (dtypes := _float_dtypes(op))]
    return bool(found) and sum("float32" in dtypes for dtypes in found) >= 0.9 * len(found)


def _float32_program(view: FunctionView, _: Target) -> Iterator[Hit]:
    if _is_float32(view):
        yield Hit("computes in float32")


def _float32_ops(view: FunctionView, _: Target) -> Iterator[Hit]:
    if not _is_float32(view):
        yield from (Hit("float32", op) for op in view.operations if "float32" in _float_dtypes(op))


def _trigonometry(_: FunctionView, op: Operation, target: Target) -> str:
    return op.type if op.type in ("sin", "cos") and target.generation < _TRIGONOMETRY_FROM else ""


def _topk(view: FunctionView, op: Operation, target: Target) -> str:
    if op.type != "topk":
        return ""
    k = view.value(op, "k")
    return f"k = {k}" if k in (3, 4) or target.generation < _TOPK_FROM else ""


def _square(view: FunctionView, op: Operation, _: Target) -> str:
    shape = next(view.shapes(op), ())
    if op.type != "square" or not shape or not shape[-1] or shape[-1] % 128 <= 64:
        return ""
    readers = (r.type for name, _ in op.outputs for r in view.readers.get(name, ()))
    fused = next((kind for kind in readers if kind in _NONLINEAR), "")
    return f"width {shape[-1]} before {fused}" if fused else ""


def _reflect(view: FunctionView, op: Operation, _: Target) -> str:
    mode = view.value(op, "mode") if op.type == "pad" else None
    return f"mode {mode}" if mode in ("reflect", "replicate") else ""


def _mask(view: FunctionView, op: Operation, _: Target) -> str:
    """Only what is added or selected: other constants are weights, and large."""
    if op.type not in _MASKED_BY:
        return ""
    for parameter in op.inputs:
        const = view.constant(op, parameter)
        if const is None or not isinstance(const.type, TensorType) or not const.type.dtype.startswith("float"):
            continue
        values = const.numpy()
        lowest = float(values.min(initial=0.0))
        if not lowest >= _LOWEST_MASK:  # NaN compares with nothing
            return f"constant {parameter} reaches {lowest:g}"
    return ""


RULES = (
    Rule(
        "float32-program",
        "error",
        "The Neural Engine computes in float16; a float32 program runs on the GPU or CPU.",
        "Convert with --precision fp16.",
        (APPLE,),
        _float32_program,
    ),
    Rule(
        "float32-op",
        "warning",
        "The Neural Engine computes in float16; a float32 op runs on the GPU or CPU.",
        "Leave the op in float16, or keep it if its accuracy needs float32.",
        (APPLE,),
        _float32_ops,
    ),
    Rule(
        "recurrent",
        "warning",
        "lstm, gru and rnn have no kernel on the Neural Engine.",
        "Expect the CPU for this component; keep it small and apart from the encoder.",
        (MOBIUS, ANEFORGE_SWEEP, HOLLANCE),
        of_type(*_RECURRENT),
    ),
    Rule(
        "lookup",
        "warning",
        "A gather runs on the CPU: it has no kernel on the Neural Engine.",
        "Put the lookup of embeddings at the edge of the graph or into a component of its own.",
        (APPLE_ANE_TRANSFORMERS, ANEFORGE_SWEEP, WHISPERKIT_PLANS),
        of_type(*_LOOKUPS),
    ),
    Rule(
        "no-kernel",
        "warning",
        "The op has no kernel on the Neural Engine.",
        "Compute it on the host, fold it into a constant, or write it with other ops.",
        (ANEFORGE_SWEEP,),
        of_type(*_NO_KERNEL),
        conflict="The sweep compiles each op alone, on a private route; Core ML may rewrite the op first. ANEForge's "
        "_targets.py lists a global argmax as native from the M3 on.",
    ),
    Rule(
        "cast",
        "info",
        "A cast runs on the CPU; at the edge of a graph it costs little.",
        "Nothing at inputs and outputs; inside the graph, keep one dtype.",
        (ANEFORGE_SWEEP,),
        of_type("cast"),
        conflict="The sweep says not implemented; Core ML often merges casts into its copies.",
    ),
    Rule(
        "state",
        "warning",
        "States are contested on the Neural Engine: read_state and slice_update do not compile alone.",
        "Measure it on a Mac; keep CPU_AND_GPU at hand for this component.",
        (ANEFORGE_SWEEP, Source("FluidInference/mobius#87", READ, "measured")),
        of_type(*_STATEFUL),
        conflict="FluidAudio Trial 23 plans a stateful `generate` 100 % on the Neural Engine.",
    ),
    Rule(
        "control-flow",
        "warning",
        "Loops, conditions, lists and argsort do not compile for the Neural Engine.",
        "Move the loop to the host.",
        (ANEFORGE_SWEEP,),
        of_type(*_WALLED),
    ),
    Rule(
        "attention-op",
        "info",
        "The Neural Engine has no fused attention; attention per head is preferred.",
        "Write the attention as matmul, softmax and matmul.",
        (APPLE,),
        of_type("scaled_dot_product_attention"),
        conflict="ANEForge's sweep compiles the op for the Neural Engine, with the right result.",
    ),
    Rule(
        "trigonometry",
        "warning",
        "sin and cos are native from the M3 (A15) on; before, they run on the CPU or as a polynomial.",
        "Precompute the table and pass it as an input.",
        (ANEFORGE_TARGETS, MOBIUS),
        each_op(_trigonometry),
        applies="M1, M2",
    ),
    Rule(
        "topk",
        "warning",
        "topk fails with k of 3 or 4, and needs an M2 (A14).",
        "Take another k, or choose on the host.",
        (ANEFORGE_TARGETS,),
        each_op(_topk),
        applies="k of 3 or 4: all; any k: M1",
    ),
    Rule(
        "square-width",
        "warning",
        "A square fused with a nonlinearity fails where the width modulo 128 is above 64.",
        "Pad the width, or multiply the value by itself.",
        (ANEFORGE_COMPILE,),
        each_op(_square),
        conflict="Seen on a private route; Core ML may fuse otherwise.",
    ),
    Rule(
        "reflect-pad",
        "warning",
        "A pad that reflects or replicates runs on the CPU.",
        "Pad on the host, or with zeros.",
        (WHISPERKIT_PLANS,),
        each_op(_reflect),
    ),
    Rule(
        "mask",
        "warning",
        "Masks are finite, from -1e4 to -4e4: the softmax of the Neural Engine mishandles infinity and NaN.",
        "Use -1e4 in place of -inf or of the lowest float.",
        (APPLE, PROFILER),
        each_op(_mask),
    ),
)
