"""`convert lint` on the demo's bundle, on a package, and on what it cannot read."""

import json
from collections import Counter

import pytest
from coremltools.converters.mil import Builder as mb

import convert
from tests.command_runner import command_runner
from tests.milrun.compiled.mil_text import write_compiled
from tests.milrun.harness import save_program
from tests.toolkit.lint.programs import half


@pytest.fixture
def run(monkeypatch, capsys):
    return command_runner(convert, monkeypatch, capsys)


def warnings_of(findings, component):
    """Rule -> count, without what only informs."""
    return Counter(f["rule"] for f in findings if f["component"] == component and f["severity"] != "info")


def test_the_demo_as_macs_measured_the_published_model(run, parakeet_bundle):
    """FluidAudio: the encoder is 99 % on the Neural Engine; prediction, step and joint are on the CPU."""
    code, out, err = run("lint", parakeet_bundle, "--json")
    found = json.loads(out)
    findings = found["findings"]
    assert (code, err) == (0, "")
    assert {f["component"] for f in found["functions"]} >= {"encoder", "prediction", "joint", "decoder_step"}
    assert not warnings_of(findings, "encoder")
    assert sum(f["type"] == "cast" for f in findings if f["component"] == "encoder") == 8
    assert warnings_of(findings, "prediction") == {"lookup": 1, "recurrent": 2}
    assert warnings_of(findings, "decoder_step") == {"lookup": 1, "recurrent": 2, "no-kernel": 2}
    assert not warnings_of(findings, "joint")
    assert "small-graph" in {f["rule"] for f in findings if f["component"] == "joint"}


def test_a_finding_has_its_op_module_and_sources(run, parakeet_bundle):
    _, out, _ = run("lint", parakeet_bundle, "--json", "--chip", "M4", "--target", "macOS15")
    found = json.loads(out)
    assert (found["chip"], found["macos"]) == ("M4", "macOS15")
    assert "only a Mac measures" in found["forecast"]
    lookup = next(f for f in found["findings"] if f["rule"] == "lookup")
    assert (lookup["type"], lookup["module"], lookup["severity"]) == ("gather", "embedding", "warning")
    assert lookup["sources"][0]["confidence"] == lookup["confidence"] == "Apple"
    assert all(f["sources"] and f["what"] and f["change"] for f in found["findings"])


def test_in_words(run, parakeet_bundle):
    code, out, _ = run("lint", parakeet_bundle)
    first, *lines = out.splitlines()
    assert code == 0
    assert first.startswith("forecast, not a measurement")
    assert any("recurrent" in line and "2 findings, first " in line and "(lstm) in lstm" in line for line in lines)
    assert sum(line.startswith("  recurrent: ") for line in lines) == 1  # a rule is explained once
    assert any(line.startswith("    conflict: ") for line in lines)


def test_a_package_of_its_own(run, tmp_path):
    path = save_program(lambda x: mb.relu(x=x), {"x": half(1, 32)}, tmp_path, "iOS18")
    code, out, _ = run("lint", path)
    assert code == 0
    assert "op (main), 1 ops" in out


def test_a_compiled_model(run, tmp_path):
    path = save_program(lambda x: mb.relu(x=x), {"x": half(1, 32)}, tmp_path, "iOS18")
    code, out, _ = run("lint", write_compiled(path, tmp_path / "op.mlmodelc"), "--json")
    package = json.loads(run("lint", path, "--json")[1])
    assert (code, json.loads(out)["findings"]) == (0, package["findings"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.mlmodelc", "is not a compiled ML Program: it has no model.mil"),
        ("a.mlpackage", "Manifest.json"),
        ("absent.mlpackage", "no package at"),
        ("folder", "is not a bundle"),
    ],
)
def test_what_cannot_be_read(run, tmp_path, name, message):
    if not name.startswith("absent"):
        (tmp_path / name).mkdir()
    code, out, err = run("lint", tmp_path / name)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
