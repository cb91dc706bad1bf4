"""Words, languages and ordered times, against `Qwen3ASRProcessor` and its `_fix_timestamps`."""

import sys
import types
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.qwen3_asr import processing_qwen3_asr as stock

from toolkit.errors import ToolkitError
from toolkit.text.forced_words import language_from_name, monotonic, split_words

LANGUAGES = {code: n for code, n in stock.LANGUAGE_CODE_TO_NAME.items() if n in stock.FORCED_ALIGNER_LANGUAGES}
# What the common rule treats in different ways, beside any character.
SIGNS = list(" \t\n\u3000\u00a0\x1fab'\u2019-.,1½é\u0301中文々\u3007𠀀𫝀豈あアㄱ가")
CHARACTERS = st.one_of(st.sampled_from(SIGNS), st.characters())


def stock_words(text, language=None):
    return stock.Qwen3ASRProcessor.split_words_for_alignment(None, text, language)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n ", []),
        ("...", []),
        ("Hello, world!", ["Hello", "world"]),
        ("it's a well-known 3.5 % trick", ["it's", "a", "wellknown", "35", "trick"]),
        ("Grüße aus Köln", ["Grüße", "aus", "Köln"]),
        ("你好 world、再见。", ["你", "好", "world", "再", "见"]),
        ("abc中def", ["abc", "中", "def"]),
        ("-- a -- b", ["a", "b"]),
        ("caf" + unicodedata.normalize("NFD", "é"), ["cafe"]),
        ("a\u3000b\u00a0c", ["a", "b", "c"]),
    ],
)
def test_words(text, words):
    assert split_words(text) == words == stock_words(text)


@given(st.text(CHARACTERS, max_size=40), st.sampled_from([None, "", "English", "CHINESE", "cantonese", "ja", "ko"]))
def test_words_are_the_stock_ones(text, language):
    assert split_words(text, language) == stock_words(text, language)


def test_every_character_is_kept_or_dropped_as_upstream_has_it():
    for start in range(0, 0x30000, 4096):
        text = "".join(f"a{chr(i)}b " for i in range(start, start + 4096))
        assert split_words(text) == stock_words(text)


ANALYSED = {
    "Japanese": ("nagisa", "今日は、いい天気ですね。Hello 123"),
    "Korean": ("soynlp", "오늘은 날씨가, 좋습니다. Hello 3"),
}


@pytest.mark.parametrize("language", ANALYSED)
@pytest.mark.parametrize("spelt", [str, str.upper, str.lower])
def test_an_analyser_that_is_not_installed(monkeypatch, language, spelt):
    package, text = ANALYSED[language]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"{package}.tokenizer", raising=False)
    with pytest.raises(ToolkitError, match=rf"{package}, which .* `uv sync --inexact --extra {language.lower()}`"):
        split_words(text, spelt(language))


@pytest.mark.parametrize("language", ANALYSED)
def test_the_analyser_when_it_is_installed(language):
    package, text = ANALYSED[language]
    pytest.importorskip(package)
    for spoken in (text, f"  {text}\n", "", "。 !"):
        words = split_words(spoken, language.upper())
        assert words == stock_words(spoken, language)
    assert len(split_words(text, language)) > 3


