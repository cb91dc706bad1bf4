"""The words of an alignment as the user wrote them, beside the stripped form that the model reads.

Upstream returns the stripped form. Here every character of the text belongs to one word: what the model does not read
(punctuation, marks, symbols, emoji) stays with a neighbour, so subtitles keep the user's spelling.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from toolkit.text.forced_words import is_kept
from toolkit.transcript import Word

# Categories of what opens: brackets, quotes, currency signs. The Spanish marks share theirs with closing ones.
_OPENING_CATEGORIES, _OPENING_MARKS = frozenset({"Ps", "Pi", "Sc"}), "¿¡"

Span = tuple[int, int]


def words_as_given(text: str, words: Sequence[str]) -> list[str]:
    """The part of the text that each word stands for; all parts together are the text, up to white space.

    What is between two words goes to the word that it touches, else to the word before. Between words without white
    space (ideographs), and where it stands alone, an opening bracket or quote goes to the word after.

    Args:
        text: the user's text.
        words: what `split_words` made of it, at least one.

    Returns:
        One part per word, white space inside reduced to single blanks. A part is empty where the analyser made several
        words of one character (`½` in Japanese): the first of them has it.
    """
    spans = _spans(text, words)
    cuts = [len(text)]
    for (_, stop), (start, _) in reversed(list(pairwise(spans))):
        cuts.append(cuts[-1] if start < stop else stop + _length_of_first(text[stop:start]))
    return [" ".join(text[start:stop].split()) for start, stop in pairwise([0, *reversed(cuts)])]


def spelt_as_given(words: Sequence[Word], given: Sequence[str]) -> tuple[Word, ...]:
    """Words with the texts of `words_as_given`; one without a text lengthens the word before.

    Args:
        words: with times, in order.
        given: one text per word, the first not empty.
    """
    spelt: list[Word] = []
    for word, text in zip(words, given, strict=True):
        if text:
            spelt.append(replace(word, text=text))
        else:
            lowest = min(spelt[-1].confidence, word.confidence)
            spelt[-1] = replace(spelt[-1], end_s=word.end_s, confidence=lowest)
    return tuple(spelt)


def _spans(text: str, words: Sequence[str]) -> list[Span]:
    """For each word, where its first character begins and its last one ends in the text."""
    sources = _sources(text, "".join(words))
    stops = list(accumulate(map(len, words)))
    starts = [0, *stops[:-1]]
    return [(sources[start][0], sources[stop - 1][1]) for start, stop in zip(starts, stops, strict=True)]


def _sources(text: str, read: str) -> list[Span]:
    """Where in the text each character that the model reads comes from.

    nagisa compares in NFKC and returns it. Where even that is not what was read, places are taken in proportion.
    """
    found: list[Span] = []
    for pieces in (_characters, _normalised):
        kept = [(c, span) for form, span in pieces(text) for c in form if is_kept(c)]
        found = [span for _, span in kept]
        if "".join(c for c, _ in kept) == read:
            return found
    found = found or [(0, len(text))]
    return [found[place * len(found) // len(read)] for place in range(len(read))]


def _characters(text: str) -> Iterator[tuple[str, Span]]:
    for place, character in enumerate(text):
        yield character, (place, place + 1)


def _normalised(text: str) -> Iterator[tuple[str, Span]]:
    """NFKC of the shortest pieces that do not change each other."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or _is_boundary(text[start:place], text[place]):
            yield _nfkc(text[start:place]), (start, place)
            start = place


def _is_boundary(before: str, character: str) -> bool:
    return not unicodedata.combining(character) and _nfkc(before + character) == _nfkc(before) + _nfkc(character)


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _length_of_first(gap: str) -> int:
    """How much of what lies between two words goes to the first of them."""
    blanks = [place for place, character in enumerate(gap) if character.isspace()]
    if not blanks:
        return len(_stripped(gap, _opens))
    touching, alone = gap[: blanks[0]], gap[blanks[0] : blanks[-1] + 1]
    return len(touching) + len(_stripped(alone, lambda character: character.isspace() or _opens(character)))


def _stripped(text: str, is_stripped: Callable[[str], bool]) -> str:
    """The text without the run at its end for which the condition holds."""
    length = len(text)
    while length and is_stripped(text[length - 1]):
        length -= 1
    return text[:length]


def _opens(character: str) -> bool:
    return unicodedata.category(character) in _OPENING_CATEGORIES or character in _OPENING_MARKS
