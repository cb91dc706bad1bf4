"""What `convert bench` measures, on the portable runtime and on a Core ML that refuses."""

import pytest

from commands.benching import table
from tests.toolkit.runtimes.frameworks import FakeFramework
from tests.toolkit.runtimes.test_coreml import SEVERAL, bundle_of, function
from toolkit.bundle.bundle import open_bundle
from toolkit.compute_units import UnitsChoice
from toolkit.runtimes.coreml import CoremlRuntime
from toolkit.runtimes.measuring import WARM_UP_CALLS, time_on_core_ml, time_on_portable


def test_the_portable_runtime_prepares_nothing(parakeet_bundle):
    timings = list(time_on_portable(open_bundle(parakeet_bundle), 2))
    assert [t.component for t in timings] == ["encoder", "prediction", "joint", "joint_decision", "decoder_step"]
    for timing in timings:
        assert timing.prepare_s is None
        assert 0 < timing.median_ms <= timing.p95_ms
        assert timing.load_s > 0
        assert timing.first_ms > 0


@pytest.fixture
def measured(tmp_path):
    """Timings on some units of a framework."""

    def run(units, framework, runs=3):
        bundle = bundle_of(tmp_path, (function("audio_5s"), function("audio_15s")), SEVERAL)
        runtime = CoremlRuntime(bundle, UnitsChoice(units), lambda text: None, framework)
        return list(time_on_core_ml(bundle, units, runs, runtime))

    return run


def test_cold_and_warm_are_told_apart(measured):
    framework = FakeFramework()
    cold, again = measured("ALL", framework), measured("ALL", framework)
    assert all(timing.prepare_s is not None for timing in cold)
    assert all(timing.prepare_s is None and timing.load_s is not None for timing in again)
    assert len(framework.compiled) == 1


def test_what_falls_back_is_refused_and_not_measured(measured):
    framework = FakeFramework(refused={"CPU_AND_NE": "width 36"})
    timings = measured("CPU_AND_NE", framework)
    assert [t.refused for t in timings] == ["Core ML refuses it; it runs on CPU_AND_GPU"] * 2
    assert all(t.median_ms is None for t in timings)


def test_the_fastest_units_are_marked(measured):
    timings = [*measured("ALL", FakeFramework(), 1), *measured("CPU_ONLY", FakeFramework(), 1)]
    lines = table(timings).splitlines()
    assert len(lines) == 1 + len(timings)
    assert sum(line.endswith("*") for line in lines) == 2


def test_warm_up_calls_are_not_measured(measured, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "tests.toolkit.runtimes.frameworks.FakeModel.predict", lambda *a: calls.append(1) or {"y": a[1]["x"]}
    )
    (first, _) = measured("ALL", FakeFramework(), 4)
    assert first.median_ms is not None
    assert len(calls) % 2 == 0
    assert len(calls) // 2 >= WARM_UP_CALLS + 4
