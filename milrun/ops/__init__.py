"""The op functions, a module a family of coremltools' op definitions. Importing this fills `milrun.OPS`."""

from milrun.ops import (  # noqa: F401
    activation,
    classify,
    compression,
    control_flow,
    conv,
    elementwise_binary,
    elementwise_unary,
    image_resizing,
    linear,
    normalization,
    pool,
    quantization,
    random,
    recurrent,
    reduction,
    scatter_gather,
    states,
    tensor_operation,
    tensor_transformation,
    transformers,
)
