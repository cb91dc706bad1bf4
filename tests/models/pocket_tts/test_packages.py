"""The saved packages of a tiny checkpoint: within their gates, nothing folded away; compared, and spoken with."""

import json
import shutil
import sys

import numpy as np
import pytest
import soundfile

import compare
import convert
import infer
from models.pocket_tts import MODEL, export
from tests.command_runner import command_runner, own_lines
from tests.models.audio import RATE, clip
from tests.models.pocket_tts.conftest import BUNDLE_OPTIONS
from tests.packages import assert_every_input_acts, assert_padding_cannot_act, functions
from toolkit.bundle.checksums import sha256_of_path
from toolkit.runtimes.portable import PortableRuntime

DEFAULTS = {option.name: option.default for option in MODEL.options["convert"]}
PORTABLE = ("--runtime", "portable")


def test_a_float16_bundle_is_within_its_gates(converted):
    parity = [(c.name, p) for c in converted.manifest.components for p in c.parity]
    assert {(name, p.function) for name, p in parity} == {
        ("text_embedding", "main"),
        ("voice_projection", "main"),
        ("backbone", "prefill"),
        ("backbone", "step"),
        ("flow", "step"),
        ("flow", "steps_1"),
        ("codec_decoder", "main"),
        ("codec_encoder", "main"),
    }
    assert all(p.passed and p.calls for _, p in parity), [(n, p.output, p.gate) for n, p in parity if not p.passed]
    states = {p.output for name, p in parity if name == "backbone" and p.output.startswith("state ")}
    assert states == {"state key_cache", "state value_cache"}
    assert converted.manifest.options == DEFAULTS | BUNDLE_OPTIONS


def test_every_input_of_a_saved_package_influences_an_output(converted):
    for component in functions(converted):
        if not component.name.startswith("codec"):  # whose window random positions exceed: tests/wrappers has its own
            assert_every_input_acts(component, 50 if "length" in component.inputs else None)


@pytest.mark.parametrize("output", ["key_out", "value_out"])
def test_padding_cannot_change_the_prefill(converted, output):
    prefill = PortableRuntime(converted.locate).load("backbone", "prefill")
    assert_padding_cannot_act(prefill, "embeds", output, 50)


def test_the_backbones_weights_are_stored_once(converted, small):
    """Prefill and step share all layers."""
    layers = export.load_model(small).model.layers
    (weights,) = (converted.path / "backbone.mlpackage").rglob("weight.bin")
    once = 2 * sum(parameter.numel() for parameter in layers.parameters())
    assert once < weights.stat().st_size < 1.5 * once


@pytest.fixture
def said(tmp_path):
    """A folder with a clip and a text short enough for the cache."""
    folder = tmp_path / "clips"
    folder.mkdir()
    soundfile.write(folder / "one.wav", clip(1.3), RATE)
    (folder / "one.txt").write_text("Hi.")
    return folder


@pytest.fixture
def compared(said, monkeypatch, capsys):
    """`compare --json` of a bundle: (exit code, stages)."""
    run = command_runner(compare, monkeypatch, capsys)

    def call(bundle):
        capsys.readouterr()
        code, out, err = run(
            "--bundle", bundle, "--dataset", said, "--runtime", "portable", "--flow-steps", 1, "--json"
        )
        assert own_lines(err) == ""
        value = json.loads(out)
        return code, value["models"][0]

    return call


def test_packages_of_a_bundle_pass(compared, converted):
    code, result = compared(converted.path)
    assert (code, result["blame"]) == (0, None), result["verdict"]
    stages = {s["stage"]: {row["output"]: row for row in s["rows"]} for s in result["stages"]}
    decode = stages["decode"]
    for output in (
        "conditioning cache: keys",
        "conditioning cache: values",
        "cloned voice: latents",
        "teacher-forced hidden, 1 flow steps",
        "teacher-forced eos_logit, 1 flow steps",
        "teacher-forced latents, 1 flow steps",
        "PCM of the reference's latents, 1 flow steps",
        "free-running latents, 1 flow steps",
        "free-running PCM, 1 flow steps",
        "end of speech, 1 flow steps",
    ):
        assert decode[output]["status"] == "passed"
    assert "flow step: velocity" in stages["wrappers"]
    assert any(name.startswith("to the cache's end") for name in decode)
    assert decode["teacher-forced hidden, 1 flow steps"]["metrics"]["rel_l2"] > 1e-5, "float16 packages ran"


