import numpy as np
import pytest

from parity.ladder.exhibits import (
    CURVE_POINTS,
    IMAGE_BINS,
    IMAGE_FRAMES,
    MAX_AUDIO_S,
    MAX_WORDS,
    Audio,
    Axis,
    Curves,
    Series,
    Spectrograms,
    Timeline,
    error_over,
)
from parity.ladder.ladder import Ladder
from parity.ladder.rungs import LadderPlan
from toolkit.transcript import Word

FRAME = Axis("frame")


def ladder(exhibits):
    return Ladder("toy", LadderPlan(()), {}, exhibits=exhibits)


def curves(values):
    return Curves(FRAME, Axis("error"), (Series("e", np.asarray(values, np.float64)),))


def test_nothing_is_kept_unless_a_report_wants_it():
    board = Ladder("toy", LadderPlan(()), {})
    assert not board.wants("features", "mel")
    board.exhibit("features", "mel", curves([1.0]))
    assert board.result().exhibits == ()


def test_the_first_few_of_each_title_and_stage_are_kept():
    board = ladder(2)
    for clip in "abc":
        board.exhibit("features", "mel", curves([1.0]), clip)
        board.exhibit("decode", "mel", curves([1.0]), clip)
        board.exhibit("features", "length", curves([1.0]), clip)
    assert not board.wants("features", "mel")
    assert board.wants("features", "another")
    kept = [(s.stage, s.title, s.clip) for s in board.result().exhibits]
    assert kept == [
        (s, t, c) for s, t in (("features", "mel"), ("decode", "mel"), ("features", "length")) for c in "ab"
    ]


def test_what_is_kept_is_reduced():
    board = ladder(1)
    board.exhibit("features", "mel", Spectrograms.of(np.zeros((300, 5000)), np.zeros((300, 5000))))
    kept = board.result().exhibits[0].exhibit
    assert kept.reference.shape[0] <= IMAGE_BINS
    assert kept.reference.shape[1] <= IMAGE_FRAMES
    assert kept.reference.dtype == np.float32


def test_error_over_frames():
    reference = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]])
    ours = reference + np.array([[0.0, 0.0], [3.0, -4.0], [0.0, 1.0]])
    largest, rms, size = error_over(reference, ours, FRAME).series
    np.testing.assert_allclose(largest.values, [0, 4, 1])
    np.testing.assert_allclose(rms.values, [0, np.sqrt(12.5), np.sqrt(0.5)])
    np.testing.assert_allclose(size.values, [np.sqrt(12.5), 0, 1])


def test_error_over_what_both_have_and_none_where_shapes_differ():
    assert [len(s.values) for s in error_over(np.ones((5, 2)), np.zeros((3, 2)), FRAME).series] == [3, 3, 3]
    assert error_over(np.ones((5, 2)), np.ones((5, 3)), FRAME).series == ()
    assert error_over(np.ones((0, 2)), np.ones((0, 2)), FRAME).series == ()


def test_error_is_not_finite_where_a_side_is_not():
    ours = np.ones((4, 2))
    ours[1, 0], ours[2, 1] = np.nan, np.inf
    largest = error_over(np.ones((4, 2)), ours, FRAME).series[0].values
    assert np.isnan(largest[1])
    assert np.isinf(largest[2])
    np.testing.assert_array_equal(largest[[0, 3]], 0)


def test_long_curves_keep_their_peaks_and_what_is_not_finite():
    values = np.zeros(10 * CURVE_POINTS + 3)
    values[777], values[-1], values[1234] = 5.0, 7.0, np.nan
    reduced = curves(values).reduced()
    shown = reduced.series[0].values
    assert len(shown) <= CURVE_POINTS
    by = round(reduced.x_step)
    assert shown[777 // by] == 5
    assert shown[-1] == 7
    assert np.flatnonzero(np.isnan(shown)).tolist() == [1234 // by]


def test_short_curves_and_layers_are_kept_as_they_are():
    short = curves([1.0, 2.0])
    assert short.reduced() is short
    names = tuple(map(str, range(2 * CURVE_POINTS)))
    layers = Curves(Axis("layer"), Axis("error"), (Series("e", np.arange(2.0 * CURVE_POINTS)),), ticks=names)
    assert layers.reduced() is layers


def test_difference_is_over_the_frames_of_both():
    shown = Spectrograms.of(np.ones((4, 10)), np.zeros((4, 7)))
    assert shown.difference.shape == (4, 7)
    np.testing.assert_array_equal(shown.difference, 1)


def test_one_wrong_frame_of_a_long_file_is_seen():
    reference = np.zeros((80, 9001))
    ours = reference.copy()
    ours[40, 5000] = 9
    reduced = Spectrograms.of(reference, ours, FRAME, 0.5).reduced()
    assert reduced.difference.max() == 9
    assert reduced.frames_each == 23
    assert reduced.x_step == 11.5
    assert reduced.reference.shape == (80, -(-9001 // 23))


def test_means_of_blocks_are_those_of_their_own_size():
    values = np.ones((130, 401))
    reduced = Spectrograms.of(values, values).reduced()
    np.testing.assert_array_equal(reduced.reference, np.ones((65, 201)))


def test_nan_stays_where_it_is():
    ours = np.zeros((4, 4))
    ours[2, 3] = np.nan
    reduced = Spectrograms.of(np.zeros((4, 4)), ours).reduced()
    assert np.argwhere(np.isnan(reduced.ours)).tolist() == [[2, 3]]
    assert np.argwhere(np.isnan(reduced.difference)).tolist() == [[2, 3]]


def test_timeline_and_audio_are_cut_and_say_so():
    words = [Word(str(k), k, k + 1, 1.0) for k in range(MAX_WORDS + 5)]
    assert Timeline.of(words, words).reduced().left_out == 5
    samples = np.zeros(int(100 * (MAX_AUDIO_S + 1)), np.float32)
    reference, ours = Audio.of(samples, samples[:50], 100).reduced().recordings
    assert len(reference.samples) == 100 * MAX_AUDIO_S
    assert reference.cut_from_s == MAX_AUDIO_S + 1
    assert (len(ours.samples), ours.cut_from_s) == (50, None)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_empty_spectrograms_do_not_fail(shape):
    assert Spectrograms.of(np.zeros(shape), np.zeros(shape)).reduced().reference.shape == shape
