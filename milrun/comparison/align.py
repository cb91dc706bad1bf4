"""Which value of one program is which of the other: by name, and between those by the sequence of ops.

Nothing is quadratic in the size of a program: names are looked up, and sequences are matched in windows.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from milrun.comparison.values import Value, shapes_meet

_WINDOW = 400
_FEW = 4  # names that may mean another op before names are doubted


@dataclass(frozen=True)
class Alignment:
    """Pairs of places in the two lists of values, in the order of the first; and whether names were used."""

    pairs: tuple[tuple[int, int], ...]
    by_name: int


def align(a: Sequence[Value], b: Sequence[Value]) -> Alignment:
    """Pair the values of two programs.

    A name that both use pairs, whatever the op, if kind and shape allow it. Names that mostly mean other ops are
    numbers that a converter gave, and are not used. Between values that pair by name in order, those of the same
    op, shape, kind of dtype, and PyTorch module where both programs say it, pair in sequence.
    """
    named = _by_name(a, b)
    scoped = all(any(value.operation.scope for value in side) for side in (a, b))
    sequence = list(_between(named, a, b, scoped))
    return Alignment(tuple(sorted([*named, *sequence])), len(named))


def _by_name(a: Sequence[Value], b: Sequence[Value]) -> list[tuple[int, int]]:
    places = _unique(b)
    common = [(i, places[key]) for key, i in _unique(a).items() if key in places]
    common.sort()
    pairs = [(i, j) for i, j in common if _may_be_one(a[i], b[j])]
    alike = sum(a[i].operation.type == b[j].operation.type for i, j in pairs)
    return pairs if len(common) - alike <= max(_FEW, len(common) // 5) else []


def _unique(values: Sequence[Value]) -> dict[str, int]:
    """key -> place, of keys that occur once."""
    counts = Counter(value.key for value in values)
    return {value.key: place for place, value in enumerate(values) if counts[value.key] == 1}


def _may_be_one(a: Value, b: Value) -> bool:
    return a.kind == b.kind and shapes_meet(a.type, b.type)


def _between(
    named: Sequence[tuple[int, int]], a: Sequence[Value], b: Sequence[Value], scoped: bool
) -> Iterator[tuple[int, int]]:
    """Pairs in the gaps between the pairs by name that are in order on both sides."""
    signatures = [[_signature(value, scoped) for value in side] for side in (a, b)]
    taken = {i for i, _ in named}, {j for _, j in named}
    for (i, j), (next_i, next_j) in pairwise([(-1, -1), *_in_order(named), (len(a), len(b))]):
        left = [m for m in range(i + 1, next_i) if m not in taken[0]]
        right = [n for n in range(j + 1, next_j) if n not in taken[1]]
        for m, n in _in_sequence([signatures[0][m] for m in left], [signatures[1][n] for n in right]):
            if _may_be_one(a[left[m]], b[right[n]]):
                yield left[m], right[n]


def _signature(value: Value, scoped: bool) -> Hashable:
    scope = value.operation.scope if scoped else ""
    return value.operation.type, value.output, value.kind, value.type.shape, scope


def _in_order(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs that ascend on both sides; `pairs` ascend on the first."""
    ends: list[int] = []  # the smallest second place that a run of this length ends with
    chain: list[int] = []  # the pair that has it
    before: list[int] = []  # of each pair: the one before it in its run
    for index, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        before.append(chain[length - 1] if length else -1)
        ends[length : length + 1] = [j]
        chain[length : length + 1] = [index]
    index = chain[-1] if chain else -1
    run = []
    while index >= 0:
        run.append(pairs[index])
        index = before[index]
    return run[::-1]


def _in_sequence(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Pairs of two sequences, window after window, each of which begins where the last one's pairs end."""
    i = j = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            yield i, j
            i, j = i + 1, j + 1
            continue
        last = len(a) - i <= _WINDOW and len(b) - j <= _WINDOW
        pairs = list(_window(a[i : i + _WINDOW], b[j : j + _WINDOW], at_end=last))
        if not last:  # what the second half pairs with may lie beyond the window
            pairs = [(m, n) for m, n in pairs if max(m, n) < _WINDOW // 2]
        yield from ((i + m, j + n) for m, n in pairs)
        if last:
            return
        i, j = (i + pairs[-1][0] + 1, j + pairs[-1][1] + 1) if pairs else (i + _WINDOW // 2, j + _WINDOW // 2)


def _window(a: Sequence[Hashable], b: Sequence[Hashable], at_end: bool) -> Iterator[tuple[int, int]]:
    """Ends that agree pair first, so that layers that are alike do not slide; as many ops for as many pair too."""
    tail = 0
    while at_end and tail < min(len(a), len(b)) and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    a, b = a[: len(a) - tail], b[: len(b) - tail]
    for tag, i, end, j, other in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal" or (tag == "replace" and end - i == other - j):
            yield from zip(range(i, end), range(j, other), strict=True)
    yield from zip(range(len(a), len(a) + tail), range(len(b), len(b) + tail), strict=True)
