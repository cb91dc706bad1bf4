"""The published checkpoints give the published results, with our packages: slow, and only where the hub can be reached.

`uv run pytest -m slow tests/published` fetches some 9 GB. Gated repositories want HF_TOKEN.
"""

from dataclasses import replace

import pytest

from commands.conversion import ConvertRequest, convert, default_output, prepare
from models import find_model
from tests.published.expected import EXPECTED, token_differences, word_differences
from toolkit.audio.read import read_audio
from toolkit.contract import aligner, transcriber
from toolkit.errors import ToolkitError
from toolkit.hub import HubRefused
from toolkit.runtimes.open import open_runtime
from toolkit.transcript import Token, Transcript, Word

LIBRISPEECH = "hf-internal-testing/librispeech_asr_dummy"


@pytest.fixture(scope="module")
def bundle():
    """The bundle of a model's published checkpoint, converted once and kept in build/."""

    def make(name):
        model, checkpoint = find_model(name), EXPECTED[name]["checkpoint"]
        try:
            prepared = prepare(ConvertRequest(model, checkpoint, output=default_output(model, checkpoint)))
        except HubRefused as error:
            pytest.skip(f"{checkpoint} cannot be had here: {error}")
        converted = convert(prepared)
        assert converted.passed
        return model, converted.bundle

    return make


def audio_of(file, rate):
    from huggingface_hub import hf_hub_download

    repository, name = file["audio"]
    return read_audio(hf_hub_download(repository, name, repo_type="dataset"), rate)


@pytest.mark.slow
def test_parakeet_on_librispeech(bundle, tmp_path):
    from toolkit.corpora.hub import streamed

    model, converted = bundle("parakeet-tdt")
    pipeline = transcriber(model, converted, open_runtime("auto", converted, model), {})
    try:
        rows = list(streamed(LIBRISPEECH, LIBRISPEECH, "clean", "validation"))
    except ToolkitError as error:
        pytest.skip(f"{LIBRISPEECH} cannot be had here: {error}")
    for expected in EXPECTED["parakeet-tdt"]["librispeech"]:
        file = tmp_path / "clip.flac"
        file.write_bytes(rows[expected["row"]]["audio"]["bytes"])
        transcript = pipeline.transcribe(read_audio(file, pipeline.sample_rate))
        assert token_differences(expected, transcript) == [], transcript


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "index"),
    [(name, i) for name in ("parakeet-tdt", "cohere-transcribe") for i in range(len(EXPECTED[name]["files"]))],
)
def test_texts(bundle, name, index):
    expected = EXPECTED[name]["files"][index]
    model, converted = bundle(name)
    options = {key: expected[key] for key in ("language", "punctuation") if key in expected}
    pipeline = transcriber(model, converted, open_runtime("auto", converted, model), options)
    text = pipeline.transcribe(audio_of(expected, pipeline.sample_rate)).text
    assert text.strip() in expected["texts"]


@pytest.mark.slow
def test_aligner(bundle):
    expected = EXPECTED["qwen3-forced-aligner"]["files"][0]
    model, converted = bundle("qwen3-forced-aligner")
    pipeline = aligner(model, converted, open_runtime("auto", converted, model), {})
    transcript = pipeline.align(audio_of(expected, pipeline.sample_rate), expected["text"], expected["language"])
    assert word_differences(expected, transcript) == []


def as_published(expected):
    """A transcript that is as published."""
    rows = zip(expected["token_ids"], expected["start_s"], expected["duration_frames"], strict=True)
    tokens = tuple(Token(i, "", start, start + 0.08 * frames, 1.0) for i, start, frames in rows)
    return Transcript(expected["text"], 6.0, (), tokens)


def test_what_differs_is_named():
    """The comparison itself, everywhere."""
    expected = EXPECTED["parakeet-tdt"]["librispeech"][0]
    same = as_published(expected)
    assert token_differences(expected, same) == []
    first, *rest = same.tokens
    assert token_differences(expected, replace(same, text="Mister")) == ["text"]
    assert token_differences(expected, replace(same, tokens=(replace(first, id=283), *rest))) == ["token ids"]
    late = replace(first, start_s=first.start_s + 0.08, end_s=first.end_s + 0.08)
    assert token_differences(expected, replace(same, tokens=(late, *rest))) == ["start times"]
    assert token_differences(expected, replace(same, tokens=(replace(first, end_s=0.4), *rest))) == ["durations"]


def test_a_word_that_moved_is_named():
    expected = EXPECTED["qwen3-forced-aligner"]["files"][0]
    words = tuple(Word(text, start, end, 1.0) for text, start, end in expected["words"])
    assert word_differences(expected, Transcript("", 6.0, words, ())) == []
    moved = (replace(words[0], end_s=0.88), *words[1:])
    assert word_differences(expected, Transcript("", 6.0, moved, ())) == [("Mr", (0.56, 0.8), (0.56, 0.88))]