def test_a_damaged_weight_blames_packages(compared, converted, tmp_path):
    """Scaled in the saved file, with a checksum that fits."""
    component = "codec_decoder"
    folder = shutil.copytree(converted.path, tmp_path / "damaged")
    (weights,) = (folder / f"{component}.mlpackage").rglob("weight.bin")
    content = bytearray(weights.read_bytes())
    start = len(content) // 2 // 64 * 64
    values = np.frombuffer(content, np.float16, count=len(content) // 64, offset=start)  # inside one weight
    values[:] = values * 0.5 + 0.05
    weights.write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["components"]:
        for package in entry["packages"] if entry["name"] == component else []:
            package["sha256"] = sha256_of_path(folder / package["file"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    code, result = compared(folder)
    assert (code, result["blame"]) == (1, "packages"), result["verdict"]
    assert f"({component}" in result["verdict"]


@pytest.fixture
def speak(converted, monkeypatch, capfdbinary, tmp_path):
    """`infer` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        given = ["infer", "--bundle", converted.path, *PORTABLE, *arguments]
        monkeypatch.setattr(sys, "argv", list(map(str, given)))
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as leaving:
            infer.main()
        out, err = capfdbinary.readouterr()
        return leaving.value.code or 0, out, err.decode()

    return call


SHORT = ("--eos-threshold", -100, "--text", "Hi.")  # ends at the first frame that may end it: 6 and 4 more


def test_a_wav_of_a_text(speak, converted, tmp_path):
    code, out, err = speak(*SHORT, "--output", "a.wav")
    assert (code, out) == (0, b""), err
    assert "a.wav: 0.88 s of speech" in err
    samples, rate = soundfile.read("a.wav", dtype="int16")
    assert (rate, len(samples)) == (24000, 11 * 1920)
    assert samples.any()
    speak(*SHORT, "--seed", 0, "--voice", "anna", "--output", "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    code, pcm, _ = speak(*SHORT, "--stream")
    assert (code, pcm) == (0, samples.astype("<i2").tobytes())


@pytest.mark.parametrize("change", [("--seed", 1), ("--voice", "bert"), ("--voice", "me.wav"), ("--flow-steps", 2)])
def test_another_voice_or_noise_is_heard(speak, change):
    soundfile.write("me.wav", clip(1.3), RATE)
    (_, plain, _), (code, other, err) = speak(*SHORT, "--stream"), speak(*SHORT, *change, "--stream")
    assert code == 0, err
    assert len(other) == len(plain)
    assert other != plain


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--text", "Hi.", "--voice", "nobody"], "no voice 'nobody'. Give a file, or one of the bundle's voices: anna"),
        (["--text", " "], "--text has no words"),
        (["--text", "..."], "the text has no letter and no digit"),
        (["--text", "many words, " * 4], "positions of the cache, it has 112. Convert with --cache-slots"),
        (["--text", "Hi.", "--seed", -1], "--seed is -1"),
    ],
)
def test_what_cannot_be_said_is_one_line(speak, tmp_path, arguments, complaint):
    code, out, err = speak(*arguments, "--output", "a.wav")
    assert (code, out, err.count("\n")) == (2, b"", 1)
    assert complaint in err
    assert not (tmp_path / "a.wav").exists()


def test_the_list_of_models_shows_it(monkeypatch, capsys):
    code, out, _ = command_runner(convert, monkeypatch, capsys)("list", "--json")
    (row,) = [row for row in json.loads(out) if row["model"] == "pocket-tts"]
    assert (code, row["task"], row["checkpoint"]) == (0, "synthesis", "kyutai/pocket-tts-without-voice-cloning")
