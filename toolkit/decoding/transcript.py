"""What recognition and alignment yield: text, words and tokens with times."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Token:
    """One emitted token; times in seconds from the start of the file, confidence in 0..1."""

    id: int
    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Word:
    """One word; confidence is the mean of its tokens'."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Transcript:
    """The result for one file."""

    text: str
    duration_s: float
    words: tuple[Word, ...]
    tokens: tuple[Token, ...]
    language: str | None = None
