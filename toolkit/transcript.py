"""What recognition and alignment yield: text, words and tokens with times, segments of long audio."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# Why a decoding loop ended: the end token; the limit of tokens; no room in the cache.
Stop = Literal["eos", "max_tokens", "cache_full"]

_NO_SPACE_LANGUAGES = frozenset({"ja", "zh"})


@dataclass(frozen=True)
class Token:
    """One emitted token; times in seconds from the start of the file, None of a model without; confidence in 0..1."""

    id: int
    text: str
    start_s: float | None
    end_s: float | None
    confidence: float


@dataclass(frozen=True)
class Word:
    """One word; confidence is the mean of its tokens'."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Segment:
    """A stretch of audio that was decoded at once.

    Attributes:
        text: what is said in it.
        start_s: in seconds from the start of the file.
        end_s: in seconds from the start of the file.
        stop: why decoding ended; all but "eos" may have cut the text.
        eos_margin: the end token's logit less the best other one at the last step.
    """

    text: str
    start_s: float
    end_s: float
    stop: Stop
    eos_margin: float


@dataclass(frozen=True)
class Transcript:
    """The result for one file; segments are those of a model that decodes long audio in parts and tells them.

    `notes` are what the user should know about the result, one sentence each.
    """

    text: str
    duration_s: float
    words: tuple[Word, ...]
    tokens: tuple[Token, ...]
    language: str | None = None
    segments: tuple[Segment, ...] = ()
    notes: tuple[str, ...] = ()


def join_segments(texts: Sequence[str], language: str) -> str:
    """One text from those of consecutive segments: with blanks between, and without in Chinese and Japanese.

    Blank texts are left out, and blanks at the seams and at the end. Upstream fails where all are blank, and leaves the
    one text of an audio that was not split as it is.
    Source: transformers 5.23, models/cohere_asr/processing_cohere_asr.py, `_reassemble_chunk_texts`.

    Args:
        texts: in order.
        language: code, such as `en`.
    """
    spoken = [text for text in texts if text.strip()]
    parts = [text.strip() if index else text.rstrip() for index, text in enumerate(spoken)]
    return ("" if language in _NO_SPACE_LANGUAGES else " ").join(parts)
