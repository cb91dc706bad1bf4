"""The greedy loop with scripted decisions; against the real class in tests/models/parakeet_tdt/test_pipeline.py."""

import numpy as np
import pytest

from toolkit.errors import RuntimeFault
from toolkit.loops.transducer import Decision, Emission, PredictionState, greedy

BLANK = 9
FRAMES = np.arange(6, dtype=np.float32)[:, None]


class Scripted:
    """Decides what the script says, and notes the frames it saw."""

    def __init__(self, *decisions):
        self.decisions, self.seen = list(decisions), []

    def start(self):
        return PredictionState(BLANK, np.zeros(0), np.zeros(0))

    def __call__(self, state, frame):
        self.seen.append(int(frame[0]))
        token, duration = self.decisions.pop(0) if len(self.decisions) > 1 else self.decisions[0]
        return Decision(token, 0.5, duration), state


def run(*decisions, **options):
    return greedy(Scripted(*decisions), FRAMES, blank_id=BLANK, **({"max_steps": 100} | options))


def test_durations_advance_and_blanks_advance_by_one_at_least():
    decoded = run((1, 2), (BLANK, 0), (2, 0), (3, 1), (BLANK, 4))
    assert [(e.token_id, e.frame, e.duration) for e in decoded.emissions] == [
        (1, 0, 2),
        (BLANK, 2, 1),
        (2, 3, 0),
        (3, 3, 1),
        (BLANK, 4, 4),
    ]
    assert decoded.finished


def test_no_frames_no_steps():
    assert greedy(Scripted((1, 1)), FRAMES[:0], blank_id=BLANK, max_steps=0).finished


def test_the_limit_ends_the_loop_and_says_so():
    decoded = run((1, 0), max_steps=59)
    assert len(decoded.emissions) == 59
    assert not decoded.finished


@pytest.mark.parametrize("bound", [1, 2, 5, 10, 40])
def test_the_bound_on_symbols_moves_on_whatever_the_limit_of_steps(bound):
    decoded = run((1, 0), max_symbols=bound, max_steps=10 * len(FRAMES) - 1)
    assert [e.frame for e in decoded.emissions] == [frame for frame in range(6) for _ in range(bound)]
    assert decoded.finished


def test_the_bound_counts_anew_at_each_frame():
    decoded = run((1, 0), (2, 1), (3, 0), (4, 1), (BLANK, 4), max_symbols=2)
    assert [e.frame for e in decoded.emissions] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("decision", [(-1, 1), (1, -1)])
def test_a_negative_token_or_duration_is_a_fault(decision):
    with pytest.raises(RuntimeFault, match="decoder returned"):
        run(decision)


def test_an_emission_keeps_its_probability():
    assert run((1, 4), (BLANK, 4)).emissions[0] == Emission(1, 0, 4, 0.5)
