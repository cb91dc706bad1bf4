"""Detokenising and times: bytes, punctuation, word boundaries."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.decoders import DecodeStream
from tokenizers.models import BPE

from toolkit.errors import BundleError
from toolkit.loops.timestamps import tokens_from_emissions, words_from_tokens
from toolkit.loops.transducer import Emission
from toolkit.text.detokenise import Detokeniser

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


def saved(folder, pieces, decoder, **special):
    """A tokenizer of these pieces, and a function that gives the ids of pieces and of bytes."""
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special.get("tokens", ())])
    tokenizer.save(str(folder / "tokenizer.json"))

    def ids(*parts):
        return [i for part in parts for i in ([vocabulary[part]] if isinstance(part, str) else fallback(part))]

    def fallback(content):
        return [vocabulary[f"<0x{value:02X}>"] for value in content]

    return Detokeniser(folder / "tokenizer.json"), ids


BYTES = [f"<0x{value:02X}>" for value in range(256)]
BYTE_PIECES = ["<unk>", "▁", "▁he", "llo", "篇", "\ufffd", *BYTES]


@pytest.fixture(scope="module", params=["stripped", "plain"])
def byte_fallback(request, tmp_path_factory):
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if request.param == "stripped":
        steps.append(decoders.Strip(" ", 1, 0))
    return saved(tmp_path_factory.mktemp("bytes"), BYTE_PIECES, decoders.Sequence(steps), tokens=["<s>", "</s>"])


WHOLE = {
    "two_characters": (["一二".encode()], ["", "", "一", "", "", "二"]),
    "a_piece_between": (["一".encode(), "llo", "😀".encode()], ["", "", "一", "llo", "", "", "", "😀"]),
    "a_blank_as_a_byte": (["篇", b" ", "llo"], ["篇", " ", "llo"]),
    "two_bytes_and_one": (["é".encode(), b"a"], ["", "é", "a"]),
}
BROKEN = {
    "the_first_bytes_only": (["一".encode()[:2]], ["\ufffd"] * 2),
    "before_a_piece": ([b"\xe4\xb8", "llo"], ["\ufffd", "\ufffd", "llo"]),
    "no_first_byte": (["llo", b"\x80", "▁he"], ["llo", "\ufffd", " he"]),
    "a_byte_of_no_character": ([b"\xff"], ["\ufffd"]),
    "a_run_with_characters_in_it": (["一".encode() + b"\x80" + "二".encode()], ["\ufffd"] * 7),
    "a_run_that_begins_well": ([b"\xe4\xb8\xb8\xb8", "▁he", "llo"], [*["\ufffd"] * 4, " he", "llo"]),
    "a_surrogate": ([b"\xed\xa0\x80", "llo"], [*["\ufffd"] * 3, "llo"]),
    "an_overlong_form": ([b"\xc0\xaf"], ["\ufffd"] * 2),
    "the_replacement_itself": (["llo", "\ufffd", "llo", "\ufffd"], None),
}


@pytest.mark.parametrize("case", [*WHOLE, *BROKEN])
def test_bytes(byte_fallback, case):
    detokeniser, ids = byte_fallback
    parts, pieces = (WHOLE | BROKEN)[case]
    run = ids(*parts)
    assert "".join(detokeniser.pieces(run)) == detokeniser.text(run)
    if pieces:
        assert detokeniser.pieces(run) == pieces


@pytest.mark.parametrize("case", BROKEN)
def test_broken_bytes_are_the_librarys(byte_fallback, case):
    detokeniser, ids = byte_fallback
    run = ids(*BROKEN[case][0])
    assert detokeniser.text(run) == detokeniser._tokenizer.decode(run)
    assert "\ufffd" in detokeniser.text(run)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([*BYTE_PIECES[:6], "<s>"]),
            st.text("一é😀 a", max_size=2).map(str.encode),
            st.binary(max_size=3),
        ),
        max_size=12,
    )
)
def test_pieces_together_are_the_text(byte_fallback, parts):
    detokeniser, ids = byte_fallback
    special = len(BYTE_PIECES)
    run = [i for part in parts for i in ([special] if part == "<s>" else ids(part))]
    pieces = detokeniser.pieces(run)
    assert len(pieces) == len(run)
    assert "".join(pieces) == detokeniser.text(run)
    assert not any(piece for i, piece in zip(run, pieces, strict=True) if i == special)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["▁", "▁he", "llo", "篇", "一".encode(), "é😀".encode()]), max_size=12))
def test_whole_characters_are_given_as_the_library_streams_them(byte_fallback, parts):
    detokeniser, ids = byte_fallback
    run = ids(*parts)
    stream = DecodeStream(skip_special_tokens=True)
    assert detokeniser.pieces(run) == [stream.step(detokeniser._tokenizer, i) or "" for i in run]


def test_characters_across_pieces_of_a_byte_level_tokenizer(tmp_path):
    detokeniser, ids = saved(tmp_path, ["<unk>", "Ã", "©", "Ã©", "Ġa"], decoders.ByteLevel())
    run = ids("Ã", "©", "Ġa", "Ã©", "Ã")
    assert detokeniser.pieces(run) == ["", "é", " a", "é", "\ufffd"]
    assert detokeniser.text(run) == "é aé\ufffd"


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
