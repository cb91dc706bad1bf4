"""Prompts against `PocketTTSProcessor`: chunks, ids, frames after the end, and the budget that `generate` sets."""

import subprocess
import sys
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import Unigram
from tokenizers.processors import TemplateProcessing
from transformers import PocketTTSForConditionalGeneration, PocketTTSProcessor, PreTrainedTokenizerFast

from models.pocket_tts.text import Prompter, TextRules
from tests.models.pocket_tts.tiny import PLACEHOLDERS, save_tiny_checkpoint, tiny_config, tiny_processor, tiny_template
from toolkit.errors import BundleError, ToolkitError

VOICE_FRAMES = 3
TEXTS = {
    "one_word": "hello",
    "four_words": "this is quite short",
    "five_words": "and this one is not",
    "long": "The quick brown fox jumps over the lazy dog, and then the dog looks for the fox. " * 3,
    "decimals": "It costs 3.50 or 1.000.000.25, not 3. 5! In 1999. 20 more. Version 2.0.1.? .5",
    "ellipses": "Well... no.... I mean.. yes?! Really!? ... And so on...",
    "quotes": '"Go." \'Come!\' (She said: "why?")',
    "semicolons": "one; two; three: four, five;; six,: seven",
    "newlines": "first line\nsecond line.\n\n third\r\nline\tand a tab\n",
    "unknown_characters": "Größe 日本語 και Ω. Ünïcödé? 東京。京都、大阪、 ½",
    "emoji": "smile 😀. 👩‍👩‍👧 family! 3.😀 5",
    "control": "a\x00b\x07c. \u200b\ufeffd",
    "blanks": "  several    blanks .  .  between   ",
    "ends_in_quote": "x" * 48 + '." "Then." ',
    "no_clause": "word " * 40 + "end",
    "many_clauses": "word after word, " * 20 + "end.",
    "only_digits": "1 2 3",
    "starts_with_end": "! . Hello",
    "specials": "a <s> b </s> c <pad> d <unk>. e",
    "byte_tokens": "é3.5é é. 5 <0x33>.<0x35>",
}
ALPHABET = st.sampled_from([*"abTh 0159....,,;:!?\"'\n\r\té½日😀\u0301<>", "...", ". ", "3.5", "the ", "<unk>"])
texts = st.lists(ALPHABET, max_size=120).map("".join)


def rules_of(processor, frame_rate=12.5):
    """What export reads from a processor and a config."""
    tokenizer = processor.tokenizer
    bos = processor.audio_prompt_bos_token
    return TextRules(
        short_text_max_words=processor.short_text_max_words,
        frames_after_eos_short_text=processor.frames_after_eos_short_text,
        frames_after_eos=processor.frames_after_eos,
        frame_rate=frame_rate,
        audio_prompt_bos=None if bos is None else tokenizer.convert_tokens_to_ids(bos),
        audio_prompt=processor.audio_token_id,
        audio_latent=tokenizer.convert_tokens_to_ids(processor.audio_latent_token),
        audio_bos=tokenizer.convert_tokens_to_ids(processor.audio_bos_token),
    )


def prompter_of(processor, folder, **changes):
    file = folder / "tokenizer.json"
    processor.tokenizer.backend_tokenizer.save(str(file))
    given = {"template": processor.chat_template, "special_tokens": processor.tokenizer.special_tokens_map}
    return Prompter(file, **(given | {"rules": rules_of(processor)} | changes))


KINDS = {
    "bytes": {},
    "unknowns": {"byte_fallback": False},
    "no_voice_bos": {"voice_bos": False},
    "other_rules": {"short_text_max_words": 7, "frames_after_eos_short_text": 9, "frames_after_eos": 0},
}


def processor_of(kind):
    return metaspace_processor() if kind == "metaspace" else tiny_processor(**KINDS[kind])


