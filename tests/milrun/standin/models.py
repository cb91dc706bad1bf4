"""Small saved models that the stand-in's tests load."""

import coremltools as ct
import numpy as np
import torch
from coremltools.converters.mil import Builder as mb

from tests.milrun.harness import save_program


def add_one(folder, shape=(2, 3), dtype=np.float32, opset="iOS17"):
    """y = x + 1, as the only function `main`."""
    folder.mkdir(parents=True, exist_ok=True)
    return str(save_program(lambda x: mb.add(x=x, y=dtype(1), name="y"), {"x": np.zeros(shape, dtype)}, folder, opset))


def embedding(folder):
    """Rows of a table by int32 index."""
    traced = torch.jit.trace(torch.nn.Embedding(10, 4).eval(), torch.zeros(3, dtype=torch.int32))
    inputs, outputs = [ct.TensorType("i", (3,), np.int32)], [ct.TensorType("rows")]
    model = ct.convert(traced, inputs=inputs, outputs=outputs, skip_model_load=True)
    model.save(str(folder / "embedding.mlpackage"))
    return str(folder / "embedding.mlpackage")


def two_functions(folder):
    """`one` adds 1 and is the default, `two` adds 2."""
    both = ct.utils.MultiFunctionDescriptor()
    for name, value in (("one", 1), ("two", 2)):
        build = lambda x, value=value: mb.add(x=x, y=np.float32(value), name="y")  # noqa: E731
        (folder / name).mkdir(parents=True)
        path = save_program(build, {"x": np.zeros(2, np.float32)}, folder / name, "iOS18")
        both.add_function(str(path), "main", name)
    both.default_function_name = "one"
    ct.utils.save_multifunction(both, str(folder / "both.mlpackage"))
    return str(folder / "both.mlpackage")


class Accumulate(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(2))

    def forward(self, x):
        self.total += x
        return self.total * 1


def accumulate(folder):
    """Adds x to the float16 state `total` and puts it out."""
    model = ct.convert(
        torch.jit.trace(Accumulate(), torch.zeros(2)),
        inputs=[ct.TensorType(name="x", shape=(2,))],
        outputs=[ct.TensorType(name="y")],
        states=[ct.StateType(ct.TensorType(shape=(2,), dtype=np.float16), name="total")],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    )
    model.save(str(folder / "sum.mlpackage"))
    return str(folder / "sum.mlpackage")
