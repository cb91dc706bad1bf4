"""A text in the characters that a checkpoint's tokenizer knows: upstream feeds the others as `<unk>`, which is spoken.

Only what the tokenizer does not know is touched, so a text that it knows reaches the model as upstream has it.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# What typesetting writes in place of a key of the keyboard, beyond what NFKC knows.
_TWINS = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u0060\u00b4", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | {"\u2026": "...", "\u2044": "/", "\u3002": ".", "\u3001": ","}
)
_SHOWN = 10

Knows = Callable[[str], bool]


@dataclass(frozen=True)
class Spelling:
    """A text that the tokenizer knows, and the visible characters that it had to leave out, with their counts."""

    text: str
    left_out: tuple[tuple[str, int], ...]

    @property
    def note(self) -> str:
        """One sentence on what is not spoken; empty where all is."""
        if not self.left_out:
            return ""
        shown = ", ".join(f"{_shown(c)}{f' ({n} times)' if n > 1 else ''}" for c, n in self.left_out[:_SHOWN])
        more = f" and {len(self.left_out) - _SHOWN} more" if len(self.left_out) > _SHOWN else ""
        return f"the model's tokenizer does not know these characters, which are not spoken: {shown}{more}"


def spelling(text: str, knows: Knows) -> Spelling:
    """The text with unknown characters replaced by known twins (quotes, dashes, blanks, composed letters), or left out.

    Args:
        text: valid Unicode.
        knows: whether the tokenizer knows a character.
    """
    spelt: list[str] = []
    left_out: Counter[str] = Counter()
    for piece in _pieces(text):
        known = _respelt(piece, knows)
        spelt.append("".join(filter(knows, known)))
        left_out.update(c for c in known if not knows(c) and not _is_invisible(c))
    return Spelling("".join(spelt), tuple(left_out.items()))


def _pieces(text: str) -> Iterator[str]:
    """Characters with their combining marks."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or not unicodedata.combining(text[place]):
            yield text[start:place]
            start = place


def _respelt(piece: str, knows: Knows) -> str:
    """The first spelling of a piece of which the tokenizer knows all; its composed form where there is none."""
    composed = unicodedata.normalize("NFC", piece)
    compatible = unicodedata.normalize("NFKC", piece)
    forms = (piece, composed, composed.translate(_TWINS), compatible, compatible.translate(_TWINS))
    blank = " " if piece.isspace() else composed
    return next((form for form in forms if all(map(knows, form))), blank)


def _is_invisible(character: str) -> bool:
    """Format characters (soft hyphen, zero-width space, byte order mark) and variation selectors."""
    return unicodedata.category(character) == "Cf" or 0xFE00 <= ord(character) <= 0xFE0F


def _shown(character: str) -> str:
    """A mark stands on a dotted circle."""
    code = f"U+{ord(character):04X}"
    return f"\u25cc{character} {code}" if unicodedata.combining(character) else f"{character} {code}"
