"""Words: error rates of two transcripts, and how far their boundaries lie apart."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import jiwer

from toolkit.decoding.transcript import Word

NORMALISER = "lower case, punctuation and symbols removed, whitespace collapsed"
_APOSTROPHES = "'\u2019"
_REMOVED = frozenset("PS")  # Unicode categories of punctuation and symbols


def normalise(text: str) -> str:
    """`NORMALISER`; apostrophes go too, so that `don't` and `dont` are one word."""
    kept = (c if unicodedata.category(c)[0] not in _REMOVED else "" if c in _APOSTROPHES else " " for c in text.lower())
    return " ".join("".join(kept).split())


def word_error_percent(truths: Sequence[str], texts: Sequence[str]) -> float:
    """WER over a corpus, in percent, after `normalise`; utterances without a transcript are left out.

    Raises:
        ValueError: no utterance has a transcript.
    """
    pairs = [(normalise(a), normalise(b)) for a, b in zip(truths, texts, strict=True)]
    pairs = [pair for pair in pairs if pair[0]]
    if not pairs:
        raise ValueError("no utterance has a transcript")
    return 100 * float(jiwer.wer([a for a, _ in pairs], [b for _, b in pairs]))


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


def boundary_shifts(reference: Sequence[Word], ours: Sequence[Word]) -> Boundaries:
    """Absolute shifts of start and end of every word that both have, aligned by their normalised text."""
    a, b = ([normalise(word.text) for word in words] for words in (reference, ours))
    shifts: list[float] = []
    for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        for k in range(block.size):
            left, right = reference[block.a + k], ours[block.b + k]
            shifts += [abs(left.start_s - right.start_s), abs(left.end_s - right.end_s)]
    return Boundaries(tuple(shifts))
