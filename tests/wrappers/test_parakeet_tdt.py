"""The wrappers against the reference's own modules: same weights, same inputs."""

import pytest
import torch

from tests.gates import FLOAT32_SUMS, assert_same_sums
from tests.models.parakeet_tdt.tiny import CONFIGS, tiny_model
from wrappers.conformer import subsampled_thresholds
from wrappers.parakeet_tdt import DecoderStep, Encoder, Joint, JointDecision, Prediction

MEL_FRAMES = 201


@pytest.fixture(params=CONFIGS, ids=list(CONFIGS))
def model(request):
    return tiny_model(**CONFIGS[request.param])


def reference_frames(model, mel):
    mask = torch.ones(mel.shape[:2], dtype=torch.long)
    return model.get_audio_features(mel, attention_mask=mask).pooler_output


def padded(mel, fill):
    out = torch.full((1, MEL_FRAMES, mel.shape[2]), fill)
    out[:, : mel.shape[1]] = mel
    return out


@pytest.mark.parametrize("length", [2, 7, 8, 9, 16, 17, 100, 199, 200, 201])
def test_encoder_equals_the_reference_on_valid_frames(model, length):
    mel = torch.randn(1, length, model.config.encoder_config.num_mel_bins)
    frames, count = Encoder(model, MEL_FRAMES).eval()(padded(mel, 0.0), torch.tensor([length], dtype=torch.int32))
    expected = reference_frames(model, mel)
    assert count.dtype == torch.int32
    assert count.item() == expected.shape[1]
    assert_same_sums(frames[:, : count.item()], expected)
    assert not frames[:, count.item() :].any(), "padded frames must be zero"


@pytest.mark.parametrize("length", [9, 100, 200])
def test_padding_cannot_change_the_result(model, length):
    mel = torch.randn(1, length, model.config.encoder_config.num_mel_bins)
    encoder, valid = Encoder(model, MEL_FRAMES).eval(), torch.tensor([length], dtype=torch.int32)
    quiet, _ = encoder(padded(mel, 0.0), valid)
    loud, _ = encoder(padded(mel, 1e3), valid)
    torch.testing.assert_close(quiet, loud, rtol=0, atol=0)


def test_the_length_acts(model):
    mel = torch.randn(1, MEL_FRAMES, model.config.encoder_config.num_mel_bins)
    encoder = Encoder(model, MEL_FRAMES).eval()
    (whole, full), (half, cut) = (encoder(mel, torch.tensor([n], dtype=torch.int32)) for n in (MEL_FRAMES, 100))
    assert cut < full
    assert not torch.allclose(whole[:, 0], half[:, 0])


def test_prediction_carries_its_state_like_the_reference(model):
    tokens = torch.randint(0, model.config.vocab_size - 1, (1, 6), dtype=torch.int32)
    expected = model.decoder(tokens.long())
    hidden = torch.zeros(model.config.num_decoder_layers, 1, model.config.decoder_hidden_size)
    cell, step = torch.zeros_like(hidden), Prediction(model)
    for i in range(tokens.shape[1]):
        output, hidden, cell = step(tokens[:, i : i + 1], hidden, cell)
        assert_same_sums(output, expected[:, i : i + 1])


def test_joint_cuts_tokens_and_durations_at_the_vocabulary(model):
    frame, prediction = torch.randn(2, 1, 1, model.config.decoder_hidden_size)
    tokens, durations = Joint(model)(frame, prediction)
    expected = model.joint(decoder_hidden_states=prediction, encoder_hidden_states=frame)
    assert tokens.shape[-1] == model.config.vocab_size
    assert durations.shape[-1] == len(model.config.durations)
    torch.testing.assert_close(torch.cat([tokens, durations], dim=-1), expected, rtol=0, atol=0)


def test_decision_yields_frames_and_a_probability_over_tokens_only(model):
    decision = JointDecision(model)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        frame, prediction = 3 * torch.randn(2, 1, 1, model.config.decoder_hidden_size, generator=generator)
        token, probability, duration = decision(frame, prediction)
        tokens, durations = decision.joint(frame, prediction)
        assert token.item() == tokens.argmax().item()
        assert duration.item() == durations.argmax().item()
        assert probability.item() == pytest.approx(tokens.softmax(-1).max().item(), rel=FLOAT32_SUMS["rtol"])


def test_decoder_step_is_prediction_then_decision(model):
    layers, width = model.config.num_decoder_layers, model.config.decoder_hidden_size
    token, frame = torch.tensor([[3]], dtype=torch.int32), torch.randn(1, 1, width)
    hidden, cell = torch.randn(2, layers, 1, width)
    got = DecoderStep(model)(token, hidden, cell, frame)
    prediction, hidden_out, cell_out = Prediction(model)(token, hidden, cell)
    for value, expected in zip(got, (*JointDecision(model)(frame, prediction), hidden_out, cell_out), strict=True):
        torch.testing.assert_close(value, expected)


CONVOLUTIONS = [(f, k, s) for f in (1, 2, 3, 7, 8, 9, 64, 3001) for k, s in ((3, 2), (5, 2), (2, 2), (3, 3)) if f > 1]


@pytest.mark.parametrize(("frames", "kernel", "stride"), CONVOLUTIONS)
def test_thresholds_follow_the_convolution_length_rule(frames, kernel, stride):
    padding = (kernel - 1) // 2
    thresholds = subsampled_thresholds(list(range(frames)), kernel, stride, padding)
    for length in range(kernel - 2 * padding, frames + 1, 7):
        expected = (length + 2 * padding - kernel) // stride + 1
        assert sum(t < length for t in thresholds) == expected
