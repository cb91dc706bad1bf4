"""WAV headers that do not know, do not fit, or are followed by something else."""

import numpy as np
import pytest

from tests.toolkit.audio.carriers import CARRIERS, encoded, speech
from toolkit.audio.read import read_audio
from toolkit.errors import AudioError

CONTENT = encoded(CARRIERS["wav"], speech()[None])
AT = CONTENT.index(b"data") + 4
PROMISED = int.from_bytes(CONTENT[AT : AT + 4], "little")


def with_size(size):
    return CONTENT[:4] + bytes(4) + CONTENT[8:AT] + size.to_bytes(4, "little") + CONTENT[AT + 4 :]


def read(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    return read_audio(tmp_path / "a.wav", 16000)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFD3, 0xFFFFFFFF])
def test_sizes_that_were_never_filled_in(tmp_path, size):
    np.testing.assert_allclose(read(tmp_path, with_size(size)), speech(), atol=1 / 32768)


@pytest.mark.parametrize("size", [PROMISED + 1, 2 * PROMISED, 0x7FFF0000, 0xC0000000])
def test_a_promise_that_is_not_kept(tmp_path, size):
    with pytest.raises(AudioError, match=f"its header promises {size} bytes of samples, {PROMISED} are there"):
        read(tmp_path, with_size(size))


@pytest.mark.parametrize("size", [2, PROMISED // 2, PROMISED - 2000])
def test_a_header_that_promises_less_than_there_is(tmp_path, size):
    with pytest.raises(AudioError, match=f"but {PROMISED - size} more follow that are no chunk"):
        read(tmp_path, with_size(size))


@pytest.mark.parametrize(
    "rest",
    [
        b"LIST\x04\0\0\0INFO",
        b"id3 \x03\0\0\0abc\0",
        b"id3 \x03\0\0\0abc",
        b"TAG" + bytes(125),
        bytes(512),
        b"\0",
        b"_PMX\x02\0\0\0hiLIST\x04\0\0\0INFO",
    ],
)
def test_what_may_follow_the_samples(tmp_path, rest):
    assert len(read(tmp_path, CONTENT + rest)) == len(speech())


def test_a_wav_after_a_wav_is_read_too(tmp_path):
    assert len(read(tmp_path, CONTENT * 3)) == 3 * len(speech())
