"""What several recognisers' comparisons share: rows, notes and figures from known values."""

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest

from parity.ladder.ladder import Ladder, Status
from parity.ladder.packages import CLIPS_EXERCISED
from parity.ladder.recognition import (
    compare_encoder,
    compare_error_rates,
    compare_mel,
    count_forced_flips,
    encoder_windows,
    first_divergence,
    largest_error,
    mel_frames,
    mels_for_window,
)
from parity.ladder.rungs import LadderPlan, Rung
from parity.measures.flips import Flips
from parity.measures.words import NORMALISER
from toolkit.component import Component
from toolkit.spec import Gate, TensorInfo

CLOSE = Gate("close", at_most={"max_abs": 1e-3})
EXACT = Gate("exact", at_most={"mismatches": 0})
MEL, LENGTH = Rung("features", "mel", "theirs", "ours", CLOSE), Rung("features", "length", "theirs", "ours", EXACT)
FRAMES = Rung("wrappers", "encoder {function}: encoder", "theirs", "ours", CLOSE)
COUNT = Rung("wrappers", "encoder {function}: encoder_length", "theirs", "ours", EXACT)


@pytest.fixture
def ladder():
    return Ladder("parrot", LadderPlan((MEL, LENGTH, FRAMES, COUNT)), {}, exhibits=1)


def statuses(ladder, stage):
    found = next(s for s in ladder.result().stages if s.name == stage)
    return {row.output: row.status for row in found.rows if row.status is not Status.SKIPPED}


@pytest.mark.parametrize("frames_axis", [0, 1])
def test_a_mel_is_compared_whole_and_shown_up_to_its_valid_frames(ladder, frames_axis):
    mel = np.arange(12, dtype=np.float32).reshape(6, 2)  # [T, M]
    given = mel if frames_axis == 0 else mel.T
    compare_mel(ladder, (MEL, LENGTH), "clip", (given, 4), (given, 4), 0.01, frames_axis=frames_axis)
    assert statuses(ladder, "features") == {"mel": Status.PASSED, "length": Status.PASSED}
    kept = ladder.result().exhibits[0]
    assert (kept.stage, kept.title, kept.clip, kept.exhibit.x_step) == ("features", "mel", "clip", 0.01)
    assert np.array_equal(kept.exhibit.reference, mel[:4].T)
    assert not kept.exhibit.difference.any()


def test_each_fault_of_a_mel_fails_its_own_row(ladder):
    mel = np.ones((6, 2), np.float32)
    compare_mel(ladder, (MEL, LENGTH), "clip", (mel, 4), (mel + 1, 3), 0.01)
    assert statuses(ladder, "features") == {"mel": Status.FAILED, "length": Status.FAILED}
    assert (ladder.result().exhibits[0].exhibit.difference == 1).all()


def function(name, frames):
    return SimpleNamespace(name=name, inputs=(SimpleNamespace(shape=(1, frames, 2)),))


def subject(count):
    encoder = SimpleNamespace(functions=(function("long", 40), function("short", 10), function("middle", 20)))
    plan = SimpleNamespace(component={"encoder": encoder}.__getitem__)
    return SimpleNamespace(plan=plan, clips=SimpleNamespace(count=count))


@pytest.mark.parametrize("length", [1, 15, 99])
def test_the_first_clips_see_every_window(length):
    names = [f.name for f in encoder_windows(subject(CLIPS_EXERCISED), length)]
    assert names == ["short", "middle", "long"]


@pytest.mark.parametrize(("length", "name"), [(1, "short"), (10, "short"), (11, "middle"), (40, "long"), (99, "long")])
def test_later_clips_see_the_window_that_the_pipeline_would_take(length, name):
    assert [f.name for f in encoder_windows(subject(CLIPS_EXERCISED + 1), length)] == [name]


def test_the_length_of_a_window_is_its_mel_input():
    assert mel_frames(function("short", 10)) == 10


