"""The comparison with Qwen's own code sees what is wrong; the whole run is `python -m tests.oracles qwen`."""

import numpy as np
import pytest

from tests.oracles.qwen import Side, difference

ITEMS = [("one", 0.08, 0.4), ("two", 0.48, 0.8)]
LOGITS = np.linspace(-1, 2, 40).reshape(4, 10)
THEIRS = [Side(ITEMS, LOGITS), Side(ITEMS[:1], LOGITS[:2])]


def test_the_same_is_the_same():
    assert difference(THEIRS, THEIRS) == difference([Side(list(ITEMS), LOGITS.copy()), THEIRS[1]], THEIRS)
    found = difference(THEIRS, THEIRS)
    assert (found.items, found.clips, found.times, found.logits) == (2, 2, 0, 0)


def test_one_logit_is_seen():
    logits = LOGITS.copy()
    logits[3, 9] += 0.5
    found = difference([Side(ITEMS, logits), THEIRS[1]], THEIRS)
    assert found.items == 2
    assert found.logits == pytest.approx(0.25)


def test_a_time_and_a_word_are_seen():
    late = [ITEMS[0], ("two", 0.56, 0.8)]
    found = difference([Side(late, LOGITS), THEIRS[1]], THEIRS)
    assert (found.items, found.times) == (1, pytest.approx(0.08))
    other = difference([Side([("One", 0.08, 0.4), ITEMS[1]], LOGITS), THEIRS[1]], THEIRS)
    assert (other.items, other.times) == (1, np.inf)


def test_missing_clips_and_markers_are_refused():
    with pytest.raises(ValueError, match="argument 2 is longer"):
        difference(THEIRS[:1], THEIRS)
    with pytest.raises(ValueError, match="logits of"):
        difference([Side(ITEMS, LOGITS[:3]), THEIRS[1]], THEIRS)


def test_not_a_number_is_seen():
    broken = LOGITS.copy()
    broken[0, 0] = np.nan
    assert not difference([Side(ITEMS, broken), THEIRS[1]], THEIRS).logits < 1
