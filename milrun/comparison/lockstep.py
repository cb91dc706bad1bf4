"""Two runs side by side, neither more than one compared value ahead, so that few values wait for their partner."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from typing import Any

import numpy as np

Visit = Callable[[str, np.ndarray], np.ndarray | None]


class _Stopped(Exception):
    """The other run failed."""


class Lockstep:
    """Hands the values of two runs to `compare` in pairs.

    Args:
        pairs: for each run, name of a value -> number of its pair.
        compare: called with the number of the pair and both values; a pair within a loop comes once a turn.
        shared: pairs whose first value also takes the place of the second, such as noise that each run would draw.
    """

    def __init__(
        self,
        pairs: Sequence[Mapping[str, int]],
        compare: Callable[[int, np.ndarray, np.ndarray], None],
        shared: Set[int] = frozenset(),
    ) -> None:
        self._pairs, self._compare, self._shared = pairs, compare, shared
        self._turn = Condition()
        self._made = [0, 0]
        self._finished = [False, False]
        self._stopped = False
        self._turns: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self._waiting: dict[tuple[int, int], np.ndarray] = {}

    def run(self, runs: Sequence[Callable[[Visit], Any]]) -> list[Any]:
        """Run both, each in its own thread, with what it is to call for each value; returns their results.

        Raises:
            Exception: what a run raised, the first one's before the second's.
        """
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(self._side, side, run) for side, run in enumerate(runs)]
            try:
                errors = [future.exception() for future in futures]
            finally:  # an interrupt
                self._stop()
        for error in errors:
            if error is not None and not isinstance(error, _Stopped):
                raise error
        return [future.result() for future in futures]

    @property
    def unpaired(self) -> set[int]:
        """Pairs of which a run made one value more often than the other, as in a branch that only it took."""
        return {pair for pair, _ in self._waiting}

    def _side(self, side: int, run: Callable[[Visit], Any]) -> Any:
        try:
            return run(lambda name, value: self._see(side, name, value))
        except BaseException:
            self._stop()
            raise
        finally:
            with self._turn:
                self._finished[side] = True
                self._turn.notify_all()

    def _stop(self) -> None:
        with self._turn:
            self._stopped = True
            self._turn.notify_all()

    def _see(self, side: int, name: str, value: np.ndarray) -> np.ndarray | None:
        pair = self._pairs[side].get(name)
        if pair is None:
            return None
        with self._turn:
            instead = self._meet(side, pair, value)
            self._made[side] += 1
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._may_go_on(side))
            if self._stopped:
                raise _Stopped
        return instead

    def _meet(self, side: int, pair: int, value: np.ndarray) -> np.ndarray | None:
        """Keep a value that comes first; compare one that comes second, and return what takes its place."""
        key = pair, self._turns[side][pair]
        self._turns[side][pair] += 1
        if self._turns[1 - side][pair] <= key[1]:
            self._waiting[key] = value.copy()
            return None
        other = self._waiting.pop(key)
        if pair in self._shared and other.shape == value.shape:
            return other
        self._compare(pair, *((value, other) if side == 0 else (other, value)))
        return None

    def _may_go_on(self, side: int) -> bool:
        """The run that is behind never waits, so one of the two always goes on."""
        return self._stopped or self._finished[1 - side] or self._made[side] <= self._made[1 - side]
