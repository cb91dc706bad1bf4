"""Cohere's original configuration: the same model as in transformers' own form, or refused by name."""

import json

import pytest
import torch
from transformers import CohereAsrConfig, CohereAsrFeatureExtractor

from models.cohere_transcribe import MODEL
from models.cohere_transcribe.export import load_model, load_processor
from models.cohere_transcribe.published import extractor_arguments, translated_config
from tests.models.cohere_transcribe.tiny import save_tiny_checkpoint
from tests.published_layouts.cohere import original_config, write_cohere
from toolkit.errors import CheckpointError
from toolkit.export.checkpoint import resolve_checkpoint

# What the original can express; it has no grouped queries, and no head dims of its own.
SIZES = {
    "small": {},
    "deep_128_mels": {
        "num_hidden_layers": 3,
        "encoder_config": {"hidden_size": 48, "num_attention_heads": 3, "num_mel_bins": 128, "conv_kernel_size": 5},
    },
    "short": {"max_position_embeddings": 64, "encoder_config": {"max_position_embeddings": 900}},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Nothing is written outside the test's folder."""
    monkeypatch.setenv("SPEECH_COREML_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def published(tmp_path):
    """Sizes -> (folder in transformers' form, the same model in the original form)."""

    def write(**sizes):
        save_tiny_checkpoint(tmp_path / "plain", **sizes)
        return tmp_path / "plain", write_cohere(tmp_path / "plain", tmp_path / "original")

    return write


def changed(folder, section, **values):
    """Put other values into a section of config.json, by its path."""
    config = json.loads((folder / "config.json").read_text())
    inner = config
    for key in section.split("."):
        inner = inner[key]
    inner.update(values)
    (folder / "config.json").write_text(json.dumps(config))


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        resolve_checkpoint(MODEL, str(folder))
    return str(caught.value)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_it_is_the_same_model_and_the_weights_are_linked(sizes, published):
    plain, original = published(**sizes)
    found = resolve_checkpoint(MODEL, str(original))
    assert (found.format, found.kind) == ("cohere", "folder")
    assert (found.folder / "model.safetensors").resolve() == (original / "model.safetensors").resolve()
    ours, theirs = load_model(found.folder), load_model(plain)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in ours.state_dict().items())
    for key in ("num_attention_heads", "max_position_embeddings", "hidden_act", "eos_token_id", "pad_token_id"):
        assert getattr(ours.config, key) == getattr(theirs.config, key)
    for key in ("num_attention_heads", "max_position_embeddings", "scale_input", "conv_kernel_size"):
        assert getattr(ours.config.encoder_config, key) == getattr(theirs.config.encoder_config, key)
    mine, other = load_processor(found.folder), load_processor(plain)
    assert mine.feature_extractor.to_dict() == other.feature_extractor.to_dict()
    assert mine.get_decoder_prompt_ids("de") == other.get_decoder_prompt_ids("de")


def published_config():
    default = CohereAsrConfig(decoder_start_token_id=13764).to_dict()
    return original_config(default, CohereAsrFeatureExtractor().to_dict())


def test_the_published_configuration_gives_the_defaults_of_the_class():
    config = CohereAsrConfig(**translated_config("it", published_config())).to_dict()
    default = CohereAsrConfig(decoder_start_token_id=13764).to_dict()
    assert {key for key in config if config[key] != default.get(key)} == {"architectures"}
    extractor = CohereAsrFeatureExtractor(**extractor_arguments("it", published_config())).to_dict()
    assert extractor == CohereAsrFeatureExtractor().to_dict()


def test_an_unknown_key_is_taken_in_the_published_configuration_only():
    original = published_config()
    original["encoder"]["new_switch"] = 1
    translated_config("it", original)
    original["encoder"]["n_layers"] = 24
    with pytest.raises(CheckpointError, match=r"the meaning of encoder\.new_switch .* is not known"):
        translated_config("it", original)


@pytest.mark.parametrize("file", ["processor_config.json", "preprocessor_config.json", "generation_config.json"])
def test_small_files_that_the_published_repository_leaves_empty_may_be_missing(file, published):
    plain, original = published()
    (original / file).unlink()
    found = load_processor(resolve_checkpoint(MODEL, str(original)).folder)
    assert found.feature_extractor.to_dict() == load_processor(plain).feature_extractor.to_dict()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("encoder", "self_attention_model", "rel_pos_local_attn"),
        ("encoder", "att_context_size", [128, 128]),
        ("encoder", "att_context_style", "chunked_limited"),
        ("encoder", "conv_norm_type", "layer_norm"),
        ("encoder", "causal_downsampling", True),
        ("encoder", "subsampling", "striding"),
        ("encoder", "untie_biases", False),
        ("encoder", "feat_out", 512),
        ("encoder", "reduction", "pooling"),
        ("transf_decoder", "pre_ln_final_layer_norm", False),
        ("transf_decoder.config_dict", "pre_ln", False),
        ("transf_decoder.config_dict", "learn_positional_encodings", True),
        ("head", "num_layers", 2),
        ("preprocessor", "normalize", "all_features"),
    ],
)
def test_a_switch_that_the_class_lacks_is_named(section, key, value, published):
    _, original = published()
    changed(original, section, **{key: value})
    message = refusal(original)
    assert f"original: {section}.{key} is {value!r}" in message
    assert "cannot express" in message


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_a_damaged_file_is_named(file, published):
    _, original = published()
    (original / file).write_text('{"a": ')
    assert f"original: {file} is damaged or incomplete" in refusal(original)


def test_a_fine_tune_that_transformers_saved_is_in_its_own_form(published):
    plain, original = published()
    kept = json.loads((original / "config.json").read_text())
    config = json.loads((plain / "config.json").read_text())
    (plain / "config.json").write_text(json.dumps({**kept, **config}))
    assert resolve_checkpoint(MODEL, str(plain)).format == "transformers"


def test_an_unknown_key_of_other_sizes_is_named(published):
    _, original = published()
    changed(original, "transf_decoder.config_dict", gated=True)
    assert "the meaning of transf_decoder.config_dict.gated in config.json is not known" in refusal(original)


def test_mel_bins_that_disagree_are_named(published):
    _, original = published()
    changed(original, "preprocessor", features=64)
    assert "preprocessor.features is 64, encoder.feat_in is 80" in refusal(original)


def test_sizes_that_are_not_those_of_the_weights_are_named(published):
    _, original = published()
    changed(original, "encoder", n_layers=3)
    with pytest.raises(CheckpointError, match=r"original: \d+ of \d+ tensors are missing"):
        load_model(resolve_checkpoint(MODEL, str(original)).folder)


def test_no_code_of_the_repository_is_needed(published):
    _, original = published()
    assert "auto_map" in (original / "tokenizer_config.json").read_text()
    folder = resolve_checkpoint(MODEL, str(original)).folder
    assert not [file for file in folder.glob("*.json") if "auto_map" in file.read_text()]
