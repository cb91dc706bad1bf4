"""Kyutai's preparation of texts as a template, and its tokenizers; the goldens are what pocket-tts 4.0.1 returned."""

import numpy as np
import pytest
import sentencepiece
from transformers import PreTrainedTokenizerFast

from models.pocket_tts.kyutai.config import TextPreparation
from models.pocket_tts.kyutai.languages import LANGUAGES
from models.pocket_tts.kyutai.text import chat_template, frames_after_eos
from models.pocket_tts.kyutai.tokenizer import (
    AUDIO_BOS,
    PLACEHOLDERS,
    VOICE,
    VOICE_BOS,
    read_tokenizer,
    with_placeholders,
)
from tests.oracles.kyutai_texts import TEXTS
from toolkit.errors import CheckpointError
from toolkit.text.chat_template import ChatTemplate

ENGLISH, FRENCH, GERMAN, SPANISH = (LANGUAGES[name].text for name in ("english", "french", "german", "spanish"))
PADDED, PLAIN = LANGUAGES["english_2026-01"].text, TextPreparation()
PREPARED = [
    (ENGLISH, "hello world", "Hello world."),
    (ENGLISH, "a trailing comma,", "A trailing comma."),
    (ENGLISH, "an em dash—", "An em dash."),
    (ENGLISH, "several , - – marks ,,;", "Several , - – marks."),
    (ENGLISH, "It’s\tfour    blanks", "It's four blanks."),
    (PLAIN, "It’s\tfour    blanks", "It’s\tfour  blanks."),
    (PLAIN, "lines\nand\r\nlines", "Lines and lines."),
    (ENGLISH, 'He said "hi"', 'He said "hi".'),
    (ENGLISH, 'He said "hi",', 'He said "hi".'),
    (ENGLISH, '"Hi!" , she said; then left', '"Hi!" , she said; then left.'),
    (FRENCH, '"Hi!" , she said; then left', "Hi! she said, then left."),
    (FRENCH, "un: deux; (trois)", "Un, deux, trois."),
    (ENGLISH, "wait.,; what", "Wait.; what."),
    (ENGLISH, "wait. , what", "Wait. what."),
    (PLAIN, "wait.,; what", "Wait.,; what."),
    (GERMAN, "so — oder", "So , oder."),
    (SPANISH, "¿Qué tal? ¡Bien!", "Qué tal? Bien!"),
    (ENGLISH, "an ellipsis…", "An ellipsis…"),
    (ENGLISH, "brackets at the end (really)", "Brackets at the end (really)."),
    (ENGLISH, "brackets at the end (really,)", "Brackets at the end (really.)"),
    (ENGLISH, "ßtraße first", "SStraße first."),
    (ENGLISH, "ǆ titlecase digraph", "Ǆ titlecase digraph."),
    (PADDED, "one two three four", "        One two three four."),
    (PADDED, "one two three four five", "One two three four five."),
    (TextPreparation(capitalise=False, end_sentences=False), "salAm –", "salAm –"),
    (TextPreparation({"a": "b", "b": "a"}), "ab ba", "Ba ab."),
    (TextPreparation({'"': "\\", "'": "{{"}), "a\"b'c", "A\\b{{c."),
    (TextPreparation({"😀": "smile"}), "a 😀", "A smile."),
]


@pytest.mark.parametrize(("rules", "text", "expected"), PREPARED)
def test_texts_are_prepared_as_kyutai_does(rules, text, expected):
    template = ChatTemplate(chat_template(rules, voice_bos=True), {})
    said = [{"type": "text", "text": text}]
    assert template.render([{"role": "user", "content": said}]) == expected + AUDIO_BOS
    voiced = template.render([{"role": "user", "content": [{"type": "audio"}, *said]}])
    assert voiced == VOICE_BOS + VOICE + expected + AUDIO_BOS


