"""The aligner's components against the class's own modules: same weights, same inputs."""

import pytest
import torch

from tests.gates import assert_same_sums
from tests.models.qwen3_forced_aligner.tiny import CONFIGS, tiny_model
from wrappers.qwen3_forced_aligner import AudioConv, AudioEncoder, AudioTransformer, Head, TokenEmbedding

CHUNK, CHUNK_FRAMES = 100, 13


@pytest.fixture(params=CONFIGS, ids=list(CONFIGS))
def model(request):
    return tiny_model(**CONFIGS[request.param])


def frames_of(mel_frames):
    chunks, rest = divmod(mel_frames, CHUNK)
    for _ in range(3):
        rest = (rest + 1) // 2
    return chunks * CHUNK_FRAMES + rest


def padded_mel(model, valid, chunks):
    mel = torch.randn(1, model.config.audio_config.num_mel_bins, chunks * CHUNK)
    mel[..., valid:] = 0
    return mel


def class_audio(model, mel, valid):
    """(frames, audio) [n, .] of the class for mel [1, M, T]."""
    tower, kept = model.model.audio_tower, []
    handle = tower.layers[0].register_forward_pre_hook(lambda module, values: kept.append(values[0]))
    mask = (torch.arange(mel.shape[2]) < valid).long()[None]
    hidden = tower(mel, mask).last_hidden_state
    handle.remove()
    return kept[0], model.model.multi_modal_projector(hidden)


def our_frames(model, mel):
    chunks = torch.cat(mel.split(CHUNK, dim=2))  # [1, M, chunks * C] -> [chunks, M, C]
    frames = AudioConv(model).eval()(chunks)
    return frames.reshape(-1, frames.shape[-1])


def window_frames(model):
    return model.config.audio_config.n_window_infer // CHUNK * CHUNK_FRAMES


def int32(value):
    return torch.tensor([value], dtype=torch.int32)


def packed(frames, length):
    rows = torch.zeros(1, length, frames.shape[-1])
    rows[0, : len(frames)] = frames
    return rows


LENGTHS = [1, 8, 9, 62, 99, 100, 101, 300, 555, 799, 800, 801, 900]


@pytest.mark.parametrize("valid", LENGTHS)
def test_conv_and_transformer_equal_the_class(model, valid):
    mel, n, window = padded_mel(model, valid, -(-valid // CHUNK)), frames_of(valid), window_frames(model)
    frames, audio = class_audio(model, mel, valid)
    assert_same_sums(our_frames(model, mel)[:n], frames)
    total = -(-1000 // CHUNK * CHUNK_FRAMES // window) * window
    ours = AudioTransformer(model, total, window).eval()(packed(frames, total), int32(n))
    assert_same_sums(ours[0, :n], audio)
    assert not ours[:, n:].any(), "padded frames must be zero"


@pytest.mark.parametrize("valid", [1, 62, 100])
def test_one_window_in_one_package_equals_the_class(model, valid):
    chunks = model.config.audio_config.n_window_infer // CHUNK
    mel = padded_mel(model, valid, chunks)
    _, audio = class_audio(model, mel[..., : -(-valid // CHUNK) * CHUNK], valid)
    ours = AudioEncoder(model, chunks, CHUNK_FRAMES).eval()(mel, int32(frames_of(valid)))
    assert_same_sums(ours[0, : frames_of(valid)], audio)
    assert not ours[:, frames_of(valid) :].any()


@pytest.mark.parametrize("n", [1, 25, 26, 27, 103])
def test_padded_frames_cannot_act_and_the_length_does(model, n):
    window = window_frames(model)
    transformer = AudioTransformer(model, 104, window).eval()
    rows = torch.randn(1, 104, model.config.audio_config.d_model)
    quiet = transformer(rows, int32(n))
    rows[:, n:] = 1e3
    torch.testing.assert_close(transformer(rows, int32(n)), quiet, rtol=0, atol=0)
    rows[:, n:] = torch.randn(1, 104 - n, rows.shape[2])
    if n % window:  # the frame behind lies in the last valid one's window
        assert not torch.allclose(transformer(rows, int32(n + 1))[:, n - 1], quiet[:, n - 1])


def test_full_attention_sees_across_windows_and_equals_a_class_of_wider_windows(model):
    frames = torch.randn(117, model.config.audio_config.d_model)
    windowed = AudioTransformer(model, 208, window_frames(model)).eval()(packed(frames, 208), int32(117))
    full = AudioTransformer(model, 208, 208).eval()(packed(frames, 208), int32(117))
    assert not torch.allclose(windowed[:, :117], full[:, :117], atol=1e-2)
    tower, hidden = model.model.audio_tower, frames
    for layer in tower.layers:
        hidden = layer(hidden, torch.tensor([0, 117]))[0]
    expected = model.model.multi_modal_projector(tower.ln_post(hidden))
    assert_same_sums(full[0, :117], expected)


def test_positions_start_anew_in_every_chunk(model):
    mel = torch.randn(1, model.config.audio_config.num_mel_bins, CHUNK)
    frames = our_frames(model, torch.cat([mel, mel], dim=2))
    assert_same_sums(frames[:CHUNK_FRAMES], frames[CHUNK_FRAMES:])


def test_embedding_equals_the_table(model):
    ids = torch.arange(0, 60, 7, dtype=torch.int32)[None]
    expected = model.model.language_model.embed_tokens(ids.long())
    torch.testing.assert_close(TokenEmbedding(model)(ids), expected, rtol=0, atol=0)


def test_head_is_norm_score_and_their_best(model):
    hidden = torch.randn(1, 9, model.config.text_config.hidden_size) * 3
    best, probability, logits = Head(model)(hidden)
    expected = model.score(model.model.language_model.norm(hidden))
    assert_same_sums(logits, expected)
    assert best.dtype == torch.int32
    torch.testing.assert_close(best.long(), expected.argmax(-1))
    assert_same_sums(probability, expected.softmax(-1).amax(-1))