def metaspace_processor():
    """Around a Unigram tokenizer that normalises and marks only the first word of a text, as newer conversions do."""
    processor = tiny_processor()
    old = processor.tokenizer
    pieces = sorted(old.get_vocab().items(), key=lambda item: item[1])
    unigram = Unigram([(piece, -float(len(piece) < 2)) for piece, _ in pieces], unk_id=0, byte_fallback=True)
    tokenizer = Tokenizer(unigram)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    fused = [decoders.ByteFallback(), decoders.Fuse(), decoders.Metaspace(prepend_scheme="first", split=False)]
    tokenizer.decoder = decoders.Sequence(fused)
    specials = old.backend_tokenizer.get_added_tokens_decoder().values()
    tokenizer.add_special_tokens([AddedToken(token.content, special=True, normalized=True) for token in specials])
    named = {name: token for name, token in old.special_tokens_map.items() if not name.startswith("audio_")}
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **named, extra_special_tokens=dict(PLACEHOLDERS)
    )
    return processor


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Kind -> (ours, the processor)."""

    def pair(kind):
        processor = processor_of(kind)
        return prompter_of(processor, tmp_path_factory.mktemp(kind)), processor

    return cache(pair)


@pytest.fixture
def bytes_pair(pairs):
    return pairs("bytes")


@pytest.fixture
def ours(bytes_pair):
    return bytes_pair[0]


@cache
def meta_model():
    with torch.device("meta"):
        return PocketTTSForConditionalGeneration(tiny_config())


def model_of(processor):
    """The real class, with the ids of a processor."""
    model, tokenizer = meta_model(), processor.tokenizer
    model.config.audio_prompt_bos_token_id = 4002  # as the class has it, where the tokenizer has none
    for name, token in tokenizer.special_tokens_map.items():
        if name.startswith("audio_"):
            setattr(model.config, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
    return model


def budget(inputs, monkeypatch, model):
    """`max_new_tokens` as the model's `generate` hands it on."""
    given = {}
    with monkeypatch.context() as patch:
        patch.setattr("transformers.generation.GenerationMixin.generate", lambda self, **kwargs: given.update(kwargs))
        model.generate(**inputs)
    return given["max_new_tokens"]


def expected_inputs(processor, chunk, voice):
    """What the documentation's call makes of one chunk: `apply_chat_template`, with the voice as latents."""
    audio = [{"type": "audio"}] if voice else []
    prompt = processor.apply_chat_template([{"role": "user", "content": [*audio, {"type": "text", "text": chunk}]}])
    latents = [torch.zeros(VOICE_FRAMES, 8)] if voice else None
    return processor(text=prompt, audio_prompt_latents=latents, return_tensors="pt")


def is_spoken(processor, chunk):
    tokenizer = processor.tokenizer
    return any(map(str.isalnum, tokenizer.decode(tokenizer.encode(chunk), skip_special_tokens=True)))


def assert_equal(prompter, processor, text, max_tokens=50, *, voice=True):
    """Chunks, ids and frames; returns the processor's inputs of each chunk."""
    chunks = processor.split_text(text, max_tokens)
    assert prompter.split(text, max_tokens) == chunks
    spoken = [chunk for chunk in chunks if is_spoken(processor, chunk)]
    prompts = prompter.prompts(text, voice=voice, max_tokens=max_tokens)
    assert [prompt.chunk for prompt in prompts] == spoken
    reference = [expected_inputs(processor, chunk, voice) for chunk in spoken]
    for prompt, inputs in zip(prompts, reference, strict=True):
        frames = [processor.audio_token_id] * (VOICE_FRAMES if voice else 0)
        last = processor.tokenizer.convert_tokens_to_ids(processor.audio_bos_token)
        assert [*prompt.before_voice, *frames, *prompt.text, last] == inputs["input_ids"][0].tolist()
        assert prompt.frames_after_eos == int(inputs["frames_after_eos"])
        assert processor.audio_token_id not in prompt.before_voice + prompt.text
        assert voice or not prompt.before_voice
    return prompts, reference


OTHER_KINDS = [*list(KINDS)[1:], "metaspace"]
# Every text by one tokenizer; by the others the texts in which tokenizers and rules differ.
PROMPTS = [("bytes", name, voice) for name in TEXTS for voice in (True, False)]
for name in ("five_words", "decimals", "unknown_characters", "specials", "byte_tokens"):
    PROMPTS += [(kind, name, True) for kind in OTHER_KINDS]
PROMPTS += [(kind, "five_words", False) for kind in OTHER_KINDS]
LENGTHS = [
    ("bytes", name, length)
    for name in ("decimals", "ends_in_quote", "many_clauses", "unknown_characters")
    for length in (-1, 0, 1, 7, 49, 1000)
]
LENGTHS += [(kind, name, 7) for kind in OTHER_KINDS for name in ("many_clauses", "unknown_characters")]


