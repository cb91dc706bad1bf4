"""`import speech_coreml` on a bundle that speaks."""

import numpy as np
import pytest

import speech_coreml
from toolkit.audio.read import read_audio


@pytest.fixture(scope="module")
def model(converted):
    return speech_coreml.load(converted.path, runtime="portable", seed=3, eos_threshold=-100)


def test_speech_is_an_array_that_can_be_saved(model, tmp_path):
    speech = model.speak("Hi.")
    assert speech.samples.dtype == np.float32
    assert speech.duration_s == len(speech.samples) / model.sample_rate > 0
    speech.save(tmp_path / "out.wav")
    saved = read_audio(tmp_path / "out.wav", model.sample_rate)
    np.testing.assert_allclose(saved, speech.samples.clip(-1, 1), atol=1e-4)  # 16 bits with dither


def test_a_stream_gives_the_same_speech_in_blocks(model):
    blocks = list(model.stream("Hi."))
    assert len(blocks) > 1
    np.testing.assert_array_equal(np.concatenate(blocks), model.speak("Hi.").samples)


@pytest.mark.parametrize("options", [{"seed": "x"}, {"flow_steps": "many"}, {"stream": True}, {"text": "one"}])
def test_options_that_it_does_not_take(converted, options):
    with pytest.raises(speech_coreml.OptionError):
        speech_coreml.load(converted.path, **options)
