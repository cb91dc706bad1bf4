"""Rules about a function as a whole: its size, its states, what it feeds back to itself."""

import re
from collections.abc import Iterator

from toolkit.lint.rule import Hit, Rule, Source
from toolkit.lint.sources import ANEMLL, APPLE, EEANE, PROFILER, READ, coremltools_issue
from toolkit.lint.target import GIB, Target
from toolkit.lint.view import FunctionView

_STATE_STEP = 32
_SMALL_BYTES = 50_000_000
_DIRECTION = re.compile(r"_(in|out|next)$")


def _size(view: FunctionView, target: Target) -> Iterator[Hit]:
    if view.stored_bytes > target.model_bytes:
        sizes = f"{view.stored_bytes / GIB:.2f} GiB of constants, the limit is {target.model_bytes / GIB:.0f} GiB"
        yield Hit(sizes)


def _small(view: FunctionView, _: Target) -> Iterator[Hit]:
    if view.stored_bytes < _SMALL_BYTES:
        yield Hit(f"{view.stored_bytes / 1e6:.1f} MB of constants")


def _state_width(view: FunctionView, _: Target) -> Iterator[Hit]:
    for name, kind in view.states.items():
        if kind.shape and kind.shape[-1] and kind.shape[-1] % _STATE_STEP:
            yield Hit(f"state {name} is {kind}")


def _feedback(view: FunctionView, _: Target) -> Iterator[Hit]:
    """Outputs that have an input's shape and, but for its direction, its name; and states."""
    outputs = {_DIRECTION.sub("", name): name for name in view.function.block.outputs if name in view.types}
    for name, kind in view.inputs.items():
        output = outputs.get(_DIRECTION.sub("", name))
        if output and kind.dtype.startswith("float") and view.types[output].shape == kind.shape:
            yield Hit(f"{output} feeds {name}")
    yield from (Hit(f"state {name}") for name in view.states)


RULES = (
    Rule(
        "size",
        "error",
        "A model above 1 GiB (macOS 27) or 2 GiB (before) runs wholly on the CPU.",
        "Compress the weights (--compress int8 or palette4), or split the component.",
        (EEANE, ANEMLL),
        _size,
        applies="1 GiB: macOS 27; 2 GiB: before",
        conflict="How the limit counts a package of several functions is unknown; here each function counts its own.",
    ),
    Rule(
        "small-graph",
        "info",
        "A graph below about 50 MB often stays on the CPU: the scheduler finds the transfer too dear.",
        "Nothing; fuse small components if their calls dominate.",
        (PROFILER,),
        _small,
        conflict="The same report places graphs of 18 MB and 7 MB 100 % on the Neural Engine.",
    ),
    Rule(
        "state-width",
        "error",
        "A state whose last dimension is no multiple of 32 fails, also with all compute units.",
        "Pad the last dimension of the state to a multiple of 32, or take CPU_AND_GPU.",
        (coremltools_issue(2631),),
        _state_width,
    ),
    Rule(
        "feedback",
        "info",
        "Values fed back over many steps drift in float16.",
        "Compare long runs (`compare`); audio that beeps points here: take the CPU.",
        (APPLE, Source("FluidInference/mobius IOS_COREML_ISSUES.md #7", READ, "measured")),
        _feedback,
    ),
)
