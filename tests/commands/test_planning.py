"""`convert plan` on the stand-in's compute plan."""

import json
import platform

import pytest

import convert
import milrun.standin
from commands.planning import Compared, text_of
from tests.command_runner import command_runner
from toolkit.runtimes.plans import Plan, PlannedOp


@pytest.fixture
def mac(monkeypatch):
    """A Mac, as far as the stand-in plays one."""
    with milrun.standin.predictions():
        monkeypatch.setattr("sys.platform", "darwin")
        monkeypatch.setattr(platform, "system", lambda: "Darwin")
        yield


def run(monkeypatch, capsys, *arguments):
    return command_runner(convert, monkeypatch, capsys)("plan", *arguments)


def test_every_function_has_a_plan_beside_the_forecast(mac, parakeet_bundle, tmp_path, monkeypatch, capsys):
    page = tmp_path / "plan.html"
    settings = ("--compute-units", "ALL", "--json", "--report", page)
    code, out, err = run(monkeypatch, capsys, parakeet_bundle, *settings)
    assert code == 0, err
    plans = {(plan["component"], plan["function"]): plan for plan in json.loads(out)}
    assert {component for component, _ in plans} >= {"encoder", "prediction", "joint", "decoder_step"}
    lstm = [op for op in plans["prediction", "main"]["ops"] if op["type"] == "lstm"]
    assert lstm
    assert all(op["device"] == "CPU" and op["forecast_off"] for op in lstm)
    assert all(0 <= plan["agreeing"] <= len(plan["ops"]) for plan in plans.values())
    assert "lstm" in page.read_text(encoding="utf-8")


def test_functions_of_one_package_are_planned_each(mac, tmp_path, monkeypatch, capsys):
    from commands.conversion import ConvertRequest, prepare
    from commands.conversion import convert as converted
    from models.parakeet_tdt import MODEL
    from tests.models.parakeet_tdt.tiny import save_tiny_checkpoint

    save_tiny_checkpoint(tmp_path / "tiny")
    options = {"audio_seconds": "1,2"}
    request = ConvertRequest(MODEL, str(tmp_path / "tiny"), output=tmp_path / "b", only=("encoder",), options=options)
    converted(prepare(request))
    code, out, err = run(monkeypatch, capsys, tmp_path / "b", "--json", "--compute-units", "CPU_AND_NE")
    assert code == 0, err
    assert [plan["function"] for plan in json.loads(out)] == ["audio_1s", "audio_2s"]
    assert all(plan["ops"] for plan in json.loads(out))


def op(name, device):
    return PlannedOp(name, "add", device, ("CPU", device), 0.5)


def test_agreement_is_counted_where_the_neural_engine_is_allowed():
    plan = Plan("encoder", "main", "ALL", (op("a", "NE"), op("b", "CPU"), op("c", "NE")))
    compared = Compared(plan, frozenset({"b", "c"}))
    assert compared.agreeing == 2
    assert "agrees for 2 of 3 ops (67%)" in text_of([compared])
    on_cpu = Compared(Plan("encoder", "main", "CPU_ONLY", plan.ops), frozenset())
    assert "agrees" not in text_of([on_cpu])


@pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML is there")
def test_off_macos_it_is_refused(parakeet_bundle, monkeypatch, capsys):
    code, _, err = run(monkeypatch, capsys, parakeet_bundle)
    assert (code, "needs macOS" in err) == (3, True)
