"""Text, JSON and subtitles."""

import json
import math

import pytest

from toolkit.errors import ToolkitError
from toolkit.output.formats import CUE_S, LINE_COLUMNS, WORD_TIME_FORMATS, Result, cues_from_words, render
from toolkit.transcript import Segment, Token, Transcript, Word


def result(file="a.wav", text="hi there", language=None):
    words = tuple(Word(word, i, i + 0.5, 0.75) for i, word in enumerate(text.split()))
    return Result(file, Transcript(text, 2.5, words, (Token(3, "hi", 0.0, 0.5, 0.5),), language), 12.5, "portable", "m")


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
    with pytest.raises(ToolkitError, match=f"m gives no word times, which {form} needs. Use .*json or txt"):
        render([untimed(text)], form)


def test_srt():
    words = "0123456789 " * 8  # two lines of three words each, then the rest
    text = render([result(text=words.strip())], "srt")
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
    text = render([Result("a", Transcript("late", 1.0, words, ()), 1.0, "r", "m")], "srt")
    assert "01:00:00,000 --> 10:00:00,000" in text


def test_cues_keep_their_bounds():
    words = [Word("word" * (1 + i % 4), i * 0.4, i * 0.4 + 0.3, 1.0) for i in range(500)]
    cues = cues_from_words(words)
    assert " ".join(line for cue in cues for line in cue.lines).split() == [word.text for word in words]
    for cue in cues:
        assert len(cue.lines) <= 2
        assert all(len(line) <= LINE_COLUMNS for line in cue.lines)
        assert cue.end_s - cue.start_s <= CUE_S


def test_a_pause_ends_a_cue():
    words = [Word("a", 0.0, 0.5, 1.0), Word("b", 1.4, 1.6, 1.0), Word("c", 2.6, 3.0, 1.0)]
    assert [cue.lines for cue in cues_from_words(words)] == [("a b",), ("c",)]


def test_a_very_long_word_stays_whole():
    assert cues_from_words([Word("x" * 100, 0.0, 9.0, 1.0)])[0].lines == ("x" * 100,)


def lines(*texts):
    words = [Word(text, i * 0.1, i * 0.1 + 0.1, 1.0) for i, text in enumerate(texts)]
    return [cue.lines for cue in cues_from_words(words)]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["我", "在", "家", "。"], "我在家。"),
        (["東京", "タワー", "に", "いる"], "東京タワーにいる"),
        (["我", "用", "Core", "ML", "写"], "我用 Core ML 写"),
        (["the", "character", "篇", "means"], "the character 篇 means"),
        (["우리", "집", "에"], "우리 집 에"),
        (["𠀀", "𠀁", "ｱｲ", "\uff21"], "𠀀𠀁ｱｲ\uff21"),
        (["小明", "", "a"], "小明 a"),
    ],
)
def test_words_of_han_and_kana_stand_together(words, line):
    assert lines(*words) == [(line,)]


def test_a_wide_character_takes_two_columns():
    assert lines(*"篇" * 60) == [("篇" * 21, "篇" * 21), ("篇" * 18,)]
    assert lines("a" * 40, "篇") == [("a" * 40, "篇")]
