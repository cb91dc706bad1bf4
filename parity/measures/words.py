"""Words and characters: error rates of two transcripts, and how far the boundaries of their words lie apart."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import jiwer

from toolkit.transcript import Word

NORMALISER = "lower case, punctuation and symbols removed, whitespace collapsed"
_APOSTROPHES = "'\u2019"
_REMOVED = frozenset("PS")  # Unicode categories of punctuation and symbols

ErrorRate = Literal["WER", "CER"]
# Languages without blanks between words have no WER; in Korean their place is a matter of taste, so both are usual.
_ERROR_RATES: dict[str, tuple[ErrorRate, ...]] = {"zh": ("CER",), "ja": ("CER",), "ko": ("WER", "CER")}


def normalise(text: str) -> str:
    """`NORMALISER`; apostrophes go too, so that `don't` and `dont` are one word."""
    kept = (c if unicodedata.category(c)[0] not in _REMOVED else "" if c in _APOSTROPHES else " " for c in text.lower())
    return " ".join("".join(kept).split())


def word_error_percent(truths: Sequence[str], texts: Sequence[str]) -> float:
    """WER over a corpus, in percent, after `normalise`; utterances without a transcript are left out.

    Raises:
        ValueError: no utterance has a transcript.
    """
    spoken, heard = _normalised(truths, texts)
    return 100 * float(jiwer.wer(spoken, heard))


def character_error_percent(truths: Sequence[str], texts: Sequence[str]) -> float:
    """CER over a corpus, in percent, after `normalise` and without blanks; those without a transcript are left out.

    Raises:
        ValueError: no utterance has a transcript.
    """
    spoken, heard = _normalised(truths, texts)
    return 100 * float(jiwer.cer([_unspaced(text) for text in spoken], [_unspaced(text) for text in heard]))


def error_rates(language: str | None) -> tuple[ErrorRate, ...]:
    """The rates to show for a language, by its code, the usual one first; WER for one that is not known.

    CER for Chinese and Japanese, WER and CER for Korean.
    """
    return _ERROR_RATES.get(language or "", ("WER",))


def _normalised(truths: Sequence[str], texts: Sequence[str]) -> tuple[list[str], list[str]]:
    pairs = [(normalise(a), normalise(b)) for a, b in zip(truths, texts, strict=True)]
    pairs = [pair for pair in pairs if pair[0]]
    if not pairs:
        raise ValueError("no utterance has a transcript")
    return [a for a, _ in pairs], [b for _, b in pairs]


def _unspaced(text: str) -> str:
    return text.replace(" ", "")


@dataclass(frozen=True)
class Boundaries:
    """Shifts of the boundaries of words that two transcripts share, in seconds, start and end of each."""

    shifts_s: tuple[float, ...]

    def share_within(self, limit_s: float) -> float:
        """Share of boundaries at most `limit_s` apart; a microsecond is left to rounding."""
        return sum(shift <= limit_s + 1e-6 for shift in self.shifts_s) / len(self.shifts_s)

    @property
    def mean_ms(self) -> float:
        """Mean absolute shift in milliseconds."""
        return 1000 * sum(self.shifts_s) / len(self.shifts_s)


def paired_words(reference: Sequence[Word], ours: Sequence[Word]) -> list[tuple[int, int]]:
    """Places in both of every word that both have, aligned by their normalised text."""
    a, b = ([normalise(word.text) for word in words] for words in (reference, ours))
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return [(block.a + k, block.b + k) for block in blocks for k in range(block.size)]


def boundary_shifts(reference: Sequence[Word], ours: Sequence[Word]) -> Boundaries:
    """Absolute shifts of start and end of every word that both have, aligned by their normalised text."""
    shifts: list[float] = []
    for i, j in paired_words(reference, ours):
        left, right = reference[i], ours[j]
        shifts += [abs(left.start_s - right.start_s), abs(left.end_s - right.end_s)]
    return Boundaries(tuple(shifts))
