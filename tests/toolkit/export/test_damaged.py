"""Damaged checkpoints of every model: one line that names the file or the tensor, and never an internal fault."""

import pytest

import convert
from commands.conversion import ConvertRequest, prepare
from models import find_model
from tests import damaged_checkpoints as damaged
from tests.command_runner import command_runner
from tests.models.cohere_transcribe import tiny as cohere
from tests.models.qwen3_forced_aligner import tiny as qwen
from toolkit.errors import CheckpointError

MODELS = tuple(damaged.OF_SIZES)
CODEC = "audio_tokenizer"
# The codec's class ignores tensors below its own modules: what is missing in their place is named.
OF_CODEC = {"an adapter not merged": ("missing", "{tensor}"), "weights not there": ("contains no codec", CODEC)}
# Phrases of transformers that advise what does not help here.
FOREIGN = ("huggingface.co", "If you were trying", "instantiate the backend", "Traceback", "Expecting value", "Error:")


def of_a_model(model):
    return (*damaged.OF_CONFIG, *damaged.OF_PARTS, *damaged.OF_SIZES[model], *damaged.OF_WEIGHTS)


CASES = [pytest.param(model, damage, id=f"{model}: {damage.name}") for model in MODELS for damage in of_a_model(model)]


def refusal(model, folder):
    with pytest.raises(CheckpointError) as caught:
        prepare(ConvertRequest(find_model(model), str(folder)))
    return str(caught.value)


def assert_names(message, words, folder, tensor):
    for word in words:
        assert word.format(tensor=tensor) in message, message
    assert "\n" not in message
    assert not [phrase for phrase in FOREIGN if phrase in message], message
    assert len(message.replace(str(folder.parent), "")) < 520, message


@pytest.mark.parametrize(("model", "damage"), CASES)
def test_a_damaged_checkpoint_is_refused_in_one_line(model, damage, tmp_path):
    folder = damaged.linked_demo(model, tmp_path)
    tensor = damaged.a_tensor(folder)
    damage.apply(folder)
    message = refusal(model, folder)
    assert model in message
    assert_names(message, damage.words, folder, tensor)


@pytest.mark.parametrize("damage", [*damaged.OF_CONFIG, *damaged.OF_WEIGHTS], ids=lambda damage: damage.name)
def test_a_damaged_codec_is_refused_in_one_line(damage, tmp_path):
    folder = damaged.linked_demo("pocket-tts", tmp_path)
    tensor = damaged.a_tensor(folder / CODEC)
    damage.apply(folder / CODEC)
    message = refusal("pocket-tts", folder)
    assert CODEC in message
    assert_names(message, OF_CODEC.get(damage.name, damage.words), folder, tensor)


def test_sound_copies_of_all_models_convert(tmp_path):
    for model in MODELS:
        prepare(ConvertRequest(find_model(model), str(damaged.linked_demo(model, tmp_path))))


def test_key_heads_that_do_not_divide_are_refused_with_weights_that_fit(tmp_path):
    cohere.save_tiny_checkpoint(tmp_path / "cohere", num_attention_heads=4, num_key_value_heads=3, head_dim=6)
    qwen.save_tiny_checkpoint(tmp_path / "qwen", text={"num_attention_heads": 4, "num_key_value_heads": 3})
    for model, name in (("cohere-transcribe", "cohere"), ("qwen3-forced-aligner", "qwen")):
        assert "4 query heads, which 3 key-value heads do not divide" in refusal(model, tmp_path / name)


@pytest.mark.parametrize("name", ["nvidia/para keet", "nvidia/parakeet ", "my folder"])
def test_a_name_with_a_blank_is_refused_without_a_connection(name):
    message = refusal("parakeet-tdt", name)
    assert name.strip() in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("parakeet-tdt", "a tensor renamed"),
        ("cohere-transcribe", "weights cut short"),
        ("qwen3-forced-aligner", "a shard not there"),
        ("pocket-tts", "weights are a pointer of Git LFS"),
        ("pocket-tts", "tokenizer not there"),
    ],
)
def test_the_command_ends_with_one_line_and_leaves_nothing(model, name, tmp_path, monkeypatch, capsys):
    folder = damaged.linked_demo(model, tmp_path)
    next(damage for damage in of_a_model(model) if damage.name == name).apply(folder)
    output = tmp_path / "bundle"
    run = command_runner(convert, monkeypatch, capsys)
    code, _, err = run(model, "--checkpoint", folder, "--output", output)
    assert (code, err.count("\n")) == (2, 1), err
    assert not output.exists()
    assert sorted(item.name for item in tmp_path.iterdir()) == [model]
