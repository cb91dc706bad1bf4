"""Folders as input."""

from pathlib import Path

import pytest

from toolkit.audio.folders import expand_sources
from toolkit.errors import AudioError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.WAV", "a.m4a", "._a.m4a", ".DS_Store", ".hidden.wav", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "c.wav").mkdir()
    return tmp_path


def test_files_stay_and_folders_are_their_audio_files(folder):
    notes = []
    found = expand_sources(["z.xyz", str(folder), "-"], notes.append)
    assert found == ["z.xyz", str(folder / "a.m4a"), str(folder / "b.WAV"), "-"]
    assert notes == [f"{folder}: left out, as no audio files by their names: c.wav/, notes.txt"]


def test_what_is_left_out_is_one_line_however_many(folder):
    notes = []
    for index in range(5):
        (folder / f"{index}.txt").touch()
    expand_sources([str(folder)], notes.append)
    assert notes[0].endswith("0.txt, 1.txt, 2.txt and 4 more")


def test_a_folder_without_audio(tmp_path):
    with pytest.raises(AudioError, match="is a folder without audio files"):
        expand_sources([str(tmp_path)])


def test_a_name_that_is_too_long():
    with pytest.raises(AudioError, match="n cannot be read: File name too long"):
        expand_sources(["n" * 300])


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(AudioError, match="cannot be read: Permission denied"):
        expand_sources([str(tmp_path)])
