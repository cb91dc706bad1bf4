"""Reading audio: what is right, and one clear line for each thing that is not."""

import io
import os
import stat
import sys
import threading

import numpy as np
import pytest
import soundfile

from toolkit.audio.read import read_audio
from toolkit.errors import AudioError

RATE = 16000


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)


def tone(seconds=1.0, rate=RATE, hz=440.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def written(path, samples, rate=RATE, **options):
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"])
def test_formats(tmp_path, suffix):
    audio = read_audio(written(tmp_path / f"a.{suffix}", tone()), RATE)
    assert (audio.dtype, audio.ndim, len(audio)) == (np.float32, 1, RATE)
    assert np.abs(audio - tone()).mean() < 0.02


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_sample_formats(tmp_path, subtype):
    audio = read_audio(written(tmp_path / "a.wav", tone(), subtype=subtype), RATE)
    np.testing.assert_allclose(audio, tone(), atol=0.02)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_become_their_mean(tmp_path, channels):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, channels)).astype(np.float32)
    audio = read_audio(written(tmp_path / "a.wav", samples, subtype="FLOAT"), RATE)
    np.testing.assert_allclose(audio, samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_any_rate_becomes_the_models(tmp_path, rate):
    audio = read_audio(written(tmp_path / "a.wav", tone(rate=rate), rate, subtype="FLOAT"), RATE)
    assert abs(len(audio) - RATE) <= 1
    inner = slice(1000, RATE - 1000)
    np.testing.assert_allclose(audio[inner], tone()[inner], atol=1e-3)


def test_the_models_own_rate_is_untouched(tmp_path):
    np.testing.assert_array_equal(read_audio(written(tmp_path / "a.wav", tone(), subtype="FLOAT"), RATE), tone())


def test_more_than_one_block(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (1 << 20) + 77).astype(np.float32)
    np.testing.assert_array_equal(read_audio(written(tmp_path / "a.wav", samples, subtype="FLOAT"), RATE), samples)


def test_standard_input(tmp_path, monkeypatch):
    content = written(tmp_path / "a.flac", tone()).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    np.testing.assert_allclose(read_audio("-", RATE), tone(), atol=1e-4)


def test_a_named_pipe(tmp_path):
    content = written(tmp_path / "a.wav", tone()).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()
    assert len(read_audio(pipe, RATE)) == RATE
    writer.join()


def test_a_streamed_wav_has_no_length_in_its_header(tmp_path):
    path = written(tmp_path / "a.wav", tone())
    content = bytearray(path.read_bytes())
    content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(read_audio(path, RATE)) == RATE


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    return path


BAD = {
    "missing": (lambda p: p / "none.wav", r"none.wav does not exist\. Check the path"),
    "folder": (lambda p: p, r"is a folder, not a file"),
    "empty": (lambda p: cut(written(p / "a.wav", tone()), 0), r"empty file \(0 bytes\)"),
    "text": (lambda p: text(p / "a.wav", "This is no audio. Größe 5\n" * 90), r"contains text, not audio"),
    "html": (lambda p: text(p / "a.mp3", "<html>404</html>"), r"contains text, not audio"),
    "noise": (lambda p: data(p / "a.wav", bytes(range(256)) * 9), r"not audio that can be read here.*no ffmpeg"),
    "no_samples": (lambda p: written(p / "a.wav", np.zeros(0, np.float32)), r"contains 0 samples"),
    "nan": (lambda p: written(p / "a.wav", np.float32([0, np.nan]), subtype="FLOAT"), r"1 NaN or infinite samples"),
    "inf": (lambda p: written(p / "a.wav", np.float32([np.inf] * 3), subtype="FLOAT"), r"3 NaN or infinite samples"),
    "cut_wav": (lambda p: cut(written(p / "a.wav", tone()), 9000), r"damaged: its header promises 32000 bytes"),
    "cut_flac": (lambda p: cut(written(p / "a.flac", tone()), 9000), r"a.flac is damaged"),
}


def text(path, content):
    path.write_text(content)
    return path


def data(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", BAD)
def test_bad_audio_is_one_clear_line(tmp_path, case):
    make, complaint = BAD[case]
    with pytest.raises(AudioError, match=complaint) as caught:
        read_audio(make(tmp_path), RATE)
    assert "\n" not in str(caught.value)
    assert caught.value.next_step.endswith(".")


@pytest.mark.parametrize("content", [b"", b"plain words"])
def test_bad_standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(AudioError, match="standard input"):
        read_audio("-", RATE)


FAKE_FFMPEG = """#!{python}
import os, shutil, sys
source = sys.argv[sys.argv.index("-i") + 1].removeprefix("file:")
if b"broken" in open(source, "rb").read():
    print("header junk\\nInvalid data found when processing input", file=sys.stderr)
    sys.exit(1)
shutil.copy(os.environ["DECODED"], sys.argv[-1])
"""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text(FAKE_FFMPEG.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("shutil.which", lambda name: str(program))
    monkeypatch.setenv("DECODED", str(written(tmp_path / "decoded.wav", tone(rate=48000), 48000)))


@pytest.mark.usefixtures("ffmpeg")
def test_what_libsndfile_does_not_know_goes_to_ffmpeg(tmp_path):
    assert abs(len(read_audio(data(tmp_path / "a.m4a", b"\x00\x01\x02ftypM4A "), RATE)) - RATE) <= 1


@pytest.mark.usefixtures("ffmpeg")
def test_what_ffmpeg_refuses_is_an_error_with_its_words(tmp_path):
    with pytest.raises(AudioError, match=r"neither libsndfile nor ffmpeg reads it \(Invalid data found"):
        read_audio(data(tmp_path / "a.m4a", b"\x00\x01broken"), RATE)


@pytest.mark.usefixtures("ffmpeg")
def test_ffmpeg_takes_standard_input_too(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\x00\x01\x02ftypM4A ")))
    assert abs(len(read_audio("-", RATE)) - RATE) <= 1