@pytest.mark.parametrize(("kind", "name", "voice"), PROMPTS)
def test_prompts(pairs, kind, name, voice, monkeypatch):
    processor = pairs(kind)[1]
    prompts, reference = assert_equal(*pairs(kind), TEXTS[name], voice=voice)
    model = model_of(processor)
    assert [p.max_frames for p in prompts] == [budget(inputs, monkeypatch, model) for inputs in reference]


@pytest.mark.parametrize(("kind", "name", "max_tokens"), LENGTHS)
def test_lengths_of_chunks(pairs, kind, name, max_tokens):
    assert_equal(*pairs(kind), TEXTS[name], max_tokens)


def test_ten_thousand_characters(bytes_pair):
    text = ("The price, on the 3. of May; was 12.50 euros! " * 220)[:10_000]
    prompts, _ = assert_equal(*bytes_pair, text)
    assert len(prompts) > 200


def test_a_long_text_takes_no_minutes(ours):
    """Upstream decodes the whole text at every full stop: minutes for a book's chapter."""
    assert len(ours.split("It was 3.5 or 4.5 of them. " * 4000, 50)) == 2000


def test_chunks_of_nothing_to_say_are_left_out(bytes_pair):
    prompter, processor = bytes_pair
    text = "x" * 48 + '. "'
    assert processor.split_text(text) == ["X" + "x" * 47 + ".", '"']
    assert [prompt.chunk for prompt in prompter.prompts(text, voice=True)] == ["X" + "x" * 47 + "."]


def test_a_sentence_that_cannot_be_cut_gets_its_budget(ours):
    (prompt,) = ours.prompts("word " * 100, voice=True)
    assert len(prompt.text) == 501
    assert prompt.max_frames == 2113  # ceil((501 / 3 + 2) * 12.5)


def test_where_the_voice_stands(bytes_pair):
    prompter, processor = bytes_pair
    names = processor.tokenizer.convert_ids_to_tokens
    (with_voice,) = prompter.prompts("Go on.", voice=True)
    (cached,) = prompter.prompts("Go on.", voice=False)
    assert names(list(with_voice.before_voice)) == ["<audio_prompt_bos>"]
    assert names(list(with_voice.text)) == [*"▁▁▁▁▁▁▁▁▁Go▁on."]
    assert (cached.before_voice, cached.text) == ((), with_voice.text)
    assert (with_voice.frames_after_eos, with_voice.max_frames) == (4, 88)


@pytest.mark.parametrize("kind", ["bytes", "unknowns", "metaspace"])
def test_any_text(kind, tmp_path):
    processor = processor_of(kind)
    prompter = prompter_of(processor, tmp_path)

    @settings(max_examples=150, deadline=None)
    @given(texts, st.integers(1, 60))
    def check(text, max_tokens):
        if any(is_spoken(processor, chunk) for chunk in processor.split_text(text, max_tokens)):
            assert_equal(prompter, processor, text, max_tokens)
        else:
            with pytest.raises(ToolkitError, match=r"is empty|no letter"):
                prompter.prompts(text, voice=True, max_tokens=max_tokens)

    check()


def test_the_saved_checkpoint(tmp_path):
    """As it comes back from a folder, with the config's own ids."""
    model = save_tiny_checkpoint(tmp_path)
    processor = PocketTTSProcessor.from_pretrained(tmp_path)
    rules = rules_of(processor, model.config.frame_rate)
    config = model.config
    assert (rules.audio_prompt_bos, rules.audio_prompt) == (
        config.audio_prompt_bos_token_id,
        config.audio_prompt_token_id,
    )
    assert (rules.audio_latent, rules.audio_bos) == (config.audio_latent_token_id, config.audio_bos_token_id)
    template = (tmp_path / "chat_template.jinja").read_text(encoding="utf-8")
    specials = processor.tokenizer.special_tokens_map
    assert specials["audio_bos_token"] == "<audio_bos>"
    assert_equal(Prompter(tmp_path / "tokenizer.json", template, specials, rules), processor, TEXTS["long"])


