"""Ids of texts: those of the class's own tokenizer, and nothing that a template would add."""

import pytest
from tokenizers.processors import TemplateProcessing

from tests.models.qwen3_forced_aligner.tiny import tiny_tokenizer
from toolkit.errors import BundleError
from toolkit.text.tokenise import Tokeniser

TEXTS = ("hello", "Don't", "\u5317", "na\u00efve", "na\u0131\u0308ve", "3", " a b", "\U0001f600", "")


@pytest.mark.parametrize("text", TEXTS)
def test_ids_equal_the_tokenizers_own(tmp_path, text):
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert Tokeniser(tmp_path / "tokenizer.json").ids(text) == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_template_of_the_tokenizer_adds_nothing(tmp_path):
    tokenizer = tiny_tokenizer().backend_tokenizer
    end = tokenizer.token_to_id("<|im_end|>")
    tokenizer.post_processor = TemplateProcessing(single="$A <|im_end|>", special_tokens=[("<|im_end|>", end)])
    assert tokenizer.encode("a").ids[-1] == end
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert Tokeniser(tmp_path / "tokenizer.json").ids("a") == tokenizer.encode("a").ids[:-1]


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="not a tokenizer"):
        Tokeniser(tmp_path / "tokenizer.json")
