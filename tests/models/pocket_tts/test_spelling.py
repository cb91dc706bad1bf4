"""Texts in the characters that a tokenizer knows: twins first, and a note on what is left out."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pocket_tts.spelling import spelling
from tests.models.pocket_tts.test_text import prompter_of
from tests.models.pocket_tts.tiny import tiny_processor

ASCII = set(string.ascii_letters + string.digits + " .,'\"-")


def knows(character):
    return character in ASCII


@pytest.mark.parametrize(
    ("text", "spelt", "left_out"),
    [
        (
            "We\u2019re \u201chere\u201d \u201enow\u201d \u2014 \u2018so\u2019\u2026",
            'We\'re "here" "now" - \'so\'...',
            (),
        ),
        ("a\u00a0b\u202fc\u00add\u200be\ufefff", "a b cdef", ()),
        ("\ufb01ve \uff2f\uff2b\uff11", "five OK1", ()),
        ("cafe\u0301 caf\u00e9", "caf caf", (("\u00e9", 2),)),
        ("nine \u6d4b\u8bd5 3%", "nine  3", (("\u6d4b", 1), ("\u8bd5", 1), ("%", 1))),
        ("go \U0001f600\ufe0f", "go ", (("\U0001f600", 1),)),
        ("a\nb", "a b", ()),
    ],
)
def test_spellings(text, spelt, left_out):
    result = spelling(text, knows)
    assert (result.text, result.left_out) == (spelt, left_out)


def test_a_decomposed_letter_becomes_the_one_that_is_known():
    assert spelling("cafe\u0301", lambda c: c in ASCII | {"\u00e9"}).text == "caf\u00e9"
    assert spelling("cafe\u0301", lambda c: c in ASCII | {"\u0301"}).text == "cafe\u0301"


@given(st.text())
def test_what_is_known_stays_as_it_is(text):
    assert spelling(text, lambda character: True).text == text
    assert set(spelling(text, knows).text) <= ASCII


def test_the_note_counts_and_ends():
    assert spelling("abc", knows).note == ""
    note = spelling("%%$" + "".join(map(chr, range(0x4E00, 0x4E10))), knows).note
    assert "% U+0025 (2 times), $ U+0024, " in note
    assert note.endswith(" and 8 more")
    assert "\n" not in note


def test_a_tokenizer_with_bytes_knows_every_character(tmp_path):
    assert prompter_of(tiny_processor(), tmp_path).knows("\u6d4b")
    without = prompter_of(tiny_processor(byte_fallback=False), tmp_path)
    assert not without.knows("\u6d4b")
    assert without.knows("a")
