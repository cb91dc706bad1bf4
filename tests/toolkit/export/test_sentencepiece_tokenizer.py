"""The tokenizer made of a SentencePiece model, against the sentencepiece library itself."""

import functools
from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from transformers import ParakeetTokenizer

from tests.published_layouts.nemo import trained_pieces
from toolkit.errors import CheckpointError
from toolkit.export.sentencepiece_tokenizer import parse_model, tokenizer_of, unknown_piece

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {
    "default": {},
    "digits and marks defined": {"user_defined_symbols": ["<|en|>", *"0123456789"]},
    "control": {"control_symbols": ["<|nospeech|>", "<pad>"], "bos_id": 1, "eos_id": 2},
    "blanks kept": {"remove_extra_whitespaces": False},
    "no blank in front": {"add_dummy_prefix": False},
    "no normalisation": {"normalization_rule_name": "identity"},
    "folded, digits split": {"normalization_rule_name": "nmt_nfkc_cf", "split_digits": True},
    "over blanks": {"split_by_whitespace": False},
}
TEXTS = (
    "",
    " ",
    "  two  blanks ",
    "ten of clubs",
    "naïve café Ünïcode 12.5 ½ ﬁ",
    "tab\there\nline",
    "日本語 unknown",
    "🙂🙂 smile",
    "0 12 345",
    "a",
)


def corpus():
    files = ("README.md", "docs/numerics.md", "docs/debugging-accuracy.md", "demo/README.md")
    return [line for f in files for line in (ROOT / f).read_text(encoding="utf-8").splitlines() if line.strip()]


@functools.cache
def trained(kind, byte_fallback, setting):
    options = {"model_type": kind, "byte_fallback": byte_fallback, "character_coverage": 0.98}
    content = trained_pieces(corpus(), 600 if byte_fallback else 400, **(options | SETTINGS[setting]))
    return SentencePieceProcessor(model_proto=content), tokenizer_of(parse_model("tokenizer.model", content))


every_model = pytest.mark.parametrize(
    ("kind", "byte_fallback", "setting"),
    [(k, b, s) for k in ("bpe", "unigram") for b in (False, True) for s in SETTINGS],
)


def random_texts(count=200):
    rng = np.random.default_rng(0)
    letters = list("abc de 1é🙂 .,")
    return ["".join(rng.choice(letters, rng.integers(1, 20))) for _ in range(count)]


def are_one_score(reference, one, other):
    """Two splits that unigram scores alike; which one wins is a matter of rounding."""
    scores = [sum(reference.get_score(i) for i in ids) for ids in (one, other)]
    return bool(np.isclose(*scores, rtol=1e-6))


@every_model
def test_ids_are_those_of_sentencepiece(kind, byte_fallback, setting):
    reference, ours = trained(kind, byte_fallback, setting)
    texts = (*TEXTS, *random_texts(), *corpus()[:150])
    pairs = [(text, reference.encode(text), ours.encode(text).ids) for text in texts if "<" not in text]
    assert len(pairs) > 300
    other = [text for text, a, b in pairs if a != b and not (kind == "unigram" and are_one_score(reference, a, b))]
    assert not other


