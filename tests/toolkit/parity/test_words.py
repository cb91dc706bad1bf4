import pytest

from toolkit.decoding.transcript import Word
from toolkit.parity.words import Boundaries, boundary_shifts, normalise, word_error_percent


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


def test_boundaries_of_shared_words_only():
    shifts = boundary_shifts(
        words(("a", 0.0, 0.1), ("b", 0.2, 0.3), ("c", 0.4, 0.5)), words(("A", 0.0, 0.18), ("c.", 0.6, 0.7))
    )
    assert shifts.shifts_s == pytest.approx((0, 0.08, 0.2, 0.2))
    assert shifts.share_within(0.08) == 0.5
    assert shifts.mean_ms == pytest.approx(120)


def test_no_shared_word():
    assert boundary_shifts(words(("a", 0, 1)), []) == Boundaries(())
