"""Magnitudes of a package's values: what overflows, comes near or loses precision in float16, and what to keep."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import milrun
from parity.localise.ranges import Risk, measure_ranges
from tests.parity.localise.damage import Blocks, Squares, call, component, saved
from toolkit.export.package import _precision
from toolkit.quiet import coremltools


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return milrun.load(saved(component(Squares), tmp_path_factory.mktemp("squares")))


def by_name(ranges):
    return {row.op.name.removesuffix("_cast_fp16"): row for row in ranges.rows}


def test_an_overflow_shows_its_true_magnitude(squares):
    found = measure_ranges(squares, [call(length=3000)])
    row = by_name(found)["squares"]
    assert row.risk is Risk.OVERFLOW
    assert row.largest > 1e6
    hidden = by_name(found)["hidden"]
    assert row.largest == pytest.approx(hidden.largest**2, rel=1e-5)
    assert hidden.risk is None


def test_what_to_keep_in_float32_holds_the_readers_of_an_overflow(squares):
    found = measure_ranges(squares, [call(length=3000)])
    assert {"mul", "reduce_mean", "sub"} <= set(found.fp32_ops)
    assert found.selector.startswith("ct.transform.FP16ComputePrecision(op_selector=lambda op: op.op_type not in {")
    made = eval(found.selector, {"ct": coremltools()})
    assert type(made) is type(_precision(coremltools(), "fp16", found.fp32_ops))


def test_keeping_them_cures_the_package(tmp_path):
    given = call(length=3000)
    broken = milrun.load(saved(component(Squares), tmp_path / "broken"))
    assert not np.isfinite(broken.predict(given.inputs)["y"]).all()
    spec = replace(component(Squares), fp32_ops=measure_ranges(broken, [given]).fp32_ops)
    assert np.isfinite(milrun.load(saved(spec, tmp_path / "cured")).predict(given.inputs)["y"]).all()


def scaled(squares, largest):
    """Calls whose squares reach a magnitude."""
    given = call(length=1)
    reached = by_name(measure_ranges(squares, [given]))["squares"].largest
    factor = (largest / reached) ** 0.5
    given.inputs["length"] = np.array([round(factor)], np.int32)
    return given


def test_near_the_limit(squares):
    assert by_name(measure_ranges(squares, [scaled(squares, 40000)]))["squares"].risk is Risk.NEAR
    assert by_name(measure_ranges(squares, [scaled(squares, 10000)]))["squares"].risk is None


def test_mostly_subnormal_values_lose_precision(tmp_path):
    spec = component(Faint)
    rows = by_name(measure_ranges(milrun.load(saved(spec, tmp_path / "faint")), [call()]))
    assert rows["faint"].risk is Risk.TINY
    assert rows["faint"].tiny > 0.9


class Faint(torch.nn.Module):
    def forward(self, x, length):
        faint = x * 1e-6
        return faint * 1e6 * length.to(x.dtype)


def test_the_largest_of_all_calls_counts(squares):
    both = by_name(measure_ranges(squares, [call(length=1), call(length=3000)]))
    assert both["squares"].largest == by_name(measure_ranges(squares, [call(length=3000)]))["squares"].largest


def test_a_healthy_package_needs_nothing(tmp_path):
    found = measure_ranges(milrun.load(saved(component(lambda: Blocks(1)), tmp_path / "b")), [call()])
    assert (found.risky, found.fp32_ops, found.selector) == ((), (), "")
