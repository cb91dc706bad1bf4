"""The oracle's own comparison: it holds for what is equal, and fails where something is wrong."""

import numpy as np
import pytest

from models.pocket_tts.kyutai.config import config_from_yaml
from models.pocket_tts.kyutai.languages import LANGUAGES
from tests.models.pocket_tts.tiny import save_tiny_checkpoint
from tests.oracles.kyutai import compare_speech, compared, counted, relative
from tests.oracles.kyutai_tensors import fits, write_tokenizer
from tests.oracles.kyutai_texts import NOTHING, UNKNOWN, WORDS, named
from tests.published_layouts.kyutai import kyutai_config, kyutai_tensors

LIMIT = 1e-4


def said(frames=4):
    random = np.random.default_rng(0)
    sizes = {"latents": (frames, 3), "logits": (frames,), "audio": (frames * 5,)}
    return {f"kal/0/0/{what}": random.standard_normal(size).astype(np.float32) for what, size in sizes.items()}


def test_what_is_equal_holds():
    assert all(row.holds for row in compare_speech("ours", said(), said(), LIMIT))


@pytest.mark.parametrize("what", ["latents", "logits", "audio"])
@pytest.mark.parametrize("wrong", [1.001, np.nan])
def test_an_array_that_differs_fails_its_row_alone(what, wrong):
    ours = said()
    ours[f"kal/0/0/{what}"] = ours[f"kal/0/0/{what}"] * np.float32(wrong)
    failed = [row.what for row in compare_speech("ours", said(), ours, LIMIT) if not row.holds]
    assert failed == [f"ours: {what}"]


@pytest.mark.parametrize("ours", [{name: array[:-1] for name, array in said().items()}, {}])
def test_other_frames_or_none_fail(ours):
    rows = compare_speech("ours", said(), ours, LIMIT)
    assert not rows[0].holds
    assert rows[0].found == "0 of 1"


def test_one_wrong_pair_of_many_shows():
    good, bad = np.ones(3), np.array([1.0, np.nan, 1.0])
    for pairs in ([(good, good), (good, bad)], [(good, bad), (good, good)]):
        assert not compared("audio", pairs, LIMIT).holds


def test_nothing_said_is_no_agreement():
    with pytest.raises(AssertionError, match="nothing was said"):
        compare_speech("ours", {}, {}, LIMIT)


def test_another_shape_is_infinitely_far():
    assert relative(np.zeros(3), np.zeros(4)) == np.inf


def test_a_difference_without_a_name_fails():
    pairs = [("a", "a"), ("a", "b")]
    assert [counted("texts", pairs, names).holds for names in ([WORDS], [""], [])] == [True, False, False]


@pytest.mark.parametrize(
    ("what", "text", "theirs", "ours", "name"),
    [
        ("text", "...", "...", None, NOTHING),
        ("text", "Word.", "Word.", None, ""),
        ("text", "Word", "Word.", "word.", ""),
        ("frames", "one two three four —", 2, 4, WORDS),
        ("frames", "one two three four five", 4, 2, ""),
        ("chunks", "é a", [" a."], ["<unk> a."], UNKNOWN),
        ("chunks", "é a", [" a."], ["<unk> b."], ""),
    ],
)
def test_differences_by_name(what, text, theirs, ours, name):
    assert named(what, text, theirs, ours) == name


def test_a_tensor_too_few_or_too_many_does_not_fit(tmp_path, monkeypatch):
    save_tiny_checkpoint(tmp_path / "ours", flow_head_config={"frequency_embedding_size": 256})
    config = config_from_yaml("small", kyutai_config(tmp_path / "ours"))
    monkeypatch.setitem(LANGUAGES, "small", config)
    write_tokenizer(file := tmp_path / "tokenizer.json", config.vocabulary)
    shapes = {name: list(tensor.shape) for name, tensor in kyutai_tensors(tmp_path / "ours").items()}
    assert fits("small", shapes, file)
    for name in ("flow_lm.emb_mean", "mimi.encoder.model.0.conv.bias", "flow_lm.transformer.layers.1.norm1.bias"):
        assert not fits("small", {key: shape for key, shape in shapes.items() if key != name}, file)
        assert not fits("small", shapes | {name: [3, 3]}, file)
    assert not fits("small", shapes | {"flow_lm.more": [1]}, file)