class Encoder(Component):
    """A wrapper of 8 mel frames that keeps every second one."""

    name, function = "encoder", "audio_8"
    inputs: Mapping = {"mel": TensorInfo("float32", (1, 8, 2)), "length": TensorInfo("int32", (1,))}
    outputs: Mapping = {"encoder": TensorInfo("float32", (1, 4, 2)), "encoder_length": TensorInfo("int32", (1,))}
    states: Mapping = {}

    def _predict(self, inputs, state):
        return {"encoder": inputs["mel"][:, ::2].copy(), "encoder_length": (inputs["length"] + 1) // 2}


def test_an_encoder_is_compared_over_its_valid_frames(ladder):
    mel = np.arange(10, dtype=np.float32).reshape(5, 2)
    compare_encoder(ladder, (FRAMES, COUNT), Encoder(), mel, mel[::2])
    names = ("encoder audio_8: encoder", "encoder audio_8: encoder_length")
    assert statuses(ladder, "wrappers") == dict.fromkeys(names, Status.PASSED)


@pytest.mark.parametrize(
    ("mel", "faulty"), [((0, 1, 2, 3, 5), "encoder"), ((0, 1, 2, 3), "encoder encoder_length")], ids=["values", "count"]
)
def test_a_wrong_encoder_fails_its_rows(ladder, mel, faulty):
    reference = np.array([[0, 0], [2, 2], [4, 4]], np.float32)
    mel = np.repeat(np.array(mel, np.float32)[:, None], 2, 1)
    compare_encoder(ladder, (FRAMES, COUNT), Encoder(), mel, reference)
    failed = {output for output, status in statuses(ladder, "wrappers").items() if status is Status.FAILED}
    assert failed == {f"encoder audio_8: {name}" for name in faulty.split()}


@pytest.mark.parametrize("window", [3, 5, 12, 40])
def test_clips_fill_the_window_that_is_exercised(window):
    mels = [np.full((n, 2), n, np.float32) for n in (5, 2)]
    *each, full = mels_for_window(mels, window)
    assert [len(mel) for mel in each] == [min(5, window), min(2, window)]
    assert full.shape == (window, 2)
    assert np.array_equal(full[:7], np.concatenate(mels)[:window][:7])


def test_the_largest_error_has_no_sign():
    assert largest_error(np.array([1.0, -4.0]), np.array([1.5, -1.0])) == 3.0


def test_forced_flips_are_counted_where_they_are():
    logits = np.array([[1, 0, 0], [0, 1, 0.9], [5, 0, 1]], np.float32)
    flips = Flips()
    count_forced_flips(flips, logits, np.array([0, 2, 2]), 0.1, ["a", "b", "c"])
    assert (flips.decisions, flips.flips, flips.unexplained) == (3, 2, 1)
    assert [note[:8] for note in flips.notes] == ["b: 2 for", "c: 2 for"]
    count_forced_flips(flips, logits, logits.argmax(1), 0.1, ["a", "b", "c"])
    assert (flips.decisions, flips.flips) == (6, 2)


@pytest.mark.parametrize(
    ("reference", "ours", "step"),
    [
        ([1, 2, 3], [1, 2, 3], None),
        ([1, 2, 3], [1, 2], None),
        ([1, 2], [1, 2, 3], None),
        ([1, 2, 3], [1, 9, 3, 9], 1),
        ([(1, 0), (1, 1)], [(1, 0), (1, 2)], 1),
        ([], [1], None),
    ],
)
def test_the_first_divergence_of_two_runs(reference, ours, step):
    assert first_divergence(reference, ours) == step


def test_error_rates_of_both_sides():
    rates = compare_error_rates(["one two", "three four"], ["one two", "three for"], ["one too", "three for"])
    assert (rates.ours, rates.reference, rates.delta_points, rates.count) == (50.0, 25.0, 25.0, 2)
    assert rates.headline() == f"WER 50.00 % ours, 25.00 % reference, over 2 clips ({NORMALISER})"
    assert rates.headline("texts").endswith(f", over 2 texts ({NORMALISER})")


def test_error_rates_of_characters():
    rates = compare_error_rates(["六六"], ["六六"], ["六"], "CER")
    assert (rates.ours, rates.reference) == (50.0, 0.0)
    assert rates.headline().startswith("CER 50.00 % ours, 0.00 % reference")


def test_no_transcript_is_no_rate():
    with pytest.raises(ValueError, match="transcript"):
        compare_error_rates([""], ["a"], ["a"])
