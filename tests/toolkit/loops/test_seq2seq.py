"""The greedy loop and its options against transformers: its processors, and `generate` of a tiny Cohere model."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CohereAsrConfig, CohereAsrForConditionalGeneration, GenerationConfig

from toolkit.errors import RuntimeFault, ToolkitError
from toolkit.loops.seq2seq import GreedyOptions, greedy, processed

EOS = 3
VOCABULARY = 23
PROMPT = [4, 5, 5, 6]


class Scripted:
    """Prefers what the script says, then its last token for ever; notes what it consumed."""

    def __init__(self, *tokens, cache=100):
        self.tokens, self.cache, self.consumed = list(tokens), cache, []

    @property
    def room(self):
        return self.cache - len(self.consumed)

    def _logits(self):
        logits = np.zeros(10, np.float32)
        logits[self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]] = 2.0
        return logits

    def prefill(self, ids):
        assert ids.dtype == np.int32
        self.consumed = ids.tolist()
        return self._logits()

    def step(self, token):
        assert self.room > 0
        self.consumed.append(token)
        return self._logits()


def run(decoder, prompt=PROMPT, eos_id=EOS, **given):
    limits = {name: given.pop(name) for name in ("max_new_tokens",) if name in given}
    return greedy(decoder, prompt, eos_id=eos_id, options=GreedyOptions(**given), **limits)


def ids(choices):
    return [choice.token_id for choice in choices]


def test_tokens_up_to_the_end():
    decoder = Scripted(7, 8, 7, EOS)
    decoded = run(decoder)
    assert (ids(decoded.choices), ids(decoded.tokens), decoded.stop) == ([7, 8, 7, EOS], [7, 8, 7], "eos")
    assert decoder.consumed == [*PROMPT, 7, 8, 7]
    assert decoded.choices[0].probability == pytest.approx(math.exp(2) / (math.exp(2) + 9))
    assert [choice.eos_margin for choice in decoded.choices] == [-2, -2, -2, 2]


def test_the_end_at_once():
    decoder = Scripted(EOS)
    decoded = run(decoder)
    assert (ids(decoded.choices), decoded.tokens, decoded.stop) == ([EOS], (), "eos")
    assert decoder.consumed == PROMPT


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_end_never(limit):
    decoded = run(Scripted(7), max_new_tokens=limit)
    assert (ids(decoded.choices), ids(decoded.tokens), decoded.stop) == ([7] * limit, [7] * limit, "max_tokens")


@pytest.mark.parametrize("room", [0, 1, 5])
def test_the_last_token_needs_no_room(room):
    decoder = Scripted(7, cache=len(PROMPT) + room)
    decoded = run(decoder)
    assert (ids(decoded.choices), decoded.stop) == ([7] * (room + 1), "cache_full")
    assert decoder.room == 0


def test_both_limits_at_once():
    cache = len(PROMPT) + 2
    assert run(Scripted(7, cache=cache), max_new_tokens=3).stop == "max_tokens"
    assert run(Scripted(7, cache=cache), max_new_tokens=4).stop == "cache_full"
    assert run(Scripted(7, 7, EOS, cache=cache), max_new_tokens=3).stop == "eos"


def test_a_tie_goes_to_the_lower_id():
    class Tied(Scripted):
        def _logits(self):
            return np.array([0, 1, 0, 1, 1, 0], np.float32)

    assert ids(run(Tied(0), eos_id=1).choices) == [1]
    decoded = run(Tied(0), eos_id=3, max_new_tokens=1)
    assert (ids(decoded.choices), decoded.choices[0].eos_margin) == ([1], 0)


def test_the_confidence_is_the_models_whatever_the_options_do():
    plain = run(Scripted(7), max_new_tokens=2).choices
    assert run(Scripted(7), max_new_tokens=2, repetition_penalty=1.5, eos_bias=-1.0).choices[1].probability == (
        plain[1].probability
    )


def test_a_bias_ends_earlier_and_shows_in_the_margin():
    decoded = run(Scripted(7), eos_bias=2.5)
    assert (decoded.stop, decoded.choices[0].eos_margin) == ("eos", 0.5)


def test_only_tokens_that_were_consumed_count():
    """A unigram may not repeat: the token just chosen counts from the next step on, the prompt's from the first."""
    decoded = run(Scripted(5, 7, 7, 7), prompt=[5], no_repeat_ngram=1, max_new_tokens=4)
    assert ids(decoded.choices) == [0, 7, 1, 2]


