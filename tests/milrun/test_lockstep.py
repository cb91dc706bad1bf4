"""Two runs side by side: who waits for whom, and what happens when one fails."""

import numpy as np
import pytest

from milrun.comparison.lockstep import Lockstep


def makes(names):
    """A run that makes values of these names, each of which is its name's number."""

    def run(visit):
        for name in names:
            visit(name, np.array(int(name[1:])))
        return len(names)

    return run


def lockstep(names, compare, shared=frozenset()):
    return Lockstep([{f"{side}{n}": n for n in range(names)} for side in "ab"], compare, shared)


def test_few_values_wait_when_both_run_in_order():
    waiting = []
    steps = lockstep(1000, lambda pair, a, b: waiting.append(len(steps._waiting)))
    assert steps.run([makes([f"{side}{n}" for n in range(1000)]) for side in "ab"]) == [1000, 1000]
    assert len(waiting) == 1000
    assert max(waiting) <= 2


def test_another_order_pairs_the_same_values():
    seen = []
    steps = lockstep(50, lambda pair, a, b: seen.append((pair, int(a), int(b))))
    steps.run([makes([f"a{n}" for n in range(50)]), makes([f"b{n}" for n in reversed(range(50))])])
    assert sorted(seen) == [(n, n, n) for n in range(50)]
    assert not steps.unpaired


def test_turns_pair_in_their_order_and_the_rest_is_unpaired():
    seen = []
    steps = lockstep(2, lambda pair, a, b: seen.append(pair))
    steps.run([makes(["a0", "a0", "a0", "a1"]), makes(["b0", "b1", "b7"])])
    assert sorted(seen) == [0, 1]
    assert steps.unpaired == {0}


def test_a_run_that_fails_ends_the_other():
    def fails(visit):
        visit("b0", np.array(0))
        raise OSError("no more")

    steps = lockstep(1000, lambda pair, a, b: None)
    with pytest.raises(OSError, match="no more"):
        steps.run([makes([f"a{n}" for n in range(1000)]), fails])


def test_what_is_shared_takes_the_place_of_the_second():
    got = []

    def run(number):
        return lambda visit: got.append(visit("ab"[number] + "0", np.array(number)))

    lockstep(1, lambda pair, a, b: None, {0}).run([run(0), run(1)])
    assert sorted(value is None for value in got) == [False, True]
