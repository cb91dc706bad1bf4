"""`import speech_coreml` on a bundle that transcribes: files and arrays in, the words of `infer` out."""

import json
import logging

import numpy as np
import pytest
import soundfile

import infer
import speech_coreml
from tests.command_runner import command_runner

CLIP = "demo/clips/ps_goforward.wav"


@pytest.fixture(scope="module")
def model(parakeet_bundle):
    return speech_coreml.load(parakeet_bundle, runtime="portable")


def test_a_file_gives_what_infer_gives(model, parakeet_bundle, monkeypatch, capsys):
    code, out, err = command_runner(infer, monkeypatch, capsys)(
        CLIP, "--bundle", parakeet_bundle, "--runtime", "portable", "--format", "json"
    )
    assert code == 0, err
    transcript = model.transcribe(CLIP)
    said = json.loads(out)
    assert transcript.text == said["text"] == "go forward ten meters"
    assert [word.start_s for word in transcript.words] == [word["start_s"] for word in said["words"]]


@pytest.mark.parametrize("form", ["float32", "float64", "int16", "stereo"])
def test_an_array_is_as_good_as_its_file(model, form):
    samples, rate = soundfile.read(CLIP, dtype="int16" if form == "int16" else "float64")
    array = {"stereo": np.stack([samples, samples], axis=1), "float32": samples.astype(np.float32)}.get(form, samples)
    assert model.transcribe(array, sample_rate=rate) == model.transcribe(CLIP)


def test_an_array_of_another_rate_is_resampled(model):
    samples, rate = soundfile.read(CLIP, dtype="float32")
    transcript = model.transcribe(np.repeat(samples, 2), sample_rate=2 * rate)
    assert transcript.text == "go forward ten meters"
    assert transcript.duration_s == pytest.approx(len(samples) / rate, abs=1e-3)


def test_files_are_done_one_by_one_and_a_bad_one_costs_no_other(model, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF nothing")
    outcomes = model.transcribe_files([CLIP, bad, CLIP])
    assert next(outcomes).transcript.text == "go forward ten meters"
    assert isinstance(failed := next(outcomes), speech_coreml.Failure)
    assert (failed.file, failed.exit_code) == (str(bad), 2)
    result = next(outcomes)
    assert speech_coreml.render([result], "srt").startswith("1\n00:00:00,")


def test_notes_go_to_the_logger(model, caplog, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    with caplog.at_level(logging.WARNING, logger="speech_coreml"):
        assert model.transcribe(tmp_path / "silence.wav").text == ""
    assert "silent" in caplog.text


def test_progress_is_reported(model):
    seen = []
    model.transcribe(CLIP, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1][0] == seen[-1][1] > 0


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros((0,), np.float32), r"the array is \[0\]"),
        (np.zeros((2, 3, 4), np.float32), r"\[2, 3, 4\]"),
        (np.zeros(9, np.int32), "int32"),
        (np.full(9, np.nan, np.float32), "9 NaN"),
    ],
)
def test_an_array_that_is_no_audio_is_refused(model, array, complaint):
    with pytest.raises(speech_coreml.AudioError, match=complaint):
        model.transcribe(array)


def test_what_belongs_to_files_or_arrays_alone(model):
    with pytest.raises(ValueError, match="sample_rate"):
        model.transcribe(CLIP, sample_rate=16000)
    with pytest.raises(ValueError, match="track"):
        model.transcribe(np.zeros(16000, np.float32), track=1)


def test_another_task_is_refused_with_what_it_does(model):
    with pytest.raises(speech_coreml.OptionError, match=r"does not speak. Call transcribe\(\)"):
        model.speak("hello")
    with pytest.raises(speech_coreml.OptionError, match="does not align"):
        model.align(CLIP, "go")


def test_options_are_those_of_infer(parakeet_bundle):
    assert speech_coreml.load(parakeet_bundle, max_symbols="3").transcribe(CLIP).text == "go forward ten meters"
    with pytest.raises(speech_coreml.OptionError, match=r"no option loudness\. Its options are max_symbols\."):
        speech_coreml.load(parakeet_bundle, loudness=3)


def test_what_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(speech_coreml.BundleError):
        speech_coreml.load(tmp_path)
