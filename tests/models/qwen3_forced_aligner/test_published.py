"""Qwen's own format of the aligner: the same model, or refused by name."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.qwen3_forced_aligner import MODEL
from models.qwen3_forced_aligner.export import load_model, load_processor
from models.qwen3_forced_aligner.published import translated_config
from tests.models.qwen3_forced_aligner.tiny import CONFIGS
from tests.published_layouts.qwen import write_qwen
from toolkit.errors import CheckpointError
from toolkit.export.checkpoint import resolve_checkpoint

EXPRESSED = [name for name, sizes in CONFIGS.items() if not sizes.get("bias")]  # Qwen's head has no bias


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Nothing is written outside the test's folder."""
    monkeypatch.setenv("SPEECH_COREML_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own(small, tmp_path):
    """The small checkpoint in Qwen's own format."""
    return write_qwen(small, tmp_path / "own")


def edit(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        resolve_checkpoint(MODEL, str(folder))
    return str(caught.value)


def same_tensors(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize("name", EXPRESSED)
def test_it_is_the_same_model_with_the_same_prompt(name, checkpoints, tmp_path):
    plain = checkpoints[name]
    found = resolve_checkpoint(MODEL, str(write_qwen(plain, tmp_path / "own")))
    assert (found.format, found.kind) == ("qwen", "folder")
    ours, theirs = load_model(found.folder), load_model(plain)
    assert same_tensors(ours.state_dict(), theirs.state_dict())
    assert ours.config.num_labels == theirs.config.num_labels
    assert ours.config.timestamp_token_id == theirs.config.timestamp_token_id
    assert ours.config.text_config.rope_parameters == theirs.config.text_config.rope_parameters
    mine, other = load_processor(found.folder), load_processor(plain)
    audio = np.random.default_rng(0).normal(size=9000).astype(np.float32)
    for text in ("don't stop", "三九 mixed Text", "Übermut 12.5"):
        one, two = (p.prepare_forced_aligner_inputs(audio=audio, transcript=text)[0] for p in (mine, other))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_origin_is_recorded_and_the_translation_is_kept(own):
    found = resolve_checkpoint(MODEL, str(own))
    assert set(found.origin) >= {
        "config.json",
        "model.safetensors",
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
    }
    assert resolve_checkpoint(MODEL, str(own)).folder == found.folder
    edit(own, lambda config: config.update(timestamp_segment_time=40))
    other = resolve_checkpoint(MODEL, str(own))
    assert other.folder != found.folder
    assert load_processor(other.folder).timestamp_segment_time == 40


def test_bfloat16_stays_bfloat16(small, tmp_path):
    own = write_qwen(small, tmp_path / "own", dtype=torch.bfloat16)
    written = load_file(resolve_checkpoint(MODEL, str(own)).folder / "model.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}


def test_shards_become_one_file(small, own, tmp_path):
    sharded = write_qwen(small, tmp_path / "sharded", shards=3)
    one, three = (resolve_checkpoint(MODEL, str(folder)).folder for folder in (own, sharded))
    assert same_tensors(load_file(one / "model.safetensors"), load_file(three / "model.safetensors"))
    assert not list(three.glob("*.index.json"))


def test_without_architectures_the_type_decides(own):
    edit(own, lambda config: config.pop("architectures"))
    assert resolve_checkpoint(MODEL, str(own)).format == "qwen"


def test_keys_that_are_left_out_are_qwens_defaults(own):
    config = json.loads((own / "config.json").read_text())
    del config["thinker_config"]["audio_config"]["n_window"]
    del config["thinker_config"]["text_config"]["rope_theta"]
    found = translated_config("it", config)
    assert found["audio_config"]["n_window"] == 100
    assert found["text_config"]["rope_parameters"]["rope_theta"] == 5e6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda c: c["thinker_config"].update(model_type="qwen3_asr_thinker"),
            "own is the recogniser Qwen3-ASR (qwen3_asr_thinker), not the aligner",
        ),
        (lambda c: c["thinker_config"].pop("model_type"), "own is the recogniser Qwen3-ASR"),
        (lambda c: c.update(model_type="qwen2_5_omni"), "own is a qwen2_5_omni, not Qwen3-ForcedAligner"),
        (
            lambda c: c["thinker_config"]["text_config"].update(rope_scaling={"rope_type": "yarn", "factor": 4.0}),
            "rotary embeddings of type 'yarn'",
        ),
        (
            lambda c: c["thinker_config"]["text_config"]["rope_scaling"].update(type="linear"),
            "rotary embeddings of type 'linear'",
        ),
        (lambda c: c["thinker_config"].pop("classify_num"), "config.json has no classify_num"),
        (lambda c: c["thinker_config"].pop("audio_config"), "config.json has no thinker_config.audio_config"),
        (lambda c: c.pop("timestamp_segment_time"), "config.json has no timestamp_segment_time"),
        (lambda c: c.update(timestamp_token_id=3), "<timestamp> is not the timestamp_token_id"),
        (lambda c: c.update(quantization_config={"quant_method": "awq"}), "quantised"),
        (lambda c: c["thinker_config"]["audio_config"].update(n_window=100), "chunks of 200 mel frames"),
    ],
)
def test_what_cannot_be_carried_over_is_named_before_the_weights_are_read(change, words, own):
    (own / "model.safetensors").write_bytes(b"")
    edit(own, change)
    assert words in refusal(own)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("thinker.model.norm.weight"), "tensors is missing (thinker.model.norm.weight)"),
        (lambda t: t.pop("thinker.lm_head.weight"), "missing (thinker.lm_head.weight)"),
        (
            lambda t: t.update({"thinker.talker.weight": torch.ones(2)}),
            "not belong to this model (thinker.talker.weight)",
        ),
        (lambda t: t.update({"lora_A.weight": torch.ones(2)}), "not belong to this model (lora_A.weight)"),
        (lambda t: t.update({"thinker.model.norm.weight": torch.ones(3)}), "thinker.model.norm.weight is [3]"),
    ],
)
def test_every_tensor_is_used_and_none_is_missing(change, words, own):
    edit_tensors(own, change)
    assert words in refusal(own)
    assert not list((own.parent / "cache").rglob("translated.json"))


@pytest.mark.parametrize("file", ["vocab.json", "merges.txt", "tokenizer_config.json"])
def test_a_tokenizer_that_lacks_a_file_is_named(file, own):
    (own / file).unlink()
    assert f"own has no {file}" in refusal(own)


@pytest.mark.parametrize("file", ["vocab.json", "tokenizer_config.json", "preprocessor_config.json"])
def test_a_damaged_file_is_named(file, own):
    (own / file).write_text('{"a": ')
    assert f"own: {file} is damaged or incomplete" in refusal(own)


def test_a_fault_of_the_translation_is_told_by_the_users_name(own):
    edit_tensors(own, lambda tensors: tensors["thinker.model.norm.weight"].fill_(float("nan")))
    with pytest.raises(CheckpointError, match=r"^own: 1 tensor has NaN or infinity \(model\.language_model\.norm"):
        load_model(resolve_checkpoint(MODEL, str(own)).folder)
