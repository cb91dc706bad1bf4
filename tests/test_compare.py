"""The command, on a converted demo checkpoint and real clips."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import compare
from commands import compare_request
from models import all_models, find_model
from models.parakeet_tdt import MODEL
from tests.command_runner import command_runner
from tests.machine import verdict_of_a_pass
from toolkit.bundle.checksums import sha256_of_path
from toolkit.errors import CheckpointError, NoDemo
from toolkit.model import ModelInfo, ModelOption


@pytest.fixture
def bundle(parakeet_bundle):
    return parakeet_bundle


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; (exit code, stdout, stderr)."""
    return command_runner(compare, monkeypatch, capsys)


def test_compare_prints_stages_wer_and_verdict(run, bundle, tmp_path):
    report = tmp_path / "report.md"
    asked = ("--bundle", bundle, "--num-files", 2, "--runtime", "portable", "--report", report)
    code, out, err = run("parakeet-tdt", *asked)
    assert code == 0, out
    # On a Mac, it says what Core ML has to prepare.
    assert [line for line in err.splitlines() if not line.startswith("Core ML prepares")] == []
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    for stage in ("features", "wrappers", "packages", "decode", "task"):
        assert lines[stage].split()[1] == "passed"
    assert re.search(r"rel_l2 .* <= 0\.03, \d+ % of the limit", lines["packages"])
    assert f"{bundle}, fp16, portable, 2 clips of demo" in out
    assert len(out.splitlines()) <= 12
    assert "% ours, " in out
    assert out.rstrip().endswith(verdict_of_a_pass("parakeet-tdt"))
    assert "## parakeet-tdt" in report.read_text()
    assert [f.name for f in tmp_path.iterdir()] == ["report.md"]


def test_verbose_prints_every_table(run, bundle):
    code, out, _ = run("--bundle", bundle, "--num-files", 1, "--runtime", "portable", "--verbose")
    assert code == 0, out
    for part in (
        "features: ",
        "wrappers: ",
        "packages: ",
        "device: ",
        "decode: ",
        "task: ",
        "Reason: ",
        "dataset demo",
    ):
        assert part in out
    assert "WER" in out
    assert len(out.splitlines()) > 60


def test_json_alone_on_stdout_and_the_page_in_its_file(run, bundle, tmp_path):
    report = tmp_path / "out.html"
    code, out, err = run("--bundle", bundle, "--num-files", 1, "--json", "--report", report)
    value = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert (code, err, value["passed"], value["blame"]) == (0, "", True, [])
    stages = {s["stage"]: s for s in value["models"][0]["stages"]}
    assert list(stages) == ["features", "wrappers", "packages", "device", "decode", "task"]
    assert all(row["gate"]["reason"] for row in stages["packages"]["rows"])
    assert {"wer_percent", "reference_wer_percent"} <= set(stages["task"]["rows"][0]["metrics"])
    assert [f.name for f in tmp_path.iterdir()] == ["out.html"]
    page = report.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    for part in ("parakeet-tdt: passed", "data:image/png;base64,", "error of the encoder over time", "word boundaries"):
        assert part in page
    assert "coremltools" in page
    assert len(page) < 500_000


