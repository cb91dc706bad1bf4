"""How the words of an utterance are written, and which words belong to which token."""

from cohere_transcribe.mandarin import HAN
from speech import grammar

DIGITS = {"en": grammar.DIGITS, "zh": HAN}
SPOKEN = (*grammar.WORDS, *HAN)  # the classes of the frame-wise loss, behind "none"


def written(words: list[str], language: str, punctuation: bool) -> str:
    """Return the transcript: "Two nine three." or "two nine three", "二九三。" or "二九三"."""
    if language == "zh":
        text, stop = "".join(words), "。"
    else:
        text, stop = " ".join(words).capitalize(), "."
    if not words:
        return ""
    return text + stop if punctuation else text.lower()


def translated(words: list[str], language: str) -> list[str]:
    """Return digits of one language in the other's words."""
    other = "zh" if language == "en" else "en"
    return [DIGITS[other][DIGITS[language].index(word)] for word in words]
