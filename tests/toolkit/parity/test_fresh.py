"""A damaged package against a fresh conversion of its wrapper."""

import numpy as np
import pytest

import milrun
from tests.toolkit.parity.damage import Blocks, Damage, component, saved
from toolkit.parity.fresh import compare_with_fresh

SPEC = component(lambda: Blocks(1))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved(SPEC, tmp_path_factory.mktemp("fresh"))


@pytest.fixture
def damage(package, tmp_path):
    return Damage(package, tmp_path)


def differences(model):
    return compare_with_fresh(model, SPEC, "main", "fp16", "iOS18")


def test_a_healthy_package_does_not_differ(package):
    assert differences(milrun.load(package)) == []


def test_a_weight_and_an_epsilon(damage):
    norm, up = damage.op("layer_norm", "0.norm"), damage.op("linear", "0.up")
    damage.scale_weight(up, "weight", 1.05)
    damage.constant(norm, "epsilon").immediateValue.tensor.bytes.values = np.float16(0.02).tobytes()
    assert differences(damage.save()) == [
        f"{norm.outputs[0].name} (layer_norm from 0.norm): the constant epsilon differs",
        f"{up.outputs[0].name} (linear from 0.up): the constant weight differs",
    ]


def test_wiring_and_a_dropped_op(damage):
    halves = damage.op("concat", "0.attention").inputs["values"].arguments
    halves[0].name, halves[1].name = halves[1].name, halves[0].name
    dropped = damage.op("mul", "0")
    damage.drop(dropped)
    found = differences(damage.save())
    assert len(found) == 3
    assert "(concat from 0.attention): the input values differs" in found[0]
    assert found[1] == f"{dropped.outputs[0].name} (mul from 0) is missing"
    assert "(linear from 0.down): the input x differs" in found[2]
