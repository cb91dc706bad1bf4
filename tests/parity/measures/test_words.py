import pytest

from parity.measures.words import (
    Boundaries,
    boundary_shifts,
    character_error_percent,
    error_rates,
    normalise,
    word_error_percent,
)
from toolkit.transcript import Word


def words(*parts: tuple[str, float, float]) -> list[Word]:
    return [Word(text, start, end, 1.0) for text, start, end in parts]


def test_normalise():
    assert normalise("  Don't — STOP,\n now! $5 ") == "dont stop now 5"
    assert normalise("Größe, déjà-vu") == "größe déjà vu"


def test_word_error_rate():
    assert word_error_percent(["one two three four"], ["One, two three five."]) == 25
    assert word_error_percent(["one", ""], ["one", "noise"]) == 0
    assert word_error_percent(["one two"], [""]) == 100
    with pytest.raises(ValueError, match="transcript"):
        word_error_percent(["", "!"], ["a", "b"])


@pytest.mark.parametrize(
    ("truth", "text", "percent"),
    [
        ("今天天气很好。", "今天天汽很好", 100 / 6),  # one of six is another
        ("今天 天气,很好!", "今天天气很好", 0),
        ("東京タワー", "東京のタワ", 40),  # one too many, one missing, of five
        ("東京", "", 100),
        ("一", "一二三", 200),
        ("우리 집에", "우리집 애", 25),  # blanks do not count: one of four
        ("AI 很好", "ai很好", 0),
        ("don't", "dont", 0),
    ],
)
def test_character_error_rate(truth, text, percent):
    assert character_error_percent([truth], [text]) == pytest.approx(percent)


def test_character_error_rate_of_a_corpus():
    """Errors and characters are summed: one of eight; the utterance without a transcript is left out."""
    assert character_error_percent(["一二三四五六", "七八", "。"], ["一二三四五六", "七九", "noise"]) == 12.5
    with pytest.raises(ValueError, match="transcript"):
        character_error_percent(["。"], ["一"])


@pytest.mark.parametrize(
    ("language", "rates"),
    [("zh", ("CER",)), ("ja", ("CER",)), ("ko", ("WER", "CER")), ("en", ("WER",)), ("vi", ("WER",)), (None, ("WER",))],
)
def test_error_rates_of_a_language(language, rates):
    assert error_rates(language) == rates


def test_boundaries_of_shared_words_only():
    shifts = boundary_shifts(
        words(("a", 0.0, 0.1), ("b", 0.2, 0.3), ("c", 0.4, 0.5)), words(("A", 0.0, 0.18), ("c.", 0.6, 0.7))
    )
    assert shifts.shifts_s == pytest.approx((0, 0.08, 0.2, 0.2))
    assert shifts.share_within(0.08) == 0.5
    assert shifts.mean_ms == pytest.approx(120)


def test_no_shared_word():
    assert boundary_shifts(words(("a", 0, 1)), []) == Boundaries(())
