"""The first op out of bounds of a large component in few runs, without holding all of its values.

The order of execution is cut into a few parts. At a cut, the values that later ops still read carry every error that
was made before it, so they alone are held and compared; those of the last good cut are replaced by the wrapper's, so
that what was inherited does not count. The first bad part is cut again, until it is small enough for the run op by op
of `parity.localise.layers`, which decides. A part that turns out harmless (its errors only added up) is passed
over.

It finds what the full run finds as long as an error does not shrink below half its bound by the next cut.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import milrun
from parity.localise.eager_graph import EagerGraph
from parity.localise.layers import Bounds, Fault, Localised, OpRow, PairedGraphs, first_fault, forced_rows, result_of
from toolkit.runtimes.recording import Call
from toolkit.spec import ComponentSpec

# Parts that a stretch is cut into, and values in a stretch that is run op by op.
PARTS = 8
STRETCH = 24
# An error at a cut has been through further ops, which may have made it smaller.
_ALARM = 0.5


def bisect(
    spec: ComponentSpec,
    function: str,
    package: milrun.Model,
    call: Call,
    bounds: Bounds,
    *,
    parts: int = PARTS,
    stretch: int = STRETCH,
) -> Localised:
    """Find the first op of a package that is out of bounds, with few values held in memory.

    Args:
        spec: the component; its wrapper is built and traced.
        function: entry point.
        package: the saved package's function, in milrun.
        call: a recorded call of it.
        bounds: what one op may add.
        parts: into which a stretch is cut at each run.
        stretch: values that are run op by op at once.

    Returns:
        As `localise`, with the rows of the last stretch alone.
    """
    search = _Search(PairedGraphs(EagerGraph(spec, function), package, call, bounds), parts, stretch)
    last = len(search.graphs.ops)
    rows, fault = search.first(-1, last, rounding=False)
    # An op that only loses precision may come before one whose program is wrong.
    earlier, lost = search.first(-1, fault.row.op.index - 1 if fault else last, rounding=True)
    if lost:
        rows, fault = earlier, lost
    return result_of(search.graphs, call, rows, fault)


@dataclass
class _Search:
    graphs: PairedGraphs
    parts: int
    stretch: int

    def __post_init__(self) -> None:
        graphs = self.graphs
        self._order = list(graphs.pairs)  # in the order of execution
        self._last_read: dict[str, int] = {}
        for op in graphs.ops.values():
            for name in op.reads:
                self._last_read[name] = op.index
        for name in graphs.model.outputs:
            self._last_read[name] = len(graphs.ops) + 1

    def first(self, low: int, end: int, *, rounding: bool) -> tuple[list[OpRow], Fault | None]:
        """The first op out of bounds behind `low` and not behind `end`, and the rows of its stretch."""
        while low < end:
            high = end
            while len(self._inside(low, high)) > self.stretch:
                cuts = self._cuts(low, high)
                bad = self._first_bad(low, cuts, rounding)
                if bad is None:
                    break
                low, high = cuts[bad - 1] if bad else low, cuts[bad]
            else:
                rows = self._rows(low, high)
                if fault := first_fault(self.graphs, rows):
                    return rows, fault
            low = high
        return [], None

    def _first_bad(self, low: int, cuts: Sequence[int], rounding: bool) -> int | None:
        """Index of the first cut that an error crosses, when what crosses `low` is exact."""
        graphs, exact = self.graphs, self._crossing(low)
        crossing = [self._crossing(cut) for cut in cuts]
        names = {name for cross in crossing for name in cross} | exact
        eager = graphs.eager_values({graphs.pairs[name] for name in names})
        found = graphs.differences(eager, force=exact, rounding=rounding)
        bound = _ALARM * (graphs.bounds.precision if rounding else graphs.bounds.program)
        for index, cross in enumerate(crossing):
            if any(found[name].exceeds(bound) for name in cross - exact):
                return index
        return None

    def _rows(self, low: int, high: int) -> list[OpRow]:
        """Op by op between two cuts."""
        graphs = self.graphs
        names = {*self._inside(low, high), *self._crossing(low)}
        eager = graphs.eager_values({graphs.pairs[name] for name in names})
        return [row for row in forced_rows(graphs, eager, names) if low < row.op.index <= high]

    def _inside(self, low: int, high: int) -> list[str]:
        return [name for name in self._order if low < self.graphs.ops[name].index <= high]

    def _crossing(self, cut: int) -> set[str]:
        """Values made up to a cut, and read behind it or returned."""
        return {n for n in self._order if self.graphs.ops[n].index <= cut < self._last_read.get(n, -1)}

    def _cuts(self, low: int, high: int) -> list[int]:
        """Places that part a stretch evenly, its end included; nudged to where every value that crosses is known."""
        indices = [self.graphs.ops[name].index for name in self._inside(low, high)]
        step = max(1, len(indices) // self.parts)
        cuts = {self._nudged(index, low, high) for index in indices[step - 1 : -1 : step]}
        return [*sorted({cut for cut in cuts if low < cut < high}), high]

    def _nudged(self, index: int, low: int, high: int) -> int:
        near = [i for d in range(self.stretch // 2) for i in (index - d, index + d) if low < i < high]
        return min(near, key=lambda i: (len(self._unknown(i)), abs(i - index)), default=index)

    def _unknown(self, cut: int) -> Collection[str]:
        ops = self.graphs.ops.values()
        return [
            op.name
            for op in ops
            if op.index <= cut < self._last_read.get(op.name, -1) and op.name not in self.graphs.pairs
        ]
