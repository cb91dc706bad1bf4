"""coremltools' own suites, as they ship in the installed wheel, and the environment they run in."""

from importlib.util import find_spec
from pathlib import Path

_SPEC = find_spec("coremltools")
assert _SPEC is not None
WHEEL = Path(_SPEC.submodule_search_locations[0])

_TORCH = "converters/mil/frontend/torch/test"
SUITES = {
    "mil": ("converters/mil/mil/ops/tests",),
    "torch": (f"{_TORCH}/test_torch_ops.py",),
    "states": (f"{_TORCH}/test_torch_stateful_model.py", "converters/mil/mil/passes/tests/test_state_passes.py"),
    "quant": (
        f"{_TORCH}/test_torch_quantization_ops.py",
        "converters/mil/mil/passes/tests/test_quantization_passes.py",
        "test/optimize/coreml/test_post_training_quantization.py",
        "test/optimize/torch/conversion",
        "test/ml_program/test_compression.py",
    ),
    # Functions, flexible shapes, images and classifiers: what stands around the ops.
    "api": (
        f"{_TORCH}/test_torch_conversion_api.py",
        "converters/mil/test_inputs_outputs_shape.py",
        "test/ml_program/test_utils.py",
    ),
}

# coremltools' own switches: leave out the neuralnetwork backend; add float32 packages; every opset an op runs in.
ENVIRONMENT = {
    "PYMIL_TEST_TARGETS": "mlprogram",
    "COMPUTE_UNITS": "CPU_ONLY",
    "INCLUDE_MIL_FP32_UNIT_TESTS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # importing torchao would start a pool of compilers that nobody asks
}
EVERY_OPSET = {"RUN_BACKWARD_COMPATIBILITY": "1"}
