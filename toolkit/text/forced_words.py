"""What forced alignment needs on the host: the words of a text, the name of its language, times in order.

Source: transformers 5.23, models/qwen3_asr/processing_qwen3_asr.py, `split_words_for_alignment` and
`_fix_timestamps`; audio_utils.py, `resolve_language`.
"""

import importlib
import unicodedata
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.errors import ToolkitError

# Unicode blocks whose characters are words of their own: the CJK ideographs, extensions A to E and compatibility.
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
_SHORT_RUN = 2  # outliers in a row that take a neighbour's time; more are spread between both


def split_words(text: str, language: str | None = None) -> list[str]:
    """The words to align, without punctuation and signs.

    Words end at white space, and each ideograph is one; Japanese and Korean have analysers of their own. Only letters,
    numbers and the straight apostrophe are kept, so `well-known` is one word, and an accent that is a character of its
    own (NFD) is lost, as upstream has it. This is what the model reads; `given_words` finds what the user wrote.

    Args:
        text: what is said.
        language: full name, in any case; None, or any but Japanese and Korean, is the common rule.

    Raises:
        ToolkitError: the language's analyser is not installed; the message names the command.
    """
    analyse = _ANALYSERS.get((language or "").lower(), _common_words)
    cleaned = ("".join(filter(is_kept, word)) for word in analyse(text.strip()))
    return [word for word in cleaned if word]


def is_kept(character: str) -> bool:
    """Whether the model reads a character: letters, numbers, the apostrophe, ideographs newer than this Python too."""
    return character == "'" or unicodedata.category(character)[0] in "LN" or _is_ideograph(character)


def language_from_name(name: str, supported: Mapping[str, str]) -> str:
    """The full name of a language.

    Args:
        name: code or full name, in any case: `en`, `English`.
        supported: full names by code.

    Raises:
        ToolkitError: it is neither; the message lists what there is.
    """
    wanted = name.strip().lower()
    for code, full in supported.items():
        if wanted in (code.lower(), full.lower()):
            return full
    listed = ", ".join(f"{code} ({full})" for code, full in sorted(supported.items()))
    raise ToolkitError(f"language '{name}' is not supported", f"Give one of: {listed}.")


def monotonic(times: Sequence[float] | np.ndarray) -> list[int]:
    """Times that never go back: those out of order are replaced, the others kept, all cut to whole numbers.

    Those kept are the longest subsequence that never falls. Up to two others in a row take the time of the nearer
    neighbour that is kept, the earlier one where both are as near; more in a row are spread evenly between their
    neighbours. At either end all take the one neighbour's.

    Args:
        times: [n], finite, in any unit.

    Returns:
        n whole numbers, each cut towards zero; none for none, for which upstream fails.
    """
    values = np.asarray(times).tolist()
    kept = _longest_rise(values)
    if not kept:
        return []
    ordered = [int(value) for value in values]
    for before, after in zip([-1, *kept], [*kept, len(values)], strict=True):
        left = values[before if before >= 0 else after]
        right = values[after if after < len(values) else before]
        for step in range(1, after - before):
            ordered[before + step] = int(_between(left, right, step, after - before))
    return ordered


def _between(left: float, right: float, step: int, gap: int) -> float:
    """The time `step` positions after `left`, of `gap` positions from `left` to `right`."""
    if gap - 1 <= _SHORT_RUN:
        return left if step <= gap - step else right
    return left + (right - left) / gap * step


def _longest_rise(values: Sequence[float]) -> list[int]:
    """Indices of the longest subsequence that never falls; of several, the one upstream's quadratic search finds.

    That is the one whose last element comes first, and before each element the first that a longest one may have.
    Elements that end subsequences of the same length form a pile, in which the values fall strictly from first to
    last. So the piles' last values never fall from pile to pile, and both searches are bisections.
    """
    lasts: list[float] = []  # of each pile
    negated: list[list[float]] = []  # values of each pile, negated to rise
    members: list[list[int]] = []  # indices of each pile
    parents: list[int] = []
    for index, value in enumerate(values):
        pile = bisect_right(lasts, value)
        if pile == len(lasts):
            lasts.append(value)
            negated.append([])
            members.append([])
        lasts[pile] = value
        negated[pile].append(-value)
        members[pile].append(index)
        parents.append(members[pile - 1][bisect_left(negated[pile - 1], -value)] if pile else -1)
    rise: list[int] = []
    index = members[-1][0] if members else -1
    while index >= 0:
        rise.append(index)
        index = parents[index]
    return rise[::-1]


def _common_words(text: str) -> Iterator[str]:
    """Runs between white space and ideographs, and the ideographs."""
    for run in text.split():
        start = 0
        for position, character in enumerate(run):
            if _is_ideograph(character):
                yield run[start:position]
                yield character
                start = position + 1
        yield run[start:]


def _japanese_words(text: str) -> Iterable[str]:
    return list(_imported("nagisa", "japanese").tagging(text).words)


def _korean_words(text: str) -> Iterable[str]:
    return list(_imported("soynlp.tokenizer", "korean").LTokenizer().tokenize(text))


_ANALYSERS: dict[str, Callable[[str], Iterable[str]]] = {"japanese": _japanese_words, "korean": _korean_words}


def _imported(module: str, extra: str) -> Any:
    package = module.split(".")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # soynlp 0.0.493 compiles with SyntaxWarnings
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (package, module):
            raise
        raise ToolkitError(
            f"the words of a {extra.capitalize()} text are found with {package}, which is not installed",
            f"Install it: `uv sync --inexact --extra {extra}`.",
        ) from error


def _is_ideograph(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _IDEOGRAPHS)
