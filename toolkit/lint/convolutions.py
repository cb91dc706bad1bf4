"""Rules about convolutions and pooling: kernels, strides and dilations."""

from collections.abc import Sequence

from milrun.program import Operation, Ref
from toolkit.lint.rule import Rule, each_op
from toolkit.lint.sources import ANEFORGE_TARGETS, APPLE, HOLLANCE, WHISPERKIT_PLANS
from toolkit.lint.target import Target
from toolkit.lint.view import FunctionView

_CONVOLUTIONS = ("conv", "conv_transpose")
_POOLS = ("avg_pool", "max_pool", "l2_pool")
_UPSAMPLERS = ("upsample_nearest_neighbor", "upsample_bilinear")
_LARGE_KERNEL, _LARGE_DILATION = 9, 4  # Apple's examples of too large: 9, and 8 where 2 and 3 are fine
_PALETTES = ("constexpr_lut_to_dense", "constexpr_lut_to_sparse")
_POOL_KERNEL, _POOL_STRIDE = 13, 2


def _kernel(view: FunctionView, op: Operation) -> tuple[int, ...]:
    weight = view.type_of(op, "weight") if op.type in _CONVOLUTIONS else None
    return tuple(size or 0 for size in weight.shape[2:]) if weight is not None and weight.shape else ()


def _numbers(view: FunctionView, op: Operation, parameter: str) -> Sequence[int]:
    value: Sequence[int] | None = view.value(op, parameter) if op.type in (*_CONVOLUTIONS, *_POOLS) else None
    return value or ()


def _kernel_width(view: FunctionView, op: Operation, target: Target) -> str:
    width = (_kernel(view, op) or (0,))[-1]
    return f"width {width}, the limit is {target.kernel_width}" if width > target.kernel_width else ""


def _only_twos_and_threes(number: int) -> bool:
    for factor in (2, 3):
        while number > 1 and number % factor == 0:
            number //= factor
    return number == 1


def _stride(view: FunctionView, op: Operation, _: Target) -> str:
    strides = _numbers(view, op, "strides") if op.type in _CONVOLUTIONS else ()
    if not all(map(_only_twos_and_threes, strides)):
        return f"strides {list(strides)}: not of factors 2 and 3"
    if len(set(strides)) > 1 and min(strides) > 2:
        return f"strides {list(strides)}: unequal and large"
    if max(strides, default=1) > 2 and _is_palettised(view, op):
        return f"strides {list(strides)} with a palettised kernel"
    return ""


def _is_palettised(view: FunctionView, op: Operation) -> bool:
    refs = (b for b in op.inputs.get("weight", ()) if isinstance(b, Ref))
    return any(b.name in view.makers and view.makers[b.name].type in _PALETTES for b in refs)


def _large(view: FunctionView, op: Operation, _: Target) -> str:
    kernel, dilations = _kernel(view, op), _numbers(view, op, "dilations")
    if max(kernel, default=1) >= _LARGE_KERNEL:
        return f"kernel {list(kernel)}"
    return f"dilations {list(dilations)}" if kernel and max(dilations, default=1) >= _LARGE_DILATION else ""


def _pool(view: FunctionView, op: Operation, _: Target) -> str:
    if op.type in _UPSAMPLERS:
        factors = [view.value(op, f"scale_factor_{side}") or 1 for side in ("height", "width")]
        return f"scale {factors}" if max(factors) > _POOL_STRIDE else ""
    sizes, strides = (_numbers(view, op, name) if op.type in _POOLS else () for name in ("kernel_sizes", "strides"))
    if max(sizes, default=1) > _POOL_KERNEL or max(strides, default=1) > _POOL_STRIDE:
        return f"kernel {list(sizes)}, strides {list(strides)}"
    return ""


RULES = (
    Rule(
        "kernel-width",
        "warning",
        "A convolution's kernel is at most 13 wide (M1 to M3) or 15 wide (M4 on).",
        "Split the kernel, or move the width into the channels (space to depth).",
        (ANEFORGE_TARGETS, WHISPERKIT_PLANS),
        each_op(_kernel_width),
        applies="13: M1 to M3; 15: M4 on",
        conflict="M1 and M5 are measured; M2 to M4 are inherited from them.",
    ),
    Rule(
        "stride",
        "warning",
        "A convolution's strides have factors of 2 and 3 only, are equal where large, and reach 2 with palettes.",
        "Take another stride, or reshape before a convolution of stride 1.",
        (APPLE, WHISPERKIT_PLANS),
        each_op(_stride),
    ),
    Rule(
        "large-kernel",
        "info",
        "Large kernels and dilations are expensive.",
        "Replace one by several: two kernels of 5 see as far as one of 9; dilation 8 is three of 2.",
        (APPLE, HOLLANCE),
        each_op(_large),
    ),
    Rule(
        "pooling",
        "info",
        "A pooling kernel above 13, a stride above 2 or an upsampling above 2 may be unsupported.",
        "Do it in several steps.",
        (HOLLANCE,),
        each_op(_pool),
        conflict="Written about neural networks of 2020-22, 'possibly wrong'; Apple's rules allow strides of 2 and 4.",
    ),
)