@pytest.mark.parametrize(
    ("flag", "options"),
    [
        ("--repetition-penalty", {"repetition_penalty": 0.0}),
        ("--repetition-penalty", {"repetition_penalty": -1.0}),
        ("--repetition-penalty", {"repetition_penalty": math.nan}),
        ("--repetition-penalty", {"repetition_penalty": math.inf}),
        ("--no-repeat-ngram", {"no_repeat_ngram": -1}),
        ("--eos-bias", {"eos_bias": math.nan}),
        ("--eos-bias", {"eos_bias": -math.inf}),
        ("--max-tokens", {"max_new_tokens": -1}),
    ],
)
def test_options_out_of_range(flag, options):
    with pytest.raises(ToolkitError, match=flag):
        run(Scripted(7), **options)


def test_logits_that_are_no_numbers():
    class Broken(Scripted):
        def _logits(self):
            return np.array([0, np.nan], np.float32)

    with pytest.raises(RuntimeFault, match="not numbers"):
        run(Broken(0), eos_id=0)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    encoder = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "num_mel_bins": 16,
        "subsampling_conv_channels": 8,
        "initializer_range": 0.4,
    }
    config = CohereAsrConfig(
        encoder_config=encoder,
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        decoder_start_token_id=PROMPT[0],
        initializer_range=0.4,
    )
    return CohereAsrForConditionalGeneration(config).eval()


def stock_scores(model, logits, history, options):
    """Through the processors that `generate` makes, in its order."""
    config = GenerationConfig(
        repetition_penalty=options.repetition_penalty,
        no_repeat_ngram_size=options.no_repeat_ngram,
        sequence_bias=[[[EOS], options.eos_bias]] if options.eos_bias else None,
    )
    processors = model._get_logits_processor(config, input_ids_seq_length=len(history))
    return processors(torch.tensor([history]), torch.from_numpy(logits.astype(np.float32))[None])[0].numpy()


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.integers(0, VOCABULARY + 3), min_size=1, max_size=40),
    st.integers(0, 2**32),
    st.sampled_from([np.float16, np.float32]),
    st.sampled_from([1.0, 0.7, 1.1, 1.3, 5.0]),
    st.integers(0, 4),
    st.sampled_from([0.0, 4.0, -0.1]),
)
def test_any_history_gives_what_the_processors_give(model, history, seed, dtype, penalty, ngram, bias):
    logits = (np.random.default_rng(seed).standard_normal(VOCABULARY) * 5).astype(dtype)
    options = GreedyOptions(penalty, ngram, bias)
    before = logits.copy()
    scores = processed(logits, history, EOS, options)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(logits, before)
    np.testing.assert_array_equal(scores, stock_scores(model, logits, history, options))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 5))
def test_few_tokens_repeat_often(model, history, ngram):
    logits = np.zeros(5, np.float32)
    options = GreedyOptions(no_repeat_ngram=ngram, repetition_penalty=1.2)
    expected = stock_scores(model, logits, history, options)
    np.testing.assert_array_equal(processed(logits, history, EOS, options), expected)


class Uncached:
    """The stock model, run on the whole history at every step."""

    def __init__(self, model, features):
        self.model, self.features, self.ids, self.room = model, features, [], 1000

    def prefill(self, ids):
        self.ids = ids.tolist()
        with torch.no_grad():
            out = self.model(self.features, decoder_input_ids=torch.tensor([self.ids]))
        return out.logits[0, -1].numpy()

    def step(self, token):
        return self.prefill(np.array([*self.ids, token], np.int32))


@pytest.mark.parametrize(
    "options",
    [
        GreedyOptions(),
        GreedyOptions(repetition_penalty=1.3),
        GreedyOptions(no_repeat_ngram=2),
        GreedyOptions(eos_bias=2.0),
        GreedyOptions(1.2, 3, 2.0),
    ],
    ids=str,
)
def test_generate(model, options):
    stops = set()
    for seed in range(4):
        features = torch.randn(1, 80, 16, generator=torch.Generator().manual_seed(seed))
        expected = model.generate(
            features,
            decoder_input_ids=torch.tensor([PROMPT]),
            do_sample=False,
            max_new_tokens=30,
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram,
            sequence_bias=[[[EOS], options.eos_bias]] if options.eos_bias else None,
        )
        decoded = greedy(Uncached(model, features), PROMPT, eos_id=EOS, max_new_tokens=30, options=options)
        assert [*PROMPT, *ids(decoded.choices)] == expected[0].tolist()
        stops.add(decoded.stop)
    assert stops == ({"max_tokens", "eos"} if options.eos_bias else {"max_tokens"})