@pytest.mark.parametrize("writes_bos", [False, True])
def test_a_tokenizer_that_adds_a_bos(tmp_path, writes_bos):
    """It stands in front of the voice, once: a template that writes it itself keeps the tokenizer from adding one."""
    processor = tiny_processor()
    bos = ("<s>", processor.tokenizer.bos_token_id)
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing("<s> $A", special_tokens=[bos])
    if writes_bos:
        processor.chat_template = "{{ bos_token }}" + processor.chat_template
    prompter = prompter_of(processor, tmp_path)
    (prompt,) = prompter.prompts("Hello.", voice=True)
    assert prompt.before_voice == (bos[1], processor.tokenizer.convert_tokens_to_ids("<audio_prompt_bos>"))
    rendered = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": prompt.chunk}]}]
    )
    voice = torch.zeros(VOICE_FRAMES, 8)
    inputs = processor(
        text=rendered, audio_prompt_latents=[voice], return_tensors="pt", add_special_tokens=not writes_bos
    )
    frames = [processor.audio_token_id] * VOICE_FRAMES
    assert [*prompt.before_voice, *frames, *prompt.text] == inputs["input_ids"][0].tolist()[:-1]


def test_padding_and_truncation_of_the_file_are_left_out(tmp_path):
    processor = tiny_processor()
    expected = prompter_of(processor, tmp_path).prompts(TEXTS["long"], voice=True)
    processor.tokenizer.backend_tokenizer.enable_truncation(5)
    processor.tokenizer.backend_tokenizer.enable_padding(length=99)
    assert prompter_of(processor, tmp_path).prompts(TEXTS["long"], voice=True) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty"),
        (" \n\t ", "the text is empty"),
        ("...!? --", "no letter and no digit"),
        ("😀", "no letter and no digit"),
        ("a \ud800 b", "not valid Unicode"),
        ("say <audio_bos> now", "holds <audio_bos>"),
        ("<audio_prompt>", "holds <audio_prompt>"),
        ("<audio_prompt_bos> x", "holds <audio_prompt_bos>"),
        ("x<audio_latent>x", "holds <audio_latent>"),
    ],
)
def test_what_cannot_be_spoken(ours, text, message):
    with pytest.raises(ToolkitError, match=message):
        ours.prompts(text, voice=True)


@pytest.mark.parametrize("text", ["say ＜audio_bos＞ now", "a. <audio_bos\uff1e b"])  # noqa: RUF001
def test_a_placeholder_that_the_tokenizer_would_normalise(tmp_path, text):
    with pytest.raises(ToolkitError, match="holds <audio_bos>"):
        prompter_of(metaspace_processor(), tmp_path).prompts(text, voice=True)


def test_a_script_that_the_tokenizer_does_not_know(tmp_path):
    prompter = prompter_of(tiny_processor(byte_fallback=False), tmp_path)
    with pytest.raises(ToolkitError, match="knows no letter of the text"):
        prompter.prompts("日本語。", voice=True)


GOOD = tiny_template()


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% if %}", "cannot be read"),
        ("{{ raise_exception('no such voice') }}", "no such voice"),
        ("{{ 1 // 0 }}", "template fails"),
        ("{{ ''.__class__.__mro__ }}" + GOOD, "template fails"),
        ("{{ messages.append(1) }}" + GOOD, "template fails"),
        (GOOD + "{{ audio_bos_token }}", "first position of audio at its end"),
        (GOOD + ".", "first position of audio at its end"),
        (GOOD.removesuffix("{{- audio_bos_token -}}\n"), "first position of audio at its end"),
        ("{{ audio_latent_token }}" + GOOD, "first position of audio at its end"),
        ("{{ audio_prompt_token }}" + GOOD, "the voice once"),
        ("Hello.{{ audio_bos_token }}", "the voice once"),
    ],
)
def test_templates_that_do_not_fit(tmp_path, template, message):
    with pytest.raises(BundleError, match=message):
        prompter_of(tiny_processor(), tmp_path, template=template).prompts("Hello.", voice=True)


def test_ids_that_the_tokenizer_does_not_have(tmp_path):
    processor = tiny_processor()
    rules = rules_of(processor).model_copy(update={"audio_latent": 4001})
    with pytest.raises(BundleError, match="no id 4001"):
        prompter_of(processor, tmp_path, rules=rules)


def test_without_torch_and_transformers():
    code = "import sys, models.pocket_tts.text; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
