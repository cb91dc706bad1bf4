"""Detokenising and times: bytes, punctuation, word boundaries."""

import pytest
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE

from toolkit.decoding.detokenise import Detokeniser
from toolkit.decoding.timestamps import tokens_from_emissions, words_from_tokens
from toolkit.decoding.transducer import Emission
from toolkit.errors import BundleError

PIECES = ["<unk>", "▁he", "llo", "▁world", ".", "▁", "'", "s", "<0xE7>", "<0xAF>", "<0x87>", "<blank>", "▁-"]
ID = {piece: i for i, piece in enumerate(PIECES)}


@pytest.fixture
def detokeniser(tmp_path):
    tokenizer = Tokenizer(BPE(vocab=ID, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return Detokeniser(tmp_path / "tokenizer.json", [ID["<blank>"]])


def ids(*pieces):
    return [ID[piece] for piece in pieces]


def spoken(*timed):
    """(piece, frame, duration) -> emissions."""
    return [Emission(ID[piece], frame, duration, 0.1 * (i + 1)) for i, (piece, frame, duration) in enumerate(timed)]


def transcribed(detokeniser, emissions, frame_s=0.08):
    tokens = tokens_from_emissions(emissions, detokeniser.pieces([e.token_id for e in emissions]), frame_s)
    return tokens, words_from_tokens(tokens, detokeniser)


def test_whole_sequences_join_bytes_before_decoding(detokeniser):
    run = ids("▁he", "llo", "<0xE7>", "<0xAF>", "<0x87>", "▁world", ".")
    assert detokeniser.text(run) == "hello篇 world."
    assert detokeniser.pieces(run) == ["he", "llo", "", "", "篇", " world", "."]


def test_special_tokens_are_no_text(detokeniser):
    run = ids("<blank>", "▁he", "<blank>", "llo")
    assert detokeniser.text(run) == "hello"
    assert detokeniser.pieces(run) == ["", "he", "", "llo"]
    assert not detokeniser.is_text(ID["<blank>"])


def test_nothing_is_nothing(detokeniser):
    assert detokeniser.text([]) == ""
    assert transcribed(detokeniser, []) == ((), ())


def test_a_token_spans_its_frames_and_punctuation_none(detokeniser):
    tokens, words = transcribed(
        detokeniser, spoken(("▁he", 2, 1), ("llo", 3, 2), (".", 9, 3), ("▁world", 12, 0), (".", 13, 1))
    )
    spans = [(round(t.start_s / 0.08), round(t.end_s / 0.08)) for t in tokens]
    assert spans == [(2, 3), (3, 5), (5, 5), (12, 12), (12, 12)]
    assert [w.text for w in words] == ["hello.", "world."]
    assert (words[0].start_s, words[0].end_s) == (pytest.approx(0.16), pytest.approx(0.40))


def test_punctuation_first_keeps_its_own_time(detokeniser):
    tokens, _ = transcribed(detokeniser, spoken((".", 4, 2)))
    assert (tokens[0].start_s, tokens[0].end_s) == (pytest.approx(0.32), pytest.approx(0.48))


def test_punctuation_with_a_space_before_it_is_a_word(detokeniser):
    tokens, words = transcribed(detokeniser, spoken(("▁he", 0, 1), ("▁-", 5, 1)))
    assert tokens[1].start_s == pytest.approx(0.40)
    assert [w.text for w in words] == ["he", "-"]


def test_a_words_confidence_is_the_mean_of_its_tokens(detokeniser):
    _, words = transcribed(
        detokeniser, spoken(("▁he", 0, 1), ("llo", 1, 1), ("'", 2, 1), ("s", 3, 1), ("▁world", 4, 1))
    )
    assert [(w.text, pytest.approx(w.confidence)) for w in words] == [("hello's", 0.25), ("world", 0.5)]


def test_a_lone_boundary_is_no_word(detokeniser):
    _, words = transcribed(detokeniser, spoken(("▁", 0, 1), ("▁he", 1, 1), ("▁", 2, 1), ("s", 3, 1)))
    assert [(w.text, w.start_s) for w in words] == [("he", pytest.approx(0.08)), ("s", pytest.approx(0.16))]


def test_bytes_of_one_character_are_one_word(detokeniser):
    _, words = transcribed(detokeniser, spoken(("<0xE7>", 0, 1), ("<0xAF>", 1, 1), ("<0x87>", 2, 1)))
    assert [(w.text, w.start_s, w.end_s) for w in words] == [("篇", 0.0, pytest.approx(0.24))]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"model": 1}'])
def test_a_damaged_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        Detokeniser(tmp_path / "tokenizer.json")


def test_a_missing_tokenizer_is_refused(tmp_path):
    with pytest.raises(BundleError, match="cannot be read"):
        Detokeniser(tmp_path / "tokenizer.json")


def test_a_bare_word_boundary_does_not_start_the_first_word(detokeniser):
    """The reference drops an utterance-initial token without text, and its time with it."""
    _, words = transcribed(detokeniser, spoken(("▁", 1, 2), ("llo", 3, 2)))
    assert [(w.text, w.start_s) for w in words] == [("llo", pytest.approx(0.24))]
