"""`compare --blame`, `--save` and `--against` as a user runs them, on a converted demo checkpoint and a real clip."""

import json

import pytest
from safetensors import safe_open

import compare
from models.parakeet_tdt import MODEL
from tests.commands import command_runner
from toolkit.export.convert import ConvertRequest, convert, prepare


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modes") / "bundle"
    request = ConvertRequest(MODEL, checkpoint="demo", output=folder, options={"audio_seconds": "4"})
    assert convert(prepare(request)).passed
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; (exit code, stdout, stderr)."""
    return command_runner(compare, monkeypatch, capsys)


def test_blame_and_save_then_against(run, bundle, tmp_path):
    capture = tmp_path / "capture.safetensors"
    code, out, err = run("--bundle", bundle, "--num-files", 1, "--blame", "--save", capture, "--json")
    value = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert (code, err) == (0, "")
    walk = value["models"][0]["walk"]
    assert walk["first"] is None
    assert "none: all within their gates; the largest share is that of 'package fp16'" in walk["verdict"]
    assert {o["output"] for o in walk["outputs"] if o["chain"]} == {
        "encoder frames, mel to joint",
        "teacher-forced token_logits",
        "teacher-forced duration_logits",
    }
    assert (bundle.parent / "bundle.fp32" / "manifest.json").is_file()
    with safe_open(capture, "np") as file:
        assert json.loads(file.metadata()["capture"])["model"] == MODEL.id
    code, out, err = run("--bundle", bundle, "--num-files", 1, "--against", capture)
    assert (code, err) == (0, "")
    assert "device: does the hardware agree? passed" in out
    assert "same machine, packages, versions" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save", "x.safetensors"], "a capture is of one model: name it"),
        (["--against", "x.safetensors"], "a capture is of one model: name it"),
        (["parakeet-tdt", "--save", "no/such/folder/x"], "no folder no/such/folder"),
        (["parakeet-tdt", "--blame", "--runtime", "eager"], "leave --runtime eager out"),
    ],
)
def test_what_does_not_go_together_is_one_line(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_a_file_that_is_no_capture_is_one_line_before_any_work(run, bundle, tmp_path):
    (tmp_path / "x").write_text("no tensors")
    code, out, err = run("--bundle", bundle, "--against", tmp_path / "x")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "is no capture that can be read" in err
