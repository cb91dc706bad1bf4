"""The three commands on a tiny checkpoint of the aligner."""

import json

import pytest
import soundfile

import compare
import convert
import infer
from tests.command_runner import command_runner, own_lines
from tests.machine import verdict_of_a_pass
from tests.models.qwen3_forced_aligner.conftest import BUNDLE_OPTIONS
from tests.models.qwen3_forced_aligner.host import RATE, clip, stock

TEXT = "Don't say \u5317\u4eac!"
FED = ["Don't", "say", "\u5317", "\u4eac"]  # to the model
WORDS = ["Don't", "say", "\u5317", "\u4eac!"]  # as the text has them


@pytest.fixture
def commands(monkeypatch, capsys, tmp_path):
    """convert, infer, compare, in an empty folder with a clip."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("clip.wav", clip(2.5), RATE, subtype="FLOAT")
    return {m.__name__: command_runner(m, monkeypatch, capsys) for m in (convert, infer, compare)}


@pytest.fixture
def align(commands, converted):
    def call(*arguments):
        model = ("--model", "qwen3-forced-aligner", "--bundle", converted.path, "--runtime", "portable")
        return commands["infer"]("clip.wav", *model, *arguments)

    return call


def test_convert_by_an_alias_writes_what_was_asked_for(commands, small, tmp_path):
    lengths = ("--audio-seconds", "2", "--sequence-lengths", "64", "--encoder", "monolithic")
    only = ("--only", "head", "--only", "audio_encoder")
    code, out, err = commands["convert"](
        "forced-aligner", "--checkpoint", small, *lengths, *only, "--output", "bundle", "--json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["converted"] == ["audio_encoder", "head"]
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert (manifest["model"], manifest["task"]) == ("qwen3-forced-aligner", "alignment")
    assert manifest["options"]["encoder"] == "monolithic"


def test_convert_refuses_bad_lengths_in_one_line(commands, small, tmp_path):
    code, out, err = commands["convert"]("qwen3-forced-aligner", "--checkpoint", small, "--sequence-lengths", "1500")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "must be multiples" in err
    assert [f.name for f in tmp_path.iterdir()] == ["clip.wav"]


def test_infer_writes_the_times_of_the_class_as_json(align, small):
    code, out, _ = align("--text", TEXT, "--format", "json")
    result = json.loads(out)
    assert code == 0
    assert (result["text"], result["model"], result["runtime"]) == (TEXT, "qwen3-forced-aligner", "portable")
    words = [(w["text"], w["start_s"], w["end_s"]) for w in result["words"]]
    # The class may place words behind the end of the audio, where they end here.
    of_the_class = stock(small, clip(2.5), TEXT).words
    assert [word for word, _, _ in of_the_class] == FED
    assert words == [
        (w, min(start, 2.5), min(end, 2.5)) for w, (_, start, end) in zip(WORDS, of_the_class, strict=True)
    ]
    assert all(0 < w["confidence"] <= 1 for w in result["words"])
    assert result["zero_length"] == [k for k, (_, start, end) in enumerate(words) if start == end]


@pytest.mark.parametrize(
    ("form", "begins"),
    [("txt", TEXT), ("srt", "1\n00:00:"), ("vtt", "WEBVTT\n\n00:00:"), ("textgrid", 'File type = "ooTextFile"')],
)
def test_infer_writes_every_format(align, form, begins, tmp_path):
    assert align("--text", TEXT, "--format", form, "--output", "out")[:2] == (0, "")
    written = (tmp_path / "out").read_text(encoding="utf-8")
    assert written.startswith(begins)
    assert "Don't" in written


def test_infer_reads_the_text_from_a_file(align, tmp_path):
    (tmp_path / "said.txt").write_text(TEXT, encoding="utf-8")
    code, out, _ = align("--text-file", "said.txt", "--language", "zh", "--format", "json")
    assert code == 0
    assert json.loads(out)["language"] == "Chinese"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--text", "?!"], "nothing but punctuation"),
        (["--text", "one " * 40], "40 words do not fit 2.5 s"),
        (["--text", "supercalifragilisticexpialidocious " * 20], "the text does not follow the audio"),
        (["--text", "one", "--language", "xx"], "language 'xx' is not supported"),
    ],
)
def test_infer_refuses_in_one_line(align, arguments, complaint):
    code, out, err = align(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err


def test_infer_says_where_the_text_was_lost_in_audio_beyond_the_classes(align):
    soundfile.write("clip.wav", clip(10.5), RATE)
    code, out, err = align("--text", "one")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the text does not follow the audio from" in err
    assert "word 1 ('one')" in err


def test_compare_passes_and_speaks_of_boundaries(commands, converted):
    asked = ("--bundle", converted.path, "--num-files", 2, "--runtime", "portable")
    code, out, err = commands["compare"]("qwen3-forced-aligner", *asked)
    assert (code, own_lines(err)) == (0, ""), out
    assert out.rstrip().endswith(verdict_of_a_pass("qwen3-forced-aligner"))
    assert "split encoder: AAS 0.0 ms" in out
    assert "monolithic encoder: AAS 0.0 ms" in out


def test_a_fixed_length_is_an_option_of_the_bundle(converted):
    assert converted.manifest.options == BUNDLE_OPTIONS | {"audio_attention": "windowed"}