@every_model
def test_text_is_that_of_sentencepiece(kind, byte_fallback, setting):
    reference, ours = trained(kind, byte_fallback, setting)
    rng = np.random.default_rng(1)
    spoken = [i for i in range(reference.get_piece_size()) if not reference.is_byte(i) and not reference.is_unknown(i)]
    sequences = [rng.choice(spoken, rng.integers(1, 12)).tolist() for _ in range(300)]
    boundary = reference.piece_to_id("▁")
    sequences += [[boundary] * 3 + spoken[-3:], [boundary, spoken[-1], boundary, boundary, spoken[-2]], []]
    sequences += [ids for text in TEXTS if reference.unk_id() not in (ids := reference.encode(text))]
    assert [reference.decode(ids) for ids in sequences] == [ours.decode(ids) for ids in sequences]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_bytes_of_one_character_are_joined(kind):
    reference, ours = trained(kind, True, "default")
    ids = reference.encode("日本語")
    assert sum(reference.is_byte(i) for i in ids) == 9
    assert ours.encode("日本語").ids == ids
    assert ours.decode(ids) == "日本語"


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_transformers_keeps_ids_and_text(tmp_path, kind):
    reference, ours = trained(kind, True, "digits and marks defined")
    ParakeetTokenizer(tokenizer_object=ours, unk_token="<unk>", pad_token="<unk>").save_pretrained(tmp_path)
    loaded = ParakeetTokenizer.from_pretrained(tmp_path)
    for text in TEXTS[3:]:
        ids = reference.encode(text)
        assert loaded.encode(text) == ids
        assert loaded.decode(ids, group_tokens=False) == reference.decode(ids)


def test_which_pieces_are_special():
    _, ours = trained("bpe", False, "control")
    special = {token.content for token in ours.get_added_tokens_decoder().values() if token.special}
    assert special == {"<unk>", "<s>", "</s>", "<|nospeech|>", "<pad>"}
    _, ours = trained("bpe", False, "digits and marks defined")
    assert [t.content for t in ours.get_added_tokens_decoder().values() if not t.special] == ["<|en|>"]


def test_a_defined_symbol_is_one_token_and_text():
    reference, ours = trained("bpe", False, "digits and marks defined")
    symbol = reference.piece_to_id("<|en|>")
    assert symbol in ours.encode("go <|en|> forward").ids
    assert ours.decode([symbol]) == reference.decode([symbol]) == "<|en|>"


def test_the_order_of_merges_is_that_of_the_scores_not_of_the_ids():
    model = proto()
    normal = [k for k, piece in enumerate(model.pieces) if piece.type == 1]
    for k, piece in zip(
        normal, [(model.pieces[k].piece, model.pieces[k].score) for k in reversed(normal)], strict=True
    ):
        model.pieces[k].piece, model.pieces[k].score = piece
    content = model.SerializeToString()
    reference, ours = SentencePieceProcessor(model_proto=content), tokenizer_of(parse_model("tokenizer.model", content))
    texts = [text for text in (*TEXTS, *corpus()[:100]) if "<" not in text]
    assert [ours.encode(text).ids for text in texts] == [reference.encode(text) for text in texts]


def proto(**changes):
    found = sentencepiece_model_pb2.ModelProto.FromString(trained_pieces(corpus(), 300))
    for path, value in changes.items():
        *parts, name = path.split("__")
        target = found
        for part in parts:
            target = getattr(target, part)
        setattr(target, name, value)
    return found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trainer_spec__model_type": 3}, "neither BPE nor unigram"),
        ({"normalizer_spec__escape_whitespaces": False}, "start of a word"),
        ({"trainer_spec__treat_whitespace_as_suffix": True}, "start of a word"),
        ({"denormalizer_spec__precompiled_charsmap": b"1"}, "after decoding"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(changes, reason):
    with pytest.raises(CheckpointError, match=reason):
        parse_model("tokenizer.model", proto(**changes).SerializeToString())


def test_unfit_pieces_are_refused():
    twice, unused, no_unknown = proto(), proto(), proto()
    twice.pieces[5].piece = twice.pieces[6].piece
    unused.pieces[5].type = 5
    no_unknown.pieces[0].type = 1
    for model, reason in ((twice, "twice"), (unused, "unused"), (no_unknown, "unknown piece")):
        with pytest.raises(CheckpointError, match=reason):
            parse_model("tokenizer.model", model.SerializeToString())


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"version https://git-lfs"])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        parse_model("tokenizer.model", content)


def test_the_unknown_piece_is_found_by_its_kind():
    model = proto()
    assert unknown_piece(model) == "<unk>"
