"""`import speech_coreml` on a bundle that aligns."""

import numpy as np
import pytest

import speech_coreml

RATE = 16000


@pytest.fixture(scope="module")
def model(converted):
    return speech_coreml.load(converted.path, runtime="portable")


def test_the_words_of_a_text_get_times(model):
    transcript = model.align(np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32) / 9, "Go, on!")
    assert len(transcript.words) == 2
    assert all(0 <= word.start_s <= word.end_s <= transcript.duration_s for word in transcript.words)


def test_the_language_may_be_named(model):
    audio = np.zeros(RATE, np.float32)
    assert model.align(audio, "go", "en").language == "English"
    with pytest.raises(speech_coreml.ToolkitError, match="klingon"):
        model.align(audio, "go", "klingon")
