"""Cues: what they hold, and times that every player takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.output.cues import CUE_S, FRAME_MS, UNTIMED_MS, CueLimits, cues_from_transcript
from toolkit.transcript import Transcript, Word


def cues(words, limits=None, duration_s=None):
    end_s = max(word.end_s for word in words) if duration_s is None else duration_s
    return cues_from_transcript(Transcript("", end_s, tuple(words), ()), limits)


def spans(*times, duration_s):
    """The spans of words with these times, each in a cue of its own."""
    words = [Word("a", start_s, end_s, 1.0) for start_s, end_s in times]
    return [(cue.start_ms, cue.end_ms) for cue in cues(words, CueLimits(words=1), duration_s)]


TIMES = st.floats(-1, 20)
WORDS = st.lists(st.builds(Word, st.text("abc 篇", min_size=1, max_size=60), TIMES, TIMES, st.just(1.0)), max_size=40)
LIMITS = st.builds(CueLimits, st.integers(1, 50), st.integers(1, 3), st.none() | st.integers(1, 5))


@given(WORDS, st.floats(0.05, 20), LIMITS)
def test_every_cue_has_a_length_and_none_overlaps_or_leaves_the_audio(words, duration_s, limits):
    found = cues(words, limits, duration_s)
    bounds = [0, *(time for cue in found for time in (cue.start_ms, cue.end_ms)), duration_s * 1000]
    assert bounds == sorted(bounds)
    assert all(cue.start_ms < cue.end_ms for cue in found)
    assert "".join("".join(cue.lines) for cue in found).replace(" ", "") == "".join(w.text for w in words).replace(
        " ", ""
    )
    assert limits.words is None or len(found) * limits.words >= len(words)


def test_times_as_spoken_stay():
    assert spans((0.1, 0.4), (0.4, 0.9), duration_s=1.0) == [(100, 400), (400, 900)]


def test_a_cue_without_length_lasts_until_the_next():
    assert spans((0.1, 0.1), (0.3, 0.9), duration_s=1.0) == [(100, 300), (300, 900)]
    assert spans((0.1, 0.1), (3.0, 3.9), duration_s=4.0) == [(100, 100 + UNTIMED_MS), (3000, 3900)]


def test_cues_at_one_time_take_turns():
    assert spans((0.5, 0.5), (0.5, 0.5), duration_s=2.0) == [(500, 500 + FRAME_MS), (540, 540 + UNTIMED_MS)]


def test_a_cue_behind_the_audio_is_shown_at_its_end():
    assert spans((0.5, 0.9), (4.0, 5.4), duration_s=2.786) == [(500, 900), (2786 - FRAME_MS, 2786)]


def test_more_cues_than_milliseconds_are_all_there():
    assert spans(*[(0, 0)] * 5, duration_s=0.001) == [(k, k + 1) for k in range(5)]


def test_limits():
    words = [Word("word", i * 0.1, i * 0.1 + 0.1, 1.0) for i in range(6)]
    assert [cue.lines for cue in cues(words, CueLimits(columns=9, lines=1))] == [("word word",)] * 3
    assert [cue.lines for cue in cues(words, CueLimits(columns=9, lines=3))] == [("word word",) * 3]
    assert [cue.lines for cue in cues(words, CueLimits(words=4))] == [("word word word word",), ("word word",)]


def test_cues_keep_their_bounds():
    words = [Word("word" * (1 + i % 4), i * 0.4, i * 0.4 + 0.3, 1.0) for i in range(500)]
    found = cues(words)
    assert " ".join(line for cue in found for line in cue.lines).split() == [word.text for word in words]
    for cue in found:
        assert len(cue.lines) <= 2
        assert all(len(line) <= 42 for line in cue.lines)
        assert cue.end_ms - cue.start_ms <= CUE_S * 1000


def test_a_pause_ends_a_cue():
    words = [Word("a", 0.0, 0.5, 1.0), Word("b", 1.4, 1.6, 1.0), Word("c", 2.6, 3.0, 1.0)]
    assert [cue.lines for cue in cues(words)] == [("a b",), ("c",)]


def test_a_very_long_word_stays_whole():
    assert cues([Word("x" * 100, 0.0, 9.0, 1.0)])[0].lines == ("x" * 100,)


def lines(*texts):
    words = [Word(text, i * 0.1, i * 0.1 + 0.1, 1.0) for i, text in enumerate(texts)]
    return [cue.lines for cue in cues(words)]


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
