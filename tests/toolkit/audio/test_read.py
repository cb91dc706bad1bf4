"""Reading audio: what is right, and one clear line for each thing that is not."""

import errno
import io
import os
import sys
import threading

import numpy as np
import pytest
import soundfile
import soxr

from toolkit.audio.read import read_audio
from toolkit.errors import AudioError

RATE = 16000


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


def with_rate(path, rate):
    content = bytearray(written(path, tone()).read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    return data(path, content)


BAD = {
    "missing": (lambda p: p / "none.wav", r"none.wav does not exist\. Check the path"),
    "folder": (lambda p: p, r"is a folder, not a file"),
    "empty": (lambda p: cut(written(p / "a.wav", tone()), 0), r"empty file \(0 bytes\)"),
    "text": (lambda p: text(p / "a.wav", "This is no audio. Größe 5\n" * 90), r"contains text, not audio"),
    "html": (lambda p: text(p / "a.mp3", "<html>404</html>"), r"contains text, not audio"),
    "noise": (
        lambda p: data(p / "a.wav", bytes(range(256)) * 9),
        r"not audio in a format.*headerless samples need a header",
    ),
    "no_samples": (lambda p: written(p / "a.wav", np.zeros(0, np.float32)), r"contains 0 samples"),
    "nan": (lambda p: written(p / "a.wav", np.float32([0, np.nan]), subtype="FLOAT"), r"1 NaN or infinite samples"),
    "inf": (lambda p: written(p / "a.wav", np.float32([np.inf] * 3), subtype="FLOAT"), r"3 NaN or infinite samples"),
    "cut_wav": (lambda p: cut(written(p / "a.wav", tone()), 9000), r"damaged: its header promises 32000 bytes"),
    "slow": (lambda p: with_rate(p / "a.wav", 1), r"has 1 samples per second"),
    "fast": (lambda p: with_rate(p / "a.wav", 0x7FFFFFFF), r"has 2147483647 samples per second"),
    "subtitles": (
        lambda p: text(p / "a.mp4", "1\n00:00:01,000 --> 00:00:02,000\nHallo\n"),
        r"contains text, not audio",
    ),
    "picture": (lambda p: data(p / "a.wav", b"\x89PNG\r\n\x1a\n" + bytes(900)), r"contains no audio track"),
    "headerless": (lambda p: data(p / "a.raw", (tone() * 9000).astype("<i2").tobytes()), r"ffmpeg -f s16le"),
    "playlist": (lambda p: data(p / "a.mp3", b"#EXTM3U\n\0\n#EXTINF:5,\n/etc/passwd\n"), r"not audio in a format"),
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


@pytest.mark.parametrize("name", ["a.raw", "a.mp3", "a", "a.txt"])
def test_the_content_decides_not_the_name(tmp_path, name):
    written(tmp_path / "a.wav", tone()).rename(tmp_path / name)
    np.testing.assert_allclose(read_audio(tmp_path / name, RATE), tone(), atol=1e-4)


def test_silence_is_noted(tmp_path):
    notes = []
    assert len(read_audio(written(tmp_path / "a.wav", np.zeros(RATE)), RATE, notes=notes.append)) == RATE
    assert notes == [f"{tmp_path / 'a.wav'} is silent: all its samples are 0"]


def test_a_note_is_shown_once(tmp_path, capsys):
    for _ in range(2):
        read_audio(written(tmp_path / "a.wav", np.zeros(RATE)), RATE)
    assert capsys.readouterr().err == f"note: {tmp_path / 'a.wav'} is silent: all its samples are 0\n"


@pytest.mark.parametrize("samples", [1, 2, 1000, RATE + 1])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_blocks_are_resampled_as_one(tmp_path, samples, rate):
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)
    expected = soxr.resample(signal, rate, RATE, quality="HQ")
    np.testing.assert_array_equal(
        read_audio(written(tmp_path / "a.wav", signal, rate, subtype="FLOAT"), RATE), expected
    )


def test_no_room_for_standard_input(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"RIFF")))
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(AudioError, match=r"temporary file.*No space left on device\. Set TMPDIR"):
        read_audio("-", RATE)


def test_standard_input_that_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(AudioError, match="standard input is closed"):
        read_audio("-", RATE)


@pytest.mark.parametrize("content", [b"", b"plain words"])
def test_bad_standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(AudioError, match="standard input"):
        read_audio("-", RATE)
