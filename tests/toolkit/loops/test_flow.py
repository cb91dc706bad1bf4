"""The loop over latents: what is fed back, when it ends, and the noise."""

from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.pocket_tts.generation_pocket_tts import PocketTTSEosThresholdCriteria

from toolkit.loops.flow import StopRule, frames, gaussian_noise

WIDTH = 3
NEVER = float("inf")
# Of numpy's PCG64 and ziggurat, which keep their streams: another numpy must not give every seed another voice.
SEED_0 = np.array([[1.117622, -1.3871249, -0.4265716], [-0.80358726, 0.60142773, -0.074993245]], np.float32)


class Scripted:
    """Logits as given; a hidden state counts the steps, a latent is its noise and the hidden state added."""

    def __init__(self, logits):
        self.logits, self.given = list(logits), []

    def step(self, latent):
        self.given.append(latent)
        return np.full(2, len(self.given), np.float32), self.logits[len(self.given) - 1]

    def sample(self, hidden, noise):
        return noise + hidden[0]


def noises():
    return iter(np.arange(300, dtype=np.float32).reshape(-1, WIDTH) / 1000)


def said(logits, threshold=0.0, least=0, after=0, most=100):
    """(number of frames, why the last one is the last)."""
    made = list(frames(Scripted(logits), noises(), StopRule(threshold, least, after, most)))
    assert [frame.stop for frame in made[:-1]] == [""] * (len(made) - 1)
    return len(made), made[-1].stop


@pytest.mark.parametrize(
    ("logits", "rule", "expected"),
    [
        pytest.param([-1, -1, 1], {}, (3, "eos"), id="the frame above the threshold is the last"),
        pytest.param([-1, 0, 0.001], {}, (3, "eos"), id="the threshold itself is not above it"),
        pytest.param([-5, -3.9], {"threshold": -4.0}, (2, "eos"), id="a negative threshold"),
        pytest.param([1], {}, (1, "eos"), id="at once"),
        pytest.param([1, -1, -1], {"after": 2}, (3, "eos"), id="two more frames"),
        pytest.param([1, -1], {"after": 1}, (2, "eos"), id="one more frame"),
        pytest.param([-1, 1, 1, 1, 1], {"after": 2}, (4, "eos"), id="a second crossing does not begin anew"),
        pytest.param([-1, 1, -1, 1, 1], {"after": 2}, (4, "eos"), id="nor one that comes back"),
        pytest.param([1, 1, 1, 1], {"least": 3}, (4, "eos"), id="logits of the first frames are ignored"),
        pytest.param([1, 1, 1, -1, 1], {"least": 3}, (5, "eos"), id="and not remembered"),
        pytest.param([-1] * 4, {"most": 4}, (4, "max_frames"), id="the budget"),
        pytest.param([1] * 4, {"most": 4, "least": 4}, (4, "max_frames"), id="a budget below the least frames"),
        pytest.param([-1, -1, 1, -1], {"most": 4, "after": 2}, (4, "max_frames"), id="a budget that cuts the tail"),
        pytest.param([-1, -1, 1, -1], {"most": 4, "after": 1}, (4, "eos"), id="both at once is the end of speech"),
        pytest.param([9] * 5, {"threshold": NEVER, "most": 5}, (5, "max_frames"), id="a threshold out of reach"),
        pytest.param([-9], {"threshold": -NEVER}, (1, "eos"), id="a threshold below all"),
    ],
)
def test_when_speech_ends(logits, rule, expected):
    assert said(logits, **rule) == expected


def test_no_budget_is_no_frame():
    model = Scripted([])
    assert list(frames(model, noises(), StopRule(0, 0, 0, 0))) == []
    assert model.given == []


def test_each_latent_is_fed_back_and_each_frame_takes_the_next_noise():
    model = Scripted([-1, -1, 1])
    made = list(frames(model, noises(), StopRule(0, 0, 0, 9)))
    assert model.given[0] is None
    for earlier, fed_back in zip(made, model.given[1:], strict=False):
        np.testing.assert_array_equal(fed_back, earlier.latent)
    for number, (frame, noise) in enumerate(zip(made, noises(), strict=False), 1):
        np.testing.assert_array_equal(frame.hidden, np.full(2, number))
        np.testing.assert_array_equal(frame.latent, noise + number)
        assert frame.eos_logit == model.logits[number - 1]


def test_frames_come_as_soon_as_they_are_made():
    model = Scripted([-1] * 9)
    running = frames(model, noises(), StopRule(0, 0, 0, 9))
    for count in (1, 2, 3):
        next(running)
        assert len(model.given) == count


@given(
    logits=st.lists(st.floats(-3, 3) | st.sampled_from([-1.0, 0.0]), min_size=1, max_size=25),
    threshold=st.sampled_from([-1.0, 0.0, 2.5, -9.0]),
    least=st.integers(0, 8),
    after=st.integers(0, 5),
    most=st.integers(1, 25),
)
def test_speech_ends_where_the_criterion_of_the_class_ends_it(logits, threshold, least, after, most):
    criterion, ids, expected = PocketTTSEosThresholdCriteria(threshold, after, least), torch.zeros(1, 1), None
    most = min(most, len(logits))
    for count, logit in enumerate(logits[:most], 1):
        if criterion(ids, torch.tensor([logit], dtype=torch.float64)).item():
            expected = (count, "eos")
            break
    assert said(logits, threshold, least, after, most) == (expected or (most, "max_frames"))


def drawn(count=5, seed=7, utterance=0, temperature=1.0):
    return np.stack(list(islice(gaussian_noise(seed, utterance, WIDTH, temperature), count)))


def test_a_seed_gives_the_same_noise_again():
    np.testing.assert_array_equal(drawn(), drawn())
    assert drawn().dtype == np.float32


def test_noise_in_numbers():
    np.testing.assert_allclose(drawn(2, seed=0), SEED_0, rtol=1e-6)


def test_seeds_utterances_and_frames_differ():
    kinds = [drawn(), drawn(seed=8), drawn(utterance=1), drawn(seed=0, utterance=7), drawn(seed=1, utterance=7)]
    rows = np.concatenate(kinds)
    assert len(np.unique(rows)) == rows.size
    assert all(not np.array_equal(one, other) for one, other in pairwise(kinds))


def test_noise_is_the_same_whatever_else_is_drawn():
    """Of a longer utterance, beside another one, and between draws of numpy's own state."""
    np.testing.assert_array_equal(drawn(50)[:5], drawn())
    one, other = gaussian_noise(7, 0, WIDTH, 1.0), gaussian_noise(7, 1, WIDTH, 1.0)
    pairs = [(next(one), next(other), np.random.standard_normal()) for _ in range(5)]
    np.testing.assert_array_equal([a for a, _, _ in pairs], drawn())
    np.testing.assert_array_equal([b for _, b, _ in pairs], drawn(utterance=1))


def test_temperature_is_the_variance():
    np.testing.assert_array_equal(drawn(temperature=0.0), np.zeros((5, WIDTH), np.float32))
    np.testing.assert_allclose(drawn(temperature=0.49), drawn() * 0.7, rtol=1e-6)
    many = drawn(20_000, temperature=0.7)
    assert many.var() == pytest.approx(0.7, abs=0.01)
    assert many.mean() == pytest.approx(0, abs=0.01)
    assert abs(np.corrcoef(many.T) - np.eye(WIDTH)).max() < 0.03
