"""Texts of segments joined as `CohereAsrProcessor` joins them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CohereAsrProcessor
from transformers.models.cohere_asr.processing_cohere_asr import _NO_SPACE_LANGS, LANGUAGES

from toolkit.transcript import join_segments


def stock(texts, language):
    """As `decode` does for one audio that was split."""
    separator = "" if language in _NO_SPACE_LANGS else " "
    chunks = [(0, index) for index in range(len(texts))]
    return CohereAsrProcessor._reassemble_chunk_texts(texts, chunks, separator)[0]


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("texts", [["one"], [" one ", " two ", "three "], ["", "一 二", " ", "三\n"], ["一", "", "二"]])
def test_every_language(texts, language):
    assert join_segments(texts, language) == stock(texts, language)


@given(
    st.lists(st.text("a篇 \n\u3000", max_size=4), max_size=5).filter(lambda texts: any(t.strip() for t in texts)),
    st.sampled_from(sorted(LANGUAGES)),
)
def test_any_texts(texts, language):
    assert join_segments(texts, language) == stock(texts, language)


@pytest.mark.parametrize("texts", [[], [""], [" ", "\n"]])
def test_nothing_said_is_no_text(texts):
    assert join_segments(texts, "en") == ""


def test_by_hand():
    assert join_segments(["Good morning. ", "", " How are you?"], "en") == "Good morning. How are you?"
    assert join_segments(["今天", " 很好。"], "zh") == "今天很好。"
    assert join_segments(["안녕", "하세요"], "ko") == "안녕 하세요"
