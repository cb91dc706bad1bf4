"""Writing audio: whole or not at all, or readable at all times while it grows."""

import errno
import os
import re
import resource
import stat
import struct
import threading

import numpy as np
import pytest
import soundfile

from toolkit.audio.read import read_audio
from toolkit.errors import Interrupted, OutputError, RuntimeFault
from toolkit.output import audio as write
from toolkit.output.audio import (
    GrowingWav,
    Written,
    check_audio_output,
    check_growing_output,
    pcm_from_float,
    stream_pcm,
    stream_wav,
    write_audio,
)

RATE = 24000
LSB = 1 / 32768


def blocks(count=5, samples=1920):
    random = np.random.default_rng(0)
    return [random.uniform(-0.99, 0.99, samples).astype(np.float32) for _ in range(count)]


def failing(count, error):
    yield from blocks(count)
    raise error


@pytest.fixture
def full_disk():
    """A function that lets no file grow past a size; the system then answers as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("sample", "integer", "clipped"),
    [
        (0.0, 0, 0),
        (LSB, 1, 0),
        (-LSB, -1, 0),
        (0.5 * LSB, 0, 0),
        (1.5 * LSB, 2, 0),
        (2.5 * LSB, 2, 0),
        (-1.5 * LSB, -2, 0),
        (1 - LSB, 32767, 0),
        (1.0, 32767, 0),
        (-1.0, -32768, 0),
        (1.001, 32767, 1),
        (-1.001, -32768, 1),
        (9.0, 32767, 1),
    ],
)
def test_rounding_and_clipping(sample, integer, clipped):
    pcm, outside = pcm_from_float(np.full(3, sample, np.float32))
    assert (pcm.dtype.str, pcm.tolist(), outside) == ("<i2", [integer] * 3, 3 * clipped)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path, bad):
    with pytest.raises(RuntimeFault, match="2 samples to write are NaN or infinite"):
        write_audio(tmp_path / "a.wav", np.array([0, bad, bad], np.float32), RATE)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "A.WAV"])
def test_written_audio_reads_back(tmp_path, name):
    audio = np.concatenate(blocks())
    assert write_audio(tmp_path / name, blocks(), RATE) == Written(len(audio), 0)
    info = soundfile.info(tmp_path / name)
    assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
    assert np.abs(soundfile.read(tmp_path / name, dtype="float32")[0] - audio).max() <= LSB / 2
    assert np.abs(read_audio(tmp_path / name, RATE) - audio).max() <= LSB / 2  # our own reading finds nothing wrong
    assert os.listdir(tmp_path) == [name]
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask()


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_an_array_is_one_block(tmp_path, name):
    assert write_audio(tmp_path / name, np.linspace(-2, 2, 5, dtype=np.float32), 8000) == Written(5, 2)
    assert soundfile.read(tmp_path / name, dtype="int16")[0].tolist() == [-32768, -32768, 0, 32767, 32767]


def test_no_samples(tmp_path):
    assert write_audio(tmp_path / "a.wav", np.zeros(0, np.float32), 8000) == Written(0, 0)
    assert soundfile.info(tmp_path / "a.wav").frames == 0


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("oops"), OSError(errno.EIO, "of the maker")])
def test_a_fault_leaves_what_was_there(tmp_path, name, error):
    (tmp_path / name).write_text("old")
    with pytest.raises(type(error)) as caught:
        write_audio(tmp_path / name, failing(3, error), RATE)
    assert caught.value is error  # also an OSError: it is not the file's
    assert (tmp_path / name).read_text() == "old"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("size", [0, 9000])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_full_disk_leaves_nothing(tmp_path, full_disk, name, size):
    """9000 bytes: the FLAC is refused when its last frames are written, of which libsndfile tells nothing."""
    full_disk(size)
    with pytest.raises(OutputError, match=re.escape(f"cannot write {tmp_path / name}: File too large")):
        write_audio(tmp_path / name, blocks(3), RATE)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("a.mp3", "audio is written as WAV or FLAC. Give a name that ends in .wav or .flac."),
        ("a", "audio is written as WAV or FLAC"),
        ("none/a.wav", "there is no folder"),
        ("folder.wav", "it is a folder"),
    ],
)
@pytest.mark.parametrize("check", [check_audio_output, check_growing_output, lambda p: write_audio(p, [], RATE)])
def test_paths_that_cannot_be_written(tmp_path, check, path, complaint):
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(OutputError, match=re.escape(complaint)):
        check(tmp_path / path)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("a.flac", "only a WAV can be read while it grows"),
        ("pipe.wav", "it is not a regular file"),
        ("kept.wav", "it is read-only"),
    ],
)
def test_paths_that_cannot_grow(tmp_path, monkeypatch, name, complaint):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "kept.wav").write_text("old")
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: path.name != "kept.wav" and access(path, mode))
    check_audio_output(tmp_path / name)
    with pytest.raises(OutputError, match=complaint):
        stream_wav(tmp_path / name, blocks(), RATE)


def test_a_growing_wav_is_whole_after_every_block(tmp_path):
    path, made = tmp_path / "a.wav", blocks()

    def watched():
        for index, block in enumerate(made):
            yield block
            audio, rate = soundfile.read(path, dtype="float32")
            assert rate == RATE
            assert np.abs(audio - np.concatenate(made[: index + 1])).max() <= LSB / 2
            assert len(read_audio(path, RATE)) == len(audio)

    assert stream_wav(path, watched(), RATE) == Written(5 * 1920, 0)
    write_audio(tmp_path / "b.wav", made, RATE)
    assert path.read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_the_header_never_promises_more_than_is_there(tmp_path, monkeypatch):
    """Looked at after every single write, not only after every block."""
    path, seen, write_all = tmp_path / "a.wav", [], write._write_all

    def spied(descriptor, data):
        write_all(descriptor, data)
        content = path.read_bytes()
        riff, size = struct.unpack("<I", content[4:8])[0], struct.unpack("<I", content[40:44])[0]
        assert size + 36 == riff
        assert 44 + size <= len(content)
        seen.append(size)

    monkeypatch.setattr(write, "_write_all", spied)
    stream_wav(path, blocks(2, 100), RATE)
    assert seen == [0, 0, 200, 200, 400]


def test_ctrl_c_leaves_a_wav_of_what_was_made(tmp_path):
    path = tmp_path / "a.wav"
    with pytest.raises(Interrupted, match=re.escape(f"{path} holds the first 0.24 s")):
        stream_wav(path, failing(3, KeyboardInterrupt()), RATE)
    assert np.abs(soundfile.read(path, dtype="float32")[0] - np.concatenate(blocks(3))).max() <= LSB / 2


def test_ctrl_c_amid_a_block_cuts_it_off(tmp_path, monkeypatch):
    path, write_all = tmp_path / "a.wav", write._write_all

    def interrupted(descriptor, data):
        if os.fstat(descriptor).st_size > 5000:
            write_all(descriptor, data[:101])
            monkeypatch.setattr(write, "_write_all", write_all)
            raise KeyboardInterrupt
        write_all(descriptor, data)

    monkeypatch.setattr(write, "_write_all", interrupted)
    with pytest.raises(Interrupted):
        stream_wav(path, blocks(4), RATE)
    assert path.stat().st_size in (44 + 3840, 44 + 2 * 3840)
    assert soundfile.info(path).frames * 2 + 44 == path.stat().st_size


def test_a_fault_leaves_a_wav_of_what_was_made(tmp_path):
    with pytest.raises(RuntimeFault, match="broke"):
        stream_wav(tmp_path / "a.wav", failing(2, RuntimeFault("it broke", "Report it.")), RATE)
    assert soundfile.info(tmp_path / "a.wav").frames == 2 * 1920


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeFault("it broke", "Report it.")])
def test_a_fault_before_the_first_block_touches_nothing(tmp_path, error):
    (tmp_path / "a.wav").write_text("old")
    for name in ("a.wav", "b.wav"):
        with pytest.raises(type(error)):
            stream_wav(tmp_path / name, failing(0, error), RATE)
    assert os.listdir(tmp_path) == ["a.wav"]
    assert (tmp_path / "a.wav").read_text() == "old"


def test_a_disk_that_fills_up_leaves_a_wav_of_what_was_made(tmp_path, full_disk):
    full_disk(44 + 2 * 3840 + 1001)
    with pytest.raises(OutputError, match=re.escape(f"cannot write {tmp_path / 'a.wav'}: File too large")):
        stream_wav(tmp_path / "a.wav", blocks(), RATE)
    assert soundfile.info(tmp_path / "a.wav").frames == 2 * 1920
    assert (tmp_path / "a.wav").stat().st_size == 44 + 2 * 3840


def test_a_disk_that_is_full_leaves_no_empty_file(tmp_path, full_disk):
    full_disk(0)
    with pytest.raises(OutputError, match="File too large"):
        stream_wav(tmp_path / "a.wav", blocks(), RATE)
    assert os.listdir(tmp_path) == []


def test_a_wav_that_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_WAV_LARGEST_BYTES", 3 * 3840)
    with pytest.raises(OutputError, match="a WAV holds 4 GiB"):
        stream_wav(tmp_path / "a.wav", blocks(4), RATE)
    assert soundfile.info(tmp_path / "a.wav").frames == 3 * 1920


def test_a_growing_wav_in_one_piece_is_a_wav(tmp_path):
    with GrowingWav(tmp_path / "a.wav", RATE) as file:
        assert soundfile.info(tmp_path / "a.wav").frames == 0
        file.write(np.arange(3, dtype=np.int16))
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [0, 1, 2]


def test_raw_pcm_is_there_block_by_block():
    reading, writing = os.pipe()
    made, seen = blocks(3, 100), []

    def watched():
        for block in made:
            yield block
            seen.append(os.read(reading, 1000))

    assert stream_pcm(writing, watched()) == Written(300, 0)
    os.close(reading)
    os.close(writing)
    assert seen == [np.rint(block * 32768).astype("<i2").tobytes() for block in made]


def test_raw_pcm_passes_a_pipe_that_is_full():
    reading, writing = os.pipe()
    content = []

    def read():
        with open(reading, "rb") as stream:
            content.append(stream.read())

    reader = threading.Thread(target=read)
    reader.start()
    stream_pcm(writing, blocks(1, 1 << 20))
    os.close(writing)
    reader.join()
    assert content[0] == pcm_from_float(blocks(1, 1 << 20)[0])[0].tobytes()


def test_a_reader_that_leaves():
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        stream_pcm(writing, blocks())
    os.close(writing)


def test_raw_pcm_to_a_full_disk(tmp_path, full_disk):
    full_disk(5000)
    with (tmp_path / "a.pcm").open("wb") as file, pytest.raises(OutputError, match="standard output: File too large"):
        stream_pcm(file.fileno(), blocks())