def test_analysers_in_place_of_the_installed_ones(monkeypatch):
    tokenizer = types.SimpleNamespace(tokenize=lambda text: text.split("|"))
    modules = {
        "nagisa": types.SimpleNamespace(tagging=lambda text: types.SimpleNamespace(words=list(text))),
        "soynlp": types.ModuleType("soynlp"),
        "soynlp.tokenizer": types.SimpleNamespace(LTokenizer=lambda: tokenizer),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(stock, "is_nagisa_available", lambda: True)
    monkeypatch.setattr(stock, "is_soynlp_available", lambda: True)
    assert split_words(" a。b ", "japanese") == stock_words(" a。b ", "japanese") == ["a", "b"]
    assert split_words(" a b|.|c, ", "Korean") == stock_words(" a b|.|c, ", "Korean") == ["ab", "c"]


def test_a_fault_inside_an_analyser_is_not_hidden(monkeypatch, tmp_path):
    (tmp_path / "nagisa.py").write_text("import a_module_that_nobody_has")
    monkeypatch.delitem(sys.modules, "nagisa", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_nobody_has"):
        split_words("a", "Japanese")


@pytest.mark.parametrize("name", ["en", "EN", "English", "english", " ENGLISH "])
def test_a_language_by_code_or_name(name):
    assert language_from_name(name, LANGUAGES) == "English"


@pytest.mark.parametrize("name", ["", "e", "Klingon", "sv"])
def test_a_language_that_is_not_there(name):
    with pytest.raises(
        ToolkitError, match=rf"language '{name}' is not supported\. Give one of: de \(German\), en \(English\), "
    ):
        language_from_name(name, LANGUAGES)


def stock_times(times):
    return stock._fix_timestamps(np.asarray(times))


@pytest.mark.parametrize(
    ("times", "ordered"),
    [
        ([], []),
        ([7.9], [7]),
        ([-7.9, -7.5], [-7, -7]),
        ([5, 5, 5], [5, 5, 5]),
        ([3, 2, 1], [3, 3, 3]),
        ([0, 9, 1, 2], [0, 0, 1, 2]),  # one outlier takes the earlier neighbour's time
        ([0, 9, 8, 1, 2, 3], [0, 0, 1, 1, 2, 3]),  # of two each takes the nearer one's
        ([0, 90, 80, 70, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]),  # three are spread
        ([0, 90, 80, 70, 1, 2, 3, 4], [0, 0, 0, 0, 1, 2, 3, 4]),  # ... and cut to whole numbers
        ([9, 1, 2], [1, 1, 2]),
        ([9, 8, 7, 6, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 2, 3, 4, 5]),
        ([1, 2, 3, 0], [1, 2, 3, 3]),
    ],
)
def test_times(times, ordered):
    assert monotonic(times) == ordered
    assert not times or stock_times(times) == ordered


@settings(max_examples=500)
@given(st.lists(st.integers(-4, 12), min_size=1, max_size=40))
def test_whole_times_with_ties(times):
    assert monotonic(times) == stock_times(times)


@settings(max_examples=500)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30))
def test_any_times(times):
    array = np.asarray(times, np.float32)
    assert monotonic(array) == stock_times(array)


def test_ten_thousand_random_vectors():
    random = np.random.default_rng(0)
    for _ in range(10_000):
        size, bins = random.integers(1, 61), random.integers(1, 80)
        times = random.integers(0, bins, size)
        if random.random() < 0.5:  # mostly in order, as the model has them
            times = np.sort(times) + (random.random(size) < 0.2) * random.integers(-bins, bins, size)
        array = times.astype(np.float32) * 80  # ms, as upstream has them
        assert monotonic(array) == stock_times(array)


def test_the_result_never_falls_and_is_kept_when_it_is_put_in_again():
    times = np.random.default_rng(0).integers(0, 500, 3000)
    ordered = monotonic(times)
    assert ordered == sorted(ordered) == monotonic(ordered)


class Totals(int):
    """A number that counts comparisons."""

    compared = 0

    def __lt__(self, other):
        Totals.compared += 1
        return int.__lt__(self, other)

    def __neg__(self):
        return Totals(int.__neg__(self))


@pytest.mark.parametrize("order", ["rising", "falling", "equal", "random", "nearly"])
def test_twenty_thousand_take_n_log_n_comparisons(monkeypatch, order):
    monkeypatch.setattr(Totals, "compared", 0)
    random, size = np.random.default_rng(0), 20_000
    times = {
        "rising": np.arange(size),
        "falling": -np.arange(size),
        "equal": np.zeros(size, int),
        "random": random.integers(0, 5000, size),
        "nearly": np.arange(size) + random.integers(-50, 50, size),
    }[order]
    ordered = monotonic(np.array([Totals(t) for t in times], dtype=object))
    assert ordered == sorted(ordered) == monotonic(times)
    assert Totals.compared <= 2 * size * 15  # two bisections an element, 2 ** 15 > size
