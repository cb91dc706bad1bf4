"""Weight compression: weights stored in fewer bits, expanded to the package's own precision when it runs.

A function is compressed before several are merged into one package, since coremltools compresses single functions only.
Both methods are deterministic, so equal weights of two functions stay equal and are still stored once.
"""

import math
from collections.abc import Collection
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.quiet import coremltools, quiet
from toolkit.spec import Compression

# Weights of fewer elements (biases, norms, small convolutions) stay as they are: nothing is won by them.
SMALLEST_ELEMENTS = 2048
# Output channels that share one table of 16 values; one table for a whole weight cost four times the error.
PALETTE_GROUP_CHANNELS = 16
# Tables by group of channels came with these; int8 by channel is as old as ML Programs' compression (iOS16).
GROUPED_PALETTE_TARGETS = frozenset({"iOS18", "macOS15"})


def refuse_compression(compression: Compression, target: str) -> None:
    """Refuse a compression that the target cannot read.

    Raises:
        ToolkitError: names both.
    """
    if compression == "palette4" and target not in GROUPED_PALETTE_TARGETS:
        raise ToolkitError(
            f"palette4 keeps a table for every {PALETTE_GROUP_CHANNELS} channels, which {target} cannot read",
            "Give --target iOS18 or macOS15, or --compress int8.",
        )


def compress_model(model: Any, compression: Compression) -> Any:
    """Compress the weights of one converted function.

    Args:
        model: coremltools' MLModel of one function.
        compression: `int8`: linear, symmetric, a scale for each output channel. `palette4`: 16 values by k-means for
            each group of 16 output channels. `none` gives the model back.

    Returns:
        An MLModel with the same description.

    Source: coremltools 9.0, `coremltools.optimize.coreml`, linear_quantize_weights and palettize_weights.
    """
    if compression == "none":
        return model
    optimize = coremltools().optimize.coreml
    with quiet():
        if compression == "int8":
            return optimize.linear_quantize_weights(model, _int8_config(optimize))
        return optimize.palettize_weights(model, _palette_config(optimize, model))


def _int8_config(optimize: Any) -> Any:
    weights = optimize.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=SMALLEST_ELEMENTS
    )
    return optimize.OptimizationConfig(global_config=weights)


def _palette_config(optimize: Any, model: Any) -> Any:
    """Where 16 does not divide the channels, coremltools would leave the weight whole: a smaller group that does."""
    by_weight = {
        name: _palette(optimize, group_channels(weight.val.shape, {op.op_type for op in weight.child_ops}))
        for name, weight in optimize.get_weights_metadata(model, weight_threshold=SMALLEST_ELEMENTS).items()
    }
    return optimize.OptimizationConfig(
        global_config=_palette(optimize, PALETTE_GROUP_CHANNELS), op_name_configs=by_weight
    )


def _palette(optimize: Any, group: int) -> Any:
    return optimize.OpPalettizerConfig(
        mode="kmeans",
        nbits=4,
        granularity="per_grouped_channel",
        group_size=group,
        weight_threshold=SMALLEST_ELEMENTS,
    )


def group_channels(shape: tuple[int, ...], consumers: Collection[str]) -> int:
    """Channels that share a table: the largest number up to 16 that divides the output channels.

    Args:
        shape: of the weight.
        consumers: types of the ops that take it; they decide which axis holds the output channels.
    """
    axes = {1} if "conv_transpose" in consumers else {-1, -2} if "matmul" in consumers else {0}
    channels = math.gcd(*(shape[axis] for axis in axes if -len(shape) <= axis < len(shape)))
    return next(n for n in range(PALETTE_GROUP_CHANNELS, 0, -1) if channels % n == 0)
