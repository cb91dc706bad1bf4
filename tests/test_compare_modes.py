"""`compare --blame`, `--save` and `--against` as a user runs them, on a converted demo checkpoint and a real clip."""

import json
import shutil

import pytest
from safetensors import safe_open

import compare
from models.parakeet_tdt import MODEL
from tests.command_runner import command_runner, own_lines
from tests.parity.localise.damage import Damage
from toolkit.bundle.checksums import sha256_of_path
from toolkit.errors import NoDemo
from toolkit.model import ModelInfo


@pytest.fixture
def bundle(parakeet_bundle):
    return parakeet_bundle


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; (exit code, stdout, stderr)."""
    return command_runner(compare, monkeypatch, capsys)


def test_blame_and_save_then_against(run, bundle, tmp_path):
    capture = tmp_path / "capture.safetensors"
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy("demo/clips/ps_cards_001.wav", folder / "a.wav")
    (folder / "a.txt").write_text("Ten of clubs.")
    asked = ("--bundle", bundle, "--dataset", folder, "--num-files", 2)
    code, out, err = run(*asked, "--blame", "--save", capture, "--json")
    value = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert (code, own_lines(err)) == (0, f"{folder} holds 1 utterances, fewer than the 2 asked for\n")  # once
    walk = value["models"][0]["walk"]
    assert walk["first"] is None
    assert "no step fails its gate; the largest share of the error is 'package fp16'" in walk["verdict"]
    assert {o["output"] for o in walk["outputs"] if o["chain"]} == {
        "encoder frames, mel to joint",
        "teacher-forced token_logits",
        "teacher-forced duration_logits",
    }
    assert (bundle.parent / "bundle.fp32" / "manifest.json").is_file()
    with safe_open(capture, "np") as file:
        assert json.loads(file.metadata()["capture"])["model"] == MODEL.id
    code, out, err = run("--bundle", bundle, "--num-files", 1, "--against", capture, "--verbose")
    assert (code, own_lines(err)) == (0, "")
    assert "device: does the hardware agree? passed" in out
    assert "same machine, packages, versions" in out


@pytest.fixture
def no_bundle(monkeypatch):
    """Nothing may be converted or opened."""
    for module in ("comparing", "localising"):
        asked = f"commands.{module}.demo_bundle"
        monkeypatch.setattr(asked, lambda model: pytest.fail("the demo bundle was asked for"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save", "x.safetensors"], "a capture belongs to one model: give MODEL"),
        (["--against", "x.safetensors"], "a capture belongs to one model: give MODEL"),
        (["parakeet-tdt", "--save", "no/such/folder/x.safetensors"], "no folder no/such/folder"),
        (["parakeet-tdt", "--save", "x.bin"], "Give a name that ends in .safetensors."),
        (["parakeet-tdt", "--against", "no/such/file"], "no capture at no/such/file"),
        (["parakeet-tdt", "--blame", "--runtime", "eager"], "leave --runtime eager out"),
        (["parakeet-tdt", "--layers", "joint", "--decoder", "stateful"], "parakeet-tdt has no option --decoder"),
        (["parakeet-tdt", "--layers", "joint", "--report", "x.md"], "cannot be combined with --report"),
        (["parakeet-tdt", "--ranges", "--blame", "--save", "x.safetensors"], "cannot be combined with --blame, --save"),
        (["parakeet-tdt", "--ranges", "--against", "x.safetensors"], "cannot be combined with --against"),
        (["cohere-transcribe", "--ranges", "--decoder", "stateful"], "cannot be combined with --decoder"),
        (["parakeet-tdt", "--layers", "all", "--runtime", "eager"], "cannot be combined with --runtime eager"),
        (["parakeet-tdt", "--layers", "all", "--dataset", "nosuch"], "no data set 'nosuch'"),
        (["parakeet-tdt", "--layers", "nosuch"], "no component 'nosuch'"),
        (["parakeet-tdt", "--layers", ""], "no component ''"),
        (["--layers", "nosuch:main"], "pocket-tts has text_embedding"),
    ],
)
def test_what_does_not_go_together_is_one_line(run, no_bundle, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_layers_of_a_component_leave_out_the_models_that_lack_it(run, bundle, monkeypatch):
    asked = []
    monkeypatch.setattr("commands.localising.demo_bundle", lambda model: asked.append(model.id) or bundle)
    code, out, err = run("--layers", "joint:main", "--num-files", 1, "--runtime", "portable", "--json")
    value = json.loads(out)
    assert (code, err, asked) == (0, "", [MODEL.id])
    assert [(found["model"], found["component"]) for found in value["layers"]] == [(MODEL.id, "joint")]
    code, out, err = run("--layers", "joint:audio_4s", "--num-files", 1)
    assert (code, out) == (2, "")
    assert "no such function 'joint:audio_4s'. Give one of: joint:main." in err


def test_a_model_without_a_demo_is_left_out_with_a_note(run, bundle, monkeypatch):
    parrot = ModelInfo("parrot", "models.parrot", "transcription", "Parrot", "zoo/parrot", "repeats", ("joint",))

    def demo(model):
        if model is parrot:
            raise NoDemo("no demo checkpoint for parrot", "Give --checkpoint a hub id or a folder.")
        return bundle

    monkeypatch.setattr("commands.localising.demo_bundle", demo)
    monkeypatch.setattr("commands.compare_request.all_models", lambda: {MODEL.id: MODEL, "parrot": parrot})
    code, out, err = run("--layers", "joint", "--num-files", 1, "--runtime", "portable", "--json")
    assert (code, err) == (0, "note: parrot is skipped: no demo checkpoint for parrot\n")
    assert [found["model"] for found in json.loads(out)["layers"]] == [MODEL.id]


def not_finite(bundle, folder):
    """A copy of the bundle with a weight of the encoder that is no number, and fitting checksums."""
    copy = folder / "damaged"
    shutil.copytree(bundle, copy)
    damaged = Damage(copy / "encoder.mlpackage", folder)
    damaged.scale_weight(damaged.op("linear", "encoder.1.feed_forward1.linear1"), "weight", float("nan"))
    shutil.rmtree(copy / "encoder.mlpackage")
    shutil.move(damaged.path, copy / "encoder.mlpackage")
    manifest = json.loads((copy / "manifest.json").read_text())
    for entry in manifest["components"]:
        for package in entry["packages"]:
            package["sha256"] = sha256_of_path(copy / package["file"])
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_what_is_not_finite_is_named_once_with_the_way_into_the_component(run, bundle, tmp_path):
    damaged = not_finite(bundle, tmp_path)
    code, out, _ = run("--bundle", damaged, "--num-files", 1, "--json")
    (found,) = json.loads(out)["models"]
    rows = {row["output"]: row for row in found["stages"][2]["rows"]}
    assert (code, found["blame"]) == (1, "packages")
    assert {name for name, row in rows.items() if row["status"] == "FAILED"} == {"encoder audio_4s: encoder"}
    length = rows["encoder audio_4s: encoder_length"]
    assert (length["status"], length["note"]) == ("SKIP", "not measured: 'encoder' of the same call is not finite")
    step = "; `compare --bundle DIR --layers encoder` names the op)"
    assert found["verdict"].endswith(f"NaN or infinite values{step}")
    assert "(encoder audio_4s: encoder: output 'encoder' holds " in found["verdict"]
    code, out, _ = run("--bundle", damaged, "--num-files", 1, "--layers", "encoder")
    assert code == 1
    assert "encoder.layers.1.feed_forward1.linear1" in out.rstrip().splitlines()[-1]


def test_a_file_that_is_no_capture_is_one_line_before_any_work(run, bundle, tmp_path):
    (tmp_path / "x").write_text("no tensors")
    code, out, err = run("--bundle", bundle, "--against", tmp_path / "x")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "is not a readable capture" in err
