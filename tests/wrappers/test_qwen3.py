"""The Qwen3 blocks against the reference's own modules: same weights, same inputs; and what float16 does to a norm."""

import coremltools as ct
import numpy as np
import pytest
import torch
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

import milrun
from tests.gates import assert_same_sums
from tests.models.qwen3_forced_aligner.tiny import CONFIGS, tiny_model
from toolkit.loops.rope import rotary_tables
from toolkit.quiet import quiet
from wrappers import qwen3
from wrappers.qwen3 import CausalAttention, Decoder, RMSNorm


def reference_norm(width, weight=None):
    norm = Qwen3RMSNorm(width)
    torch.nn.init.normal_(norm.weight, mean=1.0, std=0.5)
    return norm.requires_grad_(False)


@pytest.mark.parametrize("shape", [(1, 1, 4), (1, 7, 24), (1, 5, 3, 8), (2, 3, 1024)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_norm_equals_the_reference(shape, scale):
    norm, hidden = reference_norm(shape[-1]), torch.randn(shape) * scale
    torch.testing.assert_close(RMSNorm(norm)(hidden), norm(hidden), rtol=1e-5, atol=1e-5)


def test_norm_of_zeros_is_zero():
    assert not RMSNorm(reference_norm(8))(torch.zeros(1, 2, 8)).any()


class PlainNorm(torch.nn.Module):
    """The reference's form: the square is a value of the graph."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, hidden):
        return self.weight * (hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.eps))


def fp16_package(module, shape, path):
    """A float16 package of a module of one input, loaded for running."""
    traced = torch.jit.trace(module.eval(), torch.zeros(shape))
    with quiet():
        model = ct.convert(
            traced,
            convert_to="mlprogram",
            inputs=[ct.TensorType(name="hidden", shape=shape)],
            outputs=[ct.TensorType(name="out", dtype=np.float32)],
            compute_precision=ct.precision.FLOAT16,
            minimum_deployment_target=ct.target.iOS18,
            skip_model_load=True,
        )
        model.save(str(path))
    return milrun.load(path)


def rel_l2(expected, got):
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="module")
def norm_packages(tmp_path_factory):
    """(reference, ours in float16, the plain form in float16), over 64 values."""
    folder, norm, shape = tmp_path_factory.mktemp("norms"), reference_norm(64), (1, 4, 64)
    ours = fp16_package(RMSNorm(norm), shape, folder / "ours.mlpackage")
    return norm, ours, fp16_package(PlainNorm(norm), shape, folder / "plain.mlpackage")


@pytest.mark.parametrize("size", [1.0, 300.0, 1000.0, 3000.0])
def test_norm_holds_in_a_float16_package_where_squares_overflow(norm_packages, size):
    norm, ours, plain = norm_packages
    hidden = (torch.rand(1, 4, 64) * 0.5 + 0.75) * size * torch.randn(1, 4, 64).sign()
    expected = norm(hidden).numpy()
    assert rel_l2(expected, ours.predict({"hidden": hidden.numpy()})["out"]) < 2e-3
    wrong = plain.predict({"hidden": hidden.numpy()})["out"]
    broken = not np.isfinite(wrong).all() or rel_l2(expected, wrong) > 0.5
    assert broken == (size > 255), "squares over 65504 are infinite in float16"


@pytest.fixture(params=CONFIGS, ids=list(CONFIGS))
def decoder(request):
    return tiny_model(**CONFIGS[request.param]).model.language_model


def angles(decoder, tokens):
    config = decoder.config
    tables = rotary_tables(np.arange(tokens), config.head_dim, config.rope_parameters["rope_theta"])
    return [torch.from_numpy(t)[None] for t in tables]


def before_the_norm(decoder, embeddings):
    """The reference's last layer, as its final norm is given it."""
    kept = []
    handle = decoder.norm.register_forward_pre_hook(lambda module, values: kept.append(values[0]))
    decoder(inputs_embeds=embeddings, use_cache=False)
    handle.remove()
    return kept[0]


def assert_decoder_equals(decoder, tokens):
    embeddings = torch.randn(1, tokens, decoder.config.hidden_size)
    expected = before_the_norm(decoder, embeddings)
    ours = Decoder(decoder, tokens).eval()(embeddings, *angles(decoder, tokens))
    assert_same_sums(ours, expected)


@pytest.mark.parametrize("tokens", [1, 2, 33, 64])
def test_decoder_equals_the_reference(decoder, tokens):
    assert_decoder_equals(decoder, tokens)


@pytest.mark.parametrize(("tokens", "block"), [(48, 16), (48, 24), (64, 64)])
def test_query_blocks_equal_the_reference(decoder, monkeypatch, tokens, block):
    monkeypatch.setattr(qwen3, "QUERY_BLOCK", block)
    assert_decoder_equals(decoder, tokens)


def test_query_blocks_equal_one_pass_over_2048_tokens(monkeypatch):
    """At the block's own size, one layer."""
    model = tiny_model(text={"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1})
    decoder = model.model.language_model
    embeddings, tables = torch.randn(1, 2048, decoder.config.hidden_size), angles(decoder, 2048)
    blocks = Decoder(decoder, 2048).eval()(embeddings, *tables)
    assert_same_sums(blocks, before_the_norm(decoder, embeddings))
    monkeypatch.setattr(qwen3, "QUERY_BLOCK", 2048)
    assert_same_sums(blocks, Decoder(decoder, 2048).eval()(embeddings, *tables))


def test_no_mask_is_larger_than_a_block():
    attention = CausalAttention(tiny_model().model.language_model.layers[0].self_attn, 4096)
    assert max(b.numel() for b in attention.buffers()) == 2 * 1024 * 1024  # groups x block x block


@pytest.mark.parametrize("tokens", [1025, 1536, 3000])
def test_a_length_that_blocks_do_not_fill_is_refused(tokens):
    with pytest.raises(ValueError, match="must be a multiple"):
        Decoder(tiny_model().model.language_model, tokens)


def test_rows_behind_a_position_cannot_act(decoder):
    embeddings, tables = torch.randn(1, 32, decoder.config.hidden_size), angles(decoder, 32)
    ours = Decoder(decoder, 32).eval()
    quiet = ours(embeddings, *tables)
    embeddings[:, 20:] = 1e3
    torch.testing.assert_close(ours(embeddings, *tables)[:, :20], quiet[:, :20], rtol=0, atol=0)
    assert not torch.allclose(ours(embeddings, *tables)[:, 20:], quiet[:, 20:])
