"""Which value of one program is which of the other: by name, and between those by the sequence of ops.

Nothing is quadratic in the size of a program: names are looked up, and sequences are matched piece by piece.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from milrun.comparison.values import Value, shapes_meet

_MOST_EDITS = 400  # of a sequence that are looked through at a time
_REPLACED = 3  # ops in a row that may stand for as many others
_FEW = 4  # names that may mean another op before names are doubted
_NOWHERE = -2  # of a diagonal that no path reaches; a step to the right of it is outside too


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
    """Pairs of two sequences with as few elements left over as can be; a few in a row pair with as many others too."""
    i = j = 0
    for m, n in [*_equal(a, b), (len(a), len(b))]:
        if m - i == n - j <= _REPLACED:  # one op in the place of another
            yield from zip(range(i, m), range(j, n), strict=True)
        if m < len(a):
            yield m, n
        i, j = m + 1, n + 1


def _equal(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Equal pairs by Myers' greedy algorithm (An O(ND) Difference Algorithm, 1986), `_MOST_EDITS` at a time.

    `SequenceMatcher` will not do: it takes the longest match first, which slides where all layers are alike.
    """
    i = j = 0
    while i < len(a) and j < len(b):
        pairs, done = _script(a[i:], b[j:])
        if not done:  # the later half of the path may be a wrong turn
            pairs = pairs[: max(1, len(pairs) // 2)]
        yield from ((i + m, j + n) for m, n in pairs)
        if done:
            return
        i, j = (i + pairs[-1][0] + 1, j + pairs[-1][1] + 1) if pairs else (i + _MOST_EDITS // 2, j + _MOST_EDITS // 2)


def _script(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[list[tuple[int, int]], bool]:
    """Equal pairs of the shortest edit script, or of the path that gets farthest; and whether it gets to the end."""
    reached: dict[int, int] = {1: 0}  # diagonal (place in a - place in b) -> farthest place in a
    history: list[dict[int, int]] = []
    for edits in range(_MOST_EDITS + 1):
        history.append(reached)
        step: dict[int, int] = {}
        for k in range(-edits, edits + 1, 2):
            down = k == -edits or (k != edits and reached.get(k - 1, _NOWHERE) < reached.get(k + 1, _NOWHERE))
            x = reached.get(k + 1, _NOWHERE) if down else reached.get(k - 1, _NOWHERE) + 1
            if x > len(a) or x - k > len(b) or x < 0:
                continue
            while x < len(a) and x - k < len(b) and a[x] == b[x - k]:
                x += 1
            step[k] = x
            if x == len(a) and x - k == len(b):
                return _matches(history, k, x), True
        reached = step
    k = max(reached, key=lambda k: 2 * reached[k] - k)
    return _matches(history, k, reached[k]), False


def _matches(history: Sequence[dict[int, int]], k: int, x: int) -> list[tuple[int, int]]:
    """Walk a path back from (x, x - k): its diagonal steps."""
    pairs: list[tuple[int, int]] = []
    for edits in range(len(history) - 1, -1, -1):
        before = history[edits]
        down = k == -edits or (k != edits and before.get(k - 1, _NOWHERE) < before.get(k + 1, _NOWHERE))
        began = before.get(k + 1, _NOWHERE) if down else before.get(k - 1, _NOWHERE) + 1
        pairs += ((m, m - k) for m in range(x - 1, began - 1, -1))
        k, x = (k + 1, began) if down else (k - 1, began - 1)
    return pairs[::-1]
