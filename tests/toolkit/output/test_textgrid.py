"""TextGrids, read back by praatio and by Praat's own rule: free-standing numbers, strings and flags, nothing else."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from praatio import textgrid as praat

from toolkit.output.formats import render
from toolkit.output.result import Result
from toolkit.transcript import Transcript, Word

TOKEN = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(?<!\S)(-?\d+(?:\.\d+)?|<\w+>)(?=\s|$)|\S+')


def textgrid(words, duration_s=3.0):
    spoken = tuple(Word(text, start_s, end_s, 1.0) for text, start_s, end_s in words)
    transcript = Transcript(" ".join(w.text for w in spoken), duration_s, spoken, ())
    return render([Result("a.wav", transcript, 1.0, "portable", "m", "alignment")], "textgrid")


def values(text):
    """What Praat reads of a text file, in order."""
    for match in TOKEN.finditer(text):
        string, other = match.groups()
        if string is not None:
            yield string.replace('""', '"')
        elif other:
            yield other if other.startswith("<") else float(other)


def parsed(text):
    """(intervals [start, end, text], points [time, mark]); fails where Praat would, or would drop something."""
    read = iter(values(text))
    assert [next(read), next(read), next(read)] == ["ooTextFile", "TextGrid", 0.0]
    end_s, flag, tiers = next(read), next(read), next(read)
    assert flag == "<exists>"
    intervals, points = [], []
    for tier in range(int(tiers)):
        head = ["IntervalTier", "words"] if tier == 0 else ["TextTier", "zero-length"]
        assert [next(read) for _ in range(4)] == [*head, 0.0, end_s]
        for _ in range(int(next(read))):
            if tier == 0:
                intervals.append((next(read), next(read), next(read)))
            else:
                points.append((next(read), next(read)))
    assert next(read, None) is None
    assert (intervals[0][0], intervals[-1][1]) == (0.0, end_s)
    assert all(start < end for start, end, _ in intervals)
    assert all(a[1] == b[0] for a, b in pairwise(intervals))
    assert all(a[0] < b[0] for a, b in pairwise(points))
    assert all(0 <= time <= end_s for time, _ in points)
    assert len(points) > 0 or tiers == 1
    return intervals, points


def test_the_file_as_praat_writes_it():
    assert textgrid([("hi", 0.5, 1.0), ("you", 1.0, 1.0)], 1.25) == (
        'File type = "ooTextFile"\n'
        'Object class = "TextGrid"\n'
        "\n"
        "xmin = 0\n"
        "xmax = 1.25\n"
        "tiers? <exists>\n"
        "size = 2\n"
        "item []:\n"
        "    item [1]:\n"
        '        class = "IntervalTier"\n'
        '        name = "words"\n'
        "        xmin = 0\n"
        "        xmax = 1.25\n"
        "        intervals: size = 3\n"
        "        intervals [1]:\n"
        "            xmin = 0\n"
        "            xmax = 0.5\n"
        '            text = ""\n'
        "        intervals [2]:\n"
        "            xmin = 0.5\n"
        "            xmax = 1\n"
        '            text = "hi"\n'
        "        intervals [3]:\n"
        "            xmin = 1\n"
        "            xmax = 1.25\n"
        '            text = ""\n'
        "    item [2]:\n"
        '        class = "TextTier"\n'
        '        name = "zero-length"\n'
        "        xmin = 0\n"
        "        xmax = 1.25\n"
        "        points: size = 1\n"
        "        points [1]:\n"
        "            number = 1\n"
        '            mark = "you"\n'
    )


CASES = {
    "no_words": ([], [(0, 3, "")], []),
    "the_whole": ([("a", 0, 3)], [(0, 3, "a")], []),
    "no_gap": ([("a", 0.08, 1), ("b", 1, 3)], [(0, 0.08, ""), (0.08, 1, "a"), (1, 3, "b")], []),
    "quotes": ([('say "a" "', 0, 1), ('"', 1, 3)], [(0, 1, 'say "a" "'), (1, 3, '"')], []),
    "letters": ([("größe\n篇", 0, 3)], [(0, 3, "größe\n篇")], []),
    "overlap": ([("a", 0, 2), ("b", 1, 3)], [(0, 2, "a"), (2, 3, "b")], []),
    "swallowed": ([("a", 0, 3), ("b", 1, 2)], [(0, 3, "a")], [(1, "b")]),
    "zero_length": ([("a", 0, 1), ("b", 1, 1), ("c", 1, 3)], [(0, 1, "a"), (1, 3, "c")], [(1, "b")]),
    "one_point_a_time": ([("a", 1, 1), ("b", 1, 1), ("c", 2, 2)], [(0, 3, "")], [(1, "a b"), (2, "c")]),
    "backwards": ([("a", 2, 1)], [(0, 3, "")], [(2, "a")]),
    "out_of_order": ([("b", 2, 3), ("a", 0, 2)], [(0, 2, "a"), (2, 3, "b")], []),
    "beyond_the_end": ([("a", 2, 3.5), ("b", 3.5, 4)], [(0, 2, ""), (2, 3, "a")], [(3, "b")]),
    "before_the_start": ([("a", -1, 3)], [(0, 3, "a")], []),
    "rounding": ([("a", 1, 1.0000004), ("b", 2, 2.0000006)], [(0, 2, ""), (2, 2.000001, "b"), (2.000001, 3, "")], None),
}


@pytest.mark.parametrize("case", CASES)
def test_words(case):
    words, intervals, points = CASES[case]
    expected = [(1, "a")] if points is None else points
    assert parsed(textgrid(words)) == (intervals, expected)


@pytest.mark.parametrize("case", [name for name in CASES if name not in ("rounding",)])
def test_praatio_reads_the_same(case, tmp_path):
    words, intervals, points = CASES[case]
    (tmp_path / "a.TextGrid").write_text(textgrid(words), encoding="utf-8")
    grid = praat.openTextgrid(str(tmp_path / "a.TextGrid"), includeEmptyIntervals=True, reportingMode="error")
    assert (grid.minTimestamp, grid.maxTimestamp) == (0, 3)
    assert [tuple(entry) for entry in grid.getTier("words").entries] == intervals
    assert grid.tierNames == (("words", "zero-length") if points else ("words",))
    if points:
        assert [tuple(entry) for entry in grid.getTier("zero-length").entries] == points


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.text('a"\n[1] <b>', max_size=4), st.floats(-1, 500), st.floats(-1, 500)), max_size=12),
    st.floats(1e-4, 400),
)
def test_any_words_give_a_valid_file_with_all_of_them(words, duration_s):
    intervals, points = parsed(textgrid(words, duration_s))
    kept = "".join(text for _, _, text in intervals) + "".join(mark for _, mark in points)
    spoken = "".join(text for text, _, _ in words)
    assert sorted(kept.replace(" ", "")) == sorted(spoken.replace(" ", ""))


def test_one_file_only():
    result = Result("a.wav", Transcript("", 1.0, (), ()), 1.0, "portable", "m")
    with pytest.raises(ValueError, match="holds one file, not 2"):
        render([result, result], "textgrid")
