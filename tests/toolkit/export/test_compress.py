"""Compressed weights: what is stored, what runs, what is shared, and which targets are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import milrun
from toolkit.bundle.inspect import inspect_package
from toolkit.errors import ToolkitError
from toolkit.export.compress import group_channels, refuse_compression
from toolkit.export.package import export_component
from toolkit.spec import COMPRESSED_GATES, FP16_GATE, FP32_GATE, ComponentSpec, FunctionSpec, Tensor

WIDTH, CLASSES = 64, 70  # 16 does not divide the classes


class Net(torch.nn.Module):
    """A layer and a head; a longer input has the same weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.head(torch.tanh(self.layer(x)))


NET = Net().eval()


def function(name, rows):
    return FunctionSpec(
        name,
        (Tensor("x", (rows, WIDTH), "float32", "features in, unit 1"),),
        (Tensor("y", (rows, CLASSES), "float32", "logits out"),),
    )


SHORT = ComponentSpec("net", lambda _: NET, (function("main", 2),))
BOTH = replace(SHORT, functions=(function("short", 2), function("long", 5)))
ERRORS = {"none": (0, 1e-3), "int8": (1e-3, 2e-2), "palette4": (2e-2, 0.2)}


def weight_bytes(package):
    return sum(file.stat().st_size for file in package.rglob("weight.bin"))


@pytest.fixture(scope="module", params=["int8", "palette4"])
def packages(request, tmp_path_factory):
    """(compression, package of one function, package of two)."""
    folder, both = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("both")
    export_component(SHORT, folder, "fp16", "iOS18", compression=request.param)
    export_component(BOTH, both, "fp16", "iOS18", compression=request.param)
    return request.param, folder / "net.mlpackage", both / "net.mlpackage"


def test_every_large_weight_is_stored_in_fewer_bits(packages):
    compression, package, _ = packages
    found = inspect_package(package)
    assert (found.precision, found.compressed_weights) == ("fp16", 2)
    whole = 2 * WIDTH * (WIDTH + CLASSES)
    assert weight_bytes(package) < {"int8": 0.65, "palette4": 0.45}[compression] * whole


def test_milrun_runs_it_with_an_error_of_its_bits(packages):
    compression, package, both = packages
    low, high = ERRORS[compression]
    x = np.random.default_rng(0).standard_normal((2, WIDTH)).astype(np.float32)
    expected = NET(torch.from_numpy(x)).detach().numpy()
    for model in (milrun.load(package), milrun.load(both, "short")):
        error = np.linalg.norm(model.predict({"x": x})["y"] - expected) / np.linalg.norm(expected)
        assert low < error < high


def test_functions_still_share_their_weights(packages):
    _, one, both = packages
    assert weight_bytes(both) < 1.1 * weight_bytes(one)


def test_names_and_descriptions_survive(packages):
    import coremltools

    spec = coremltools.models.MLModel(str(packages[1]), skip_model_load=True).get_spec().description
    assert [(i.name, i.shortDescription) for i in spec.input] == [("x", "features in, unit 1")]
    assert [(o.name, o.shortDescription) for o in spec.output] == [("y", "logits out")]
    rows = milrun.load(packages[1]).inspect({"x": np.zeros((2, WIDTH), np.float32)}, trace=True)[1]
    assert "head" in {row.scope for row in rows}


@pytest.mark.parametrize("target", ["iOS17", "macOS14"])
def test_a_target_without_grouped_tables_is_refused_before_any_work(tmp_path, target):
    with pytest.raises(ToolkitError, match=f"palette4 keeps a table .* {target} cannot read"):
        export_component(SHORT, tmp_path, "fp16", target, compression="palette4")
    assert not list(tmp_path.iterdir())
    refuse_compression("int8", target)


def test_int8_for_an_older_target(tmp_path):
    export_component(SHORT, tmp_path, "fp16", "iOS17", compression="int8")
    assert inspect_package(tmp_path / "net.mlpackage").compressed_weights == 2


@pytest.mark.parametrize(
    ("shape", "consumers", "group"),
    [
        ((64, 32), {"linear"}, 16),
        ((70, 64), {"linear"}, 14),
        ((8198, 640), {"linear"}, 2),
        ((67, 64), {"gather"}, 1),
        ((10, 24, 3), {"conv_transpose"}, 12),
        ((1, 64, 70), {"matmul"}, 2),
    ],
)
def test_channels_of_one_table(shape, consumers, group):
    assert group_channels(shape, consumers) == group


def test_gates_of_compressed_packages_are_their_own():
    assert SHORT.gate("fp16") == FP16_GATE
    assert SHORT.gate("fp32") == FP32_GATE
    assert SHORT.gate("fp16", "int8") == SHORT.gate("fp32", "int8") == COMPRESSED_GATES["int8"]