def damage(bundle, tmp_path, component, *, checksum):
    """A copy of the bundle with the weights of one package scaled, with or without a fitting checksum."""
    copy = tmp_path / "damaged"
    shutil.copytree(bundle, copy)
    (weights,) = (copy / f"{component}.mlpackage").rglob("weight.bin")
    content = bytearray(weights.read_bytes())
    half = len(content) // 2
    count = len(content) // 64  # inside one weight: no record of the file is touched
    values = np.frombuffer(content, np.float16, count=count, offset=half - half % 64)
    values[:] = values * 0.5 + 0.05
    weights.write_bytes(content)
    if checksum:
        manifest = json.loads((copy / "manifest.json").read_text())
        for entry in manifest["components"]:
            for package in entry["packages"] if entry["name"] == component else []:
                package["sha256"] = sha256_of_path(copy / package["file"])
        (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


@pytest.mark.parametrize("component", ["joint", "prediction"])
def test_damaged_package_fails_and_is_named(run, bundle, tmp_path, component):
    damaged = damage(bundle, tmp_path, component, checksum=True)
    code, out, _ = run("--bundle", damaged, "--num-files", 2, "--json")
    value = json.loads(out)
    assert code == 1
    assert value["blame"] == [{"model": "parakeet-tdt", "stage": "packages"}]
    failed = {r["output"].split(":")[0] for r in value["models"][0]["stages"][2]["rows"] if r["status"] == "FAILED"}
    assert failed == {component}


def test_changed_byte_is_refused(run, bundle, tmp_path):
    code, out, err = run("--bundle", damage(bundle, tmp_path, "joint", checksum=False))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "has changed" in err


def test_eager_runs_no_packages_and_says_so(run, bundle):
    code, out, _ = run("--bundle", bundle, "--num-files", 1, "--runtime", "eager")
    assert code == 0
    assert "not run: packages, device" in out


def test_folder_of_your_own(run, bundle, tmp_path):
    samples, rate = soundfile.read("demo/clips/ps_cards_001.wav")
    soundfile.write(tmp_path / "a.flac", samples, rate)
    (tmp_path / "a.txt").write_text("Ten of clubs.")
    code, out, err = run("--bundle", bundle, "--dataset", tmp_path, "--num-files", 2)
    assert code == 0
    assert "fewer than the 2 asked for" in err
    assert "WER 0.00 % ours, 0.00 % reference, over 1 clips" in out


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is there on macOS")
def test_coreml_off_macos_is_not_available(run, monkeypatch):
    monkeypatch.setattr("commands.comparing.demo_bundle", lambda model: pytest.fail("the demo bundle was asked for"))
    code, out, err = run("--runtime", "coreml")
    assert (code, out) == (3, "")
    assert "portable" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-model"], "no model 'no-such-model'"),
        (["--num-files", "0"], "num-files"),
        (["--frobnicate"], "--frobnicate"),
        (["--runtime", "magic"], "magic"),
        (["--bundle", "no/such/folder"], "no bundle at no/such/folder"),
        (["--report", "no/such/folder/report.md"], "no folder no/such/folder"),
        (["--report", "report.pdf"], "Give a name that ends in .html or .md."),
        (["--dataset", "nosuch"], "no data set 'nosuch'"),
        (["--dataset", "fleurs"], "FLEURS needs a language. Give --dataset fleurs:LANGUAGE: all, ar,"),
        (["--dataset", "fleurs:xx"], "not 'xx'"),
    ],
)
def test_usage_errors_are_one_line_before_any_work(run, monkeypatch, arguments, message):
    monkeypatch.setattr("commands.comparing.demo_bundle", lambda model: pytest.fail("the demo bundle was asked for"))
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_bad_dataset_and_bad_audio_are_one_line(run, bundle, tmp_path):
    code, _, err = run("--bundle", bundle, "--dataset", "no/such/folder")
    assert (code, err.count("\n")) == (2, 1)
    (tmp_path / "a.wav").write_text("no audio")
    (tmp_path / "a.txt").write_text("text")
    code, _, err = run("--bundle", bundle, "--dataset", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "a.wav" in err


def test_bundle_decides_the_model_and_refuses_another(bundle, monkeypatch):
    assert compare_request.chosen_models(None, bundle) == [find_model("parakeet-tdt")]
    assert compare_request.chosen_models(None, None) == list(all_models().values())
    other = ModelInfo("other", "models.other", "transcription", "Other", "o/o", "other")
    monkeypatch.setattr("commands.options.find_model", lambda name: other if name == "other" else MODEL)
    with pytest.raises(compare.typer.BadParameter, match="is a bundle of parakeet-tdt, not of other"):
        compare_request.chosen_models("other", bundle)


def test_options_of_other_models_are_refused_when_a_model_is_named():
    option = ModelOption("beam", int, 1, "Beam.")
    with_beam = ModelInfo("b", "models.b", "transcription", "B", "b/b", "b", options={"compare": (option,)})
    assert compare_request.options_of([with_beam, MODEL], {"beam": 2}, asked=False) == {"b": {"beam": 2}, MODEL.id: {}}
    with pytest.raises(compare.typer.BadParameter, match="no option --beam"):
        compare_request.options_of([MODEL], {"beam": 2}, asked=True)


def test_nothing_heavy_is_imported_for_help():
    code = "import sys, compare; print({'torch', 'transformers', 'coremltools', 'datasets'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_model_without_a_demo_is_skipped_and_fails_nothing(run, bundle, monkeypatch):
    parrot = ModelInfo("parrot", "models.parrot", "transcription", "Parrot", "zoo/parrot", "repeats")

    def demo(model):
        if model is parrot:
            raise NoDemo("no demo checkpoint for parrot", "Give --checkpoint a hub id or a folder.")
        return bundle

    monkeypatch.setattr("commands.comparing.demo_bundle", demo)
    monkeypatch.setattr("commands.compare_request.all_models", lambda: {MODEL.id: MODEL, "parrot": parrot})
    code, out, err = run("--num-files", 1, "--runtime", "portable")
    assert (code, err) == (0, ""), out
    assert "parrot: SKIP, no demo checkpoint for parrot" in out.splitlines()
    assert "2 models: passed" in out


def test_an_error_in_one_model_is_that_models_line(run, bundle, monkeypatch):
    """The finished ladder stands, the exit code is the worst, and the later models run."""
    other = ModelInfo("other", "models.other", "transcription", "Other", "o/o", "other")

    def demo(model):
        if model is other:
            raise CheckpointError("the weights are gone", "Put them back.")
        return bundle

    monkeypatch.setattr("commands.comparing.demo_bundle", demo)
    monkeypatch.setattr("commands.compare_request.all_models", lambda: {"other": other, MODEL.id: MODEL})
    code, out, err = run("--num-files", 1, "--runtime", "portable")
    assert (code, err) == (CheckpointError.exit_code, "")
    lines = out.splitlines()
    assert lines[0] == "other: error: the weights are gone. Put them back."
    assert verdict_of_a_pass("parakeet-tdt") in lines
    assert "2 models: FAILED" in lines
    code, out, _ = run("--num-files", 1, "--runtime", "portable", "--json")
    value = json.loads(out)
    assert (code, value["passed"]) == (2, False)
    assert [(m["model"], m["passed"], bool(m["error"])) for m in value["models"]] == [
        ("other", False, True),
        (MODEL.id, True, False),
    ]
