"""Text, JSON and subtitles."""

import json
import math

import pytest

from toolkit.errors import AudioError, ToolkitError
from toolkit.output.cues import CueLimits
from toolkit.output.formats import WORD_TIME_FORMATS, Document, render
from toolkit.output.result import Failure, Result
from toolkit.transcript import Segment, Token, Transcript, Word


def result(file="a.wav", text="hi there", language=None, duration_s=2.5):
    words = tuple(Word(word, i, i + 0.5, 0.75) for i, word in enumerate(text.split()))
    return Result(
        file, Transcript(text, duration_s, words, (Token(3, "hi", 0.0, 0.5, 0.5),), language), 12.5, "portable", "m"
    )


def test_text_is_a_line_a_file():
    assert render([result(), result(text="")], "txt") == "hi there\n\n"


def test_json_of_one_file_is_an_object():
    assert json.loads(render([result()], "json")) == {
        "text": "hi there",
        "duration_s": 2.5,
        "words": [
            {"text": "hi", "start_s": 0, "end_s": 0.5, "confidence": 0.75},
            {"text": "there", "start_s": 1, "end_s": 1.5, "confidence": 0.75},
        ],
        "tokens": [{"id": 3, "text": "hi", "start_s": 0.0, "end_s": 0.5, "confidence": 0.5}],
        "rtfx": 12.5,
        "runtime": "portable",
        "model": "m",
    }


def test_json_names_the_language_when_it_is_known_and_keeps_letters():
    text = render([result(text="grüße 篇", language="de")], "json")
    assert json.loads(text)["language"] == "de"
    assert "grüße 篇" in text


def test_json_of_an_alignment_names_the_words_without_length():
    words = (Word("a", 0.0, 0.5, 1.0), Word("b", 0.5, 0.5, 1.0))
    for spoken, indices in ((words, [1]), (words[:1], [])):
        aligned = Result("a", Transcript("a b", 1.0, spoken, ()), 1.0, "r", "m", task="alignment")
        assert json.loads(render([aligned], "json"))["zero_length"] == indices


def test_json_of_several_files_is_an_array_with_their_names():
    parsed = json.loads(render([result("a.wav"), result("b.wav")], "json"))
    assert [entry["file"] for entry in parsed] == ["a.wav", "b.wav"]


def untimed(text="hi there", margin=3.5):
    """Of a model without word times."""
    tokens = (Token(3, "hi", None, None, 0.5),)
    segments = (Segment(text, 0.0, 2.5, "max_tokens", margin),)
    return Result("a.wav", Transcript(text, 2.5, (), tokens, "en", segments), 12.5, "portable", "m")


def test_json_of_a_model_without_word_times():
    assert json.loads(render([untimed()], "json")) == {
        "text": "hi there",
        "language": "en",
        "duration_s": 2.5,
        "segments": [{"text": "hi there", "start_s": 0, "end_s": 2.5, "stop": "max_tokens", "eos_margin": 3.5}],
        "words": [],
        "tokens": [{"id": 3, "text": "hi", "confidence": 0.5}],
        "rtfx": 12.5,
        "runtime": "portable",
        "model": "m",
    }
    assert render([untimed()], "txt") == "hi there\n"


@pytest.mark.parametrize("margin", [math.inf, -math.inf])
def test_json_knows_no_infinity(margin):
    (segment,) = json.loads(render([untimed(margin=margin)], "json"), parse_constant=pytest.fail)["segments"]
    assert segment["eos_margin"] is None


@pytest.mark.parametrize("form", WORD_TIME_FORMATS)
@pytest.mark.parametrize("text", ["hi there", ""])
def test_what_needs_word_times_is_refused_without(form, text):
    with pytest.raises(ToolkitError, match=f"m gives no word times, which {form} needs. Use .*json, tsv or txt"):
        render([untimed(text)], form)


def test_srt():
    words = "0123456789 " * 8  # two lines of three words each, then the rest
    text = render([result(text=words.strip(), duration_s=9.0)], "srt")
    assert text.startswith("1\n00:00:00,000 --> 00:00:05,500\n0123456789 0123456789 0123456789\n0123456789")
    assert "\n\n2\n00:00:06,000 --> 00:00:07,500\n" in text


def test_vtt_escapes_what_it_must():
    text = render([result(text="a<b & c-->d")], "vtt")
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.500\na&lt;b &amp; c--&gt;d\n")


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_no_words_no_cues(form):
    assert "-->" not in render([result(text="")], form)


def test_hours_and_rounding():
    words = (Word("late", 3599.9996, 36000.0, 1.0),)
    text = render([Result("a", Transcript("late", 36000.0, words, ()), 1.0, "r", "m")], "srt")
    assert "01:00:00,000 --> 10:00:00,000" in text


def test_srt_of_several_files_is_numbered_through():
    text = render([result("a"), result("b", text=""), result("c")], "srt")
    assert text.startswith("1\n00:00:00,000 --> 00:00:01,500\nhi there\n\n2\n00:00:00,000 --> ")


def test_tsv_is_whispers_table():
    assert render([result(text="a\u2028b there"), result()], "tsv") == (
        "start\tend\ttext\n0\t2500\ta b there\n0\t1500\thi there\n"
    )


def test_tsv_of_a_model_without_word_times_has_its_segments():
    assert render([untimed()], "tsv") == "start\tend\ttext\n0\t2500\thi there\n"


def test_jsonl_is_a_line_a_file_with_its_name():
    lines = render(
        [result("a.wav"), Failure("b.wav", AudioError("b.wav is damaged", "Copy it."))], "jsonl"
    ).splitlines()
    assert [json.loads(line).get("text") for line in lines] == ["hi there", None]
    assert json.loads(lines[1]) == {"file": "b.wav", "error": "b.wav is damaged. Copy it."}
    assert json.loads(render([result("a.wav")], "jsonl"))["file"] == "a.wav"


FAILED = Failure("b.wav", ValueError("one\ntwo"))


def test_a_file_that_failed_is_an_entry_of_the_array():
    parsed = json.loads(render([result("a.wav"), FAILED, result("c.wav")], "json"))
    assert [entry["file"] for entry in parsed] == ["a.wav", "b.wav", "c.wav"]
    assert parsed[1]["error"] == "internal fault: ValueError: one two"


@pytest.mark.parametrize("form", ["txt", "srt", "vtt", "tsv"])
def test_a_file_that_failed_leaves_the_other_formats_as_they_are(form):
    assert render([FAILED, result(), FAILED, result()], form) == render([result(), result()], form)


@pytest.mark.parametrize(("form", "text"), [("txt", ""), ("json", "[]\n"), ("vtt", "WEBVTT\n")])
def test_no_file_is_valid(form, text):
    assert Document(form, several=True).end() == text


def test_a_name_that_is_no_utf_8_can_be_written():
    text = render([result("\udcff.wav"), result("b")], "json")
    assert json.loads(text.encode())[0]["file"] == "\\xff.wav"


def test_limits_arrive():
    assert render([result()], "srt", CueLimits(words=1)).count("-->") == 2
    assert render([result()], "tsv", CueLimits(words=1)).count("\n") == 3
