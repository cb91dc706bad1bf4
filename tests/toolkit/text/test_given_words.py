"""The words as the user wrote them: each character of the text in one word, and the model's words unchanged."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toolkit.text.forced_words import is_kept, split_words
from toolkit.text.given_words import spelt_as_given, words_as_given
from toolkit.transcript import Word

NFD = unicodedata.normalize("NFD", "é")
HINDI, THAI = "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e44\u0e17\u0e22\u0e14\u0e35"
ARABIC, FAMILY = "\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627\u060c", "\U0001f469\u200d\U0001f467"
QUOTED = "\u201c\u4f60\u201d\u3002"  # a quoted ideograph and a full stop
ALPHABET = st.one_of(
    st.sampled_from(
        [*" \n\t\u3000ab1'-.,$<>@\"\u201c\u201d\u2019\u2014\u00ab\u00bf\u200d\u202b\ufe0f\u4e2d\u6587\u3002\u300c"]
    ),
    st.sampled_from([NFD, HINDI, THAI, ARABIC, FAMILY, "\u304c", "\u304b\u3099", "\uff76\uff9e", "\uac00", "\u00bd"]),
    st.characters(),
)


def parts(text, language=None):
    return words_as_given(text, split_words(text, language))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Go-forward, \u201cten\u201d meters: 3.5% off", ["Go-forward,", "\u201cten\u201d", "meters:", "3.5%", "off"]),
        ("off \u2014 don\u2019t! a.b@c.de", ["off \u2014", "don\u2019t!", "a.b@c.de"]),
        ("$100 <b>go</b> <i> x", ["$100", "<b>go</b>", "<i>", "x"]),
        (f"caf{NFD} r{NFD}sum{NFD}", [f"caf{NFD}", f"r{NFD}sum{NFD}"]),
        (f"{HINDI} {THAI} {ARABIC}", [HINDI, THAI, ARABIC]),
        (f"go {FAMILY} on {FAMILY}", [f"go {FAMILY}", f"on {FAMILY}"]),
        ("\u2014 go", ["\u2014 go"]),
        ("\u00ab go \u00bb, he", ["\u00ab go \u00bb,", "he"]),
        ("he: \u00ab go \u00bb", ["he:", "\u00ab go \u00bb"]),
        ("\u201ego\u201c on", ["\u201ego\u201c", "on"]),
        ("go\n\n-\n on", ["go -", "on"]),
        ("\u4f60\u597d\uff0c\u4e16\u754c\u3002", ["\u4f60", "\u597d\uff0c", "\u4e16", "\u754c\u3002"]),
        (f"\u8bf4\uff1a{QUOTED}\uff08\u597d\uff09", ["\u8bf4\uff1a", QUOTED, "\uff08\u597d\uff09"]),
        ("\u4ef7$100\u5143", ["\u4ef7", "$100", "\u5143"]),
        ("", []),
    ],
)
def test_the_parts_of_a_text(text, expected):
    assert (parts(text) if expected else []) == expected


def assert_complete(text, words):
    given_words = words_as_given(text, words)
    assert len(given_words) == len(words)
    assert "".join("".join(given_words).split()) == "".join(text.split())
    assert not any(set(word) & set("\n\r\t\u2028\u2029") for word in given_words)
    return given_words


@given(st.lists(ALPHABET, max_size=40).map("".join))
@example(f"{FAMILY} a")
def test_all_characters_of_any_text_are_in_its_words(text):
    if words := split_words(text):
        for part, word in zip(assert_complete(text, words), words, strict=True):
            assert "".join(filter(is_kept, part)) == word


@pytest.mark.parametrize("language", ["Japanese", "Korean"])
@settings(deadline=None)  # the analyser loads its model
@given(text=st.lists(ALPHABET, max_size=40).map("".join))
def test_all_characters_are_in_the_words_of_an_analyser(language, text):
    pytest.importorskip({"Japanese": "nagisa", "Korean": "soynlp"}[language])
    if words := split_words(text, language):
        assert_complete(text, words)


# What nagisa 0.3 and soynlp 0.0.493 return, since they are not installed everywhere.
ANALYSED = {
    "japanese": (
        "\u4eca\u65e5\u306f\u3001\u300c\u3044\u3044\u300d\u304b\u3099\u3002\uff28\uff49 \uff11",
        ["\u4eca\u65e5", "\u306f", "\u3044\u3044", "\u304c", "Hi", "1"],
        ["\u4eca\u65e5", "\u306f\u3001", "\u300c\u3044\u3044\u300d", "\u304b\u3099\u3002", "\uff28\uff49", "\uff11"],
    ),
    "one character, several words": ("\u00bd\u500b\u3002", ["1", "2", "\u500b"], ["\u00bd", "", "\u500b\u3002"]),
    "korean": (
        "\u201c\uc624\ub298\uc740\u201d \ub0a0\uc528\uac00,",
        ["\uc624\ub298", "\uc740", "\ub0a0\uc528\uac00"],
        ["\u201c\uc624\ub298", "\uc740\u201d", "\ub0a0\uc528\uac00,"],
    ),
    "a letter that the analyser lost": ("\u0130x y", ["Ix", "y"], None),
    "more letters than were there": ("a b", ["axxx", "b"], None),
}


@pytest.mark.parametrize("case", ANALYSED)
def test_morphemes_are_found_in_the_text(case):
    text, words, expected = ANALYSED[case]
    given_words = assert_complete(text, words)
    assert expected in (None, given_words)


def test_a_word_without_a_text_of_its_own_lengthens_the_word_before():
    words = [Word("1", 0.0, 0.2, 0.9), Word("2", 0.2, 0.5, 0.4), Word("x", 0.5, 0.6, 1.0)]
    assert spelt_as_given(words, ["\u00bd", "", "x."]) == (Word("\u00bd", 0.0, 0.5, 0.4), Word("x.", 0.5, 0.6, 1.0))
