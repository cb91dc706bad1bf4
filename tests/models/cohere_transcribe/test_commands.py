"""The three commands on a tiny checkpoint."""

import json

import pytest
import soundfile

import compare
import convert
import infer
from tests.command_runner import command_runner
from tests.machine import verdict_of_a_pass
from tests.models.audio import RATE, clip
from tests.models.cohere_transcribe.host import stock


@pytest.fixture
def commands(monkeypatch, capsys, tmp_path):
    """convert, infer, compare, in an empty folder with a clip."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("clip.wav", clip(2.5), RATE, subtype="FLOAT")
    return {m.__name__: command_runner(m, monkeypatch, capsys) for m in (convert, infer, compare)}


@pytest.fixture
def transcribe(commands, converted):
    def call(*arguments):
        return commands["infer"]("clip.wav", "--bundle", converted.path, "--runtime", "portable", *arguments)

    return call


def test_convert_by_an_alias_takes_several_decoders(commands, small, tmp_path):
    sizes = ("--audio-seconds", "1.5", "--max-tokens", "20", "--head", "log-softmax")
    decoders = ("--decoder", "stateless", "--decoder", "external")
    code, out, err = commands["convert"](
        "cohere", "--checkpoint", small, *sizes, *decoders, "--only", "cross_kv", "--output", "bundle", "--json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["converted"] == ["cross_kv"]
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert (manifest["model"], manifest["task"]) == ("cohere-transcribe", "transcription")
    assert manifest["options"] == {
        "audio_seconds": "1.5",
        "decoder": "external,stateless",
        "max_tokens": 20,
        "head": "log-softmax",
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--audio-seconds", "36"], "--audio-seconds must be between 1 and 35"),
        (["--max-tokens", "10"], "--max-tokens must be between 11 and 160"),
        (["--decoder", "none"], "--decoder is one of stateful, external, stateless, not 'none'"),
        (["--decoder", "external", "--only", "decoder_stateful"], "no component decoder_stateful"),
        (["--head", "argmax"], "--head"),
        (["--target", "iOS17"], "decoder_stateful keeps states, which iOS17 does not have"),
    ],
)
def test_convert_refuses_in_one_line_and_writes_nothing(commands, small, tmp_path, arguments, complaint):
    sizes = () if "--max-tokens" in arguments else ("--max-tokens", "20")
    code, out, err = commands["convert"]("cohere-transcribe", "--checkpoint", small, *sizes, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert [f.name for f in tmp_path.iterdir()] == ["clip.wav"]


def test_infer_writes_json_with_segments_margins_and_confidences(transcribe, small):
    code, out, err = transcribe("--format", "json", "--max-tokens", "12", "--language", "German")
    result = json.loads(out)
    assert (code, err.count("\n")) == (0, 1)
    assert (result["model"], result["runtime"], result["language"]) == ("cohere-transcribe", "portable", "de")
    expected = stock(small, clip(2.5), "de", tokens=12)
    assert result["text"] == expected.text
    assert [token["id"] for token in result["tokens"]] == expected.tokens[0]
    (segment,) = result["segments"]
    assert (segment["start_s"], segment["end_s"], segment["stop"]) == (0.0, 2.5, "max_tokens")
    assert segment["eos_margin"] < 0
    assert len(result["tokens"]) == 12
    assert all(0 < token["confidence"] <= 1 for token in result["tokens"])
    assert not any("start_s" in token for token in result["tokens"])


def test_infer_writes_text(transcribe, small):
    code, out, err = transcribe("--no-punctuation", "--max-tokens", "9")
    expected = stock(small, clip(2.5), punctuation=False, tokens=9).text
    assert code == 0
    assert err.endswith("the text of 0.0 to 2.5 s (max_tokens) may be incomplete\n")
    assert out.strip() == expected.strip()


@pytest.mark.parametrize(
    "settings", [("--eos-bias", "1000"), ("--repetition-penalty", "3"), ("--no-repeat-ngram", "1")]
)
def test_infer_passes_the_options_on(transcribe, settings):
    plain = json.loads(transcribe("--format", "json", "--max-tokens", "12")[1])
    other = json.loads(transcribe("--format", "json", "--max-tokens", "12", *settings)[1])
    assert other["text"] != plain["text"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--language", "xx"], "--language 'xx'"),
        (["--max-tokens", "-1"], "--max-tokens"),
        (["--repetition-penalty", "0"], "--repetition-penalty"),
    ],
)
def test_infer_refuses_in_one_line(transcribe, arguments, complaint):
    code, out, err = transcribe(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err


@pytest.mark.parametrize("form", ["srt", "vtt", "textgrid"])
def test_infer_refuses_subtitles_before_any_work(transcribe, monkeypatch, form):
    def opened(path):
        raise AssertionError("the bundle was opened")

    monkeypatch.setattr("commands.infer_request.open_bundle", opened)
    code, out, err = transcribe("--format", form)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"--format {form} needs word times" in err


def test_compare_passes_and_speaks_of_error_rates(commands, converted, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, seconds in (("clip", 2.5), ("other", 1.5)):
        soundfile.write(folder / f"{name}.wav", clip(seconds), RATE)
        (folder / f"{name}.txt").write_text("one two")
    bundle = ("--bundle", converted.path, "--runtime", "portable", "--decoder", "stateful")
    arguments = (*bundle, "--dataset", folder, "--resume", "kept.jsonl")
    code, out, err = commands["compare"]("cohere-transcribe", *arguments)
    assert (code, err) == (0, ""), out
    assert out.rstrip().endswith(verdict_of_a_pass("cohere-transcribe"))
    assert "en, stateful: WER" in out
    again, resumed, _ = commands["compare"]("cohere-transcribe", *arguments)
    assert "2 clips resumed" in resumed
    assert [line for line in resumed.splitlines() if "en, stateful: WER" in line] == [
        line for line in out.splitlines() if "en, stateful: WER" in line
    ]
    assert again == 0, resumed