def test_no_vector_before_the_voice():
    template = ChatTemplate(chat_template(PADDED, voice_bos=False), {})
    assert template.render([{"role": "user", "content": [{"type": "audio"}]}]) == VOICE + AUDIO_BOS


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_the_template_renders_alike_in_transformers(number):
    for rules in (ENGLISH, FRENCH, PADDED):
        source = chat_template(rules, voice_bos=True)
        messages = [{"role": "user", "content": [{"type": "text", "text": TEXTS[number]}]}]
        theirs = PreTrainedTokenizerFast.apply_chat_template(_Bare(), messages, chat_template=source, tokenize=False)
        assert ChatTemplate(source, {}).render(messages) == theirs


class _Bare(PreTrainedTokenizerFast):
    """What renders a template, without a tokenizer behind it."""

    def __init__(self):
        self._special_tokens_map, self._extra_special_tokens, self.chat_template = {}, [], None


@pytest.mark.parametrize(("own", "expected"), [(None, (4, 2)), (3, (2, 2)), (0, (0, 0))])
def test_frames_behind_the_end_of_speech(own, expected):
    """Kyutai counts the frame in which the speech ends."""
    assert frames_after_eos(TextPreparation(frames_after_eos=own)) == expected


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    file = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    words = np.random.default_rng(0).integers(97, 123, (400, 6)).astype(np.uint8).tobytes().decode()
    lines = [words[i : i + 5] + " " + words[i + 5 : i + 12] + "." for i in range(0, 2300, 12)]
    file.write_text("\n".join([*lines, *TEXTS]), encoding="utf-8")
    return file


KINDS = [
    {"byte_fallback": True},
    {"byte_fallback": False},
    {"normalization_rule_name": "identity"},
    {"add_dummy_prefix": False},
    {"remove_extra_whitespaces": False},
]


def trained(corpus, folder, vocabulary=400, **kind):
    settings = {"input": str(corpus), "model_prefix": str(folder / "tokenizer"), "minloglevel": 2, "pad_id": 3}
    sentencepiece.SentencePieceTrainer.train(vocab_size=vocabulary, hard_vocab_limit=False, **settings, **kind)
    return folder / "tokenizer.model", sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_sentencepieces_model_without_sentencepiece(corpus, tmp_path, kind):
    file, original = trained(corpus, tmp_path, **kind)
    tokenizer = read_tokenizer(file, original.vocab_size())
    # tokenizers takes CR LF for one character; no prepared text holds it.
    for text in (text.replace("\r\n", "\n") for text in TEXTS):
        assert tokenizer.encode(text).ids == original.encode(text), text
        if kind.get("byte_fallback"):
            assert tokenizer.decode(original.encode(text)) == original.decode(original.encode(text))


def test_the_ids_of_voice_and_audio_come_behind_the_texts(corpus, tmp_path):
    file, original = trained(corpus, tmp_path, byte_fallback=True)
    size = original.vocab_size()
    tokenizer = with_placeholders(read_tokenizer(file, size))
    assert [tokenizer.convert_tokens_to_ids(token) for token in PLACEHOLDERS.values()] == list(range(size, size + 4))
    assert (tokenizer.audio_prompt_token, tokenizer.audio_bos_token) == (VOICE, AUDIO_BOS)
    assert (tokenizer.unk_token, tokenizer.pad_token_id) == ("<unk>", 3)


@pytest.mark.parametrize("damage", [lambda data: data[:200], lambda data: b"", lambda data: b"\x0b" + data])
def test_a_damaged_tokenizer_is_refused(corpus, tmp_path, damage):
    file, original = trained(corpus, tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CheckpointError, match=r"tokenizer\.model is no tokenizer"):
        read_tokenizer(file, original.vocab_size())


def test_pieces_of_another_kind_are_refused(corpus, tmp_path):
    file, original = trained(corpus, tmp_path, model_type="bpe")
    with pytest.raises(CheckpointError, match="only unigrams are read"):
        read_tokenizer(file, original.vocab_size())


def test_a_tokenizer_json_of_another_size_is_refused(corpus, tmp_path):
    file, original = trained(corpus, tmp_path)
    read_tokenizer(file, original.vocab_size()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="the configuration says 7"):
        read_tokenizer(tmp_path / "tokenizer.json", 7)
