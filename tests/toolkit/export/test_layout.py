"""The cache of translated checkpoints: made once, whole or not at all, made anew when its origin has gone."""

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models.parakeet_tdt import MODEL
from toolkit.cache import CACHE_VARIABLE, cache_folder
from toolkit.errors import CheckpointError, OutputError
from toolkit.export.layout import layouts_of, translated


@dataclass
class Letters:
    """A foreign checkpoint of one file."""

    files: dict[str, Path] = field(default_factory=dict)
    fails: bool = False
    written: int = 0

    def write(self, folder):
        self.written += 1
        (folder / "config.json").write_text("{}")
        for name, path in self.files.items():
            os.symlink(path, folder / name)
        if self.fails:
            raise CheckpointError("half of it is missing", "Download it again.")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "checkpoints"


def left(cache):
    return [folder.name for folder in cache.glob("*/*")]


def test_it_is_made_once(cache):
    letters = Letters()
    first = translated(MODEL, {"a": "1"}, letters)
    assert translated(MODEL, {"a": "1"}, letters) == first
    assert letters.written == 1
    assert left(cache) == [first.name]
    assert first.parent == cache / MODEL.id


def test_other_files_are_another_checkpoint():
    assert translated(MODEL, {"a": "1"}, Letters()) != translated(MODEL, {"a": "2"}, Letters())


def test_a_failure_leaves_nothing(cache):
    with pytest.raises(CheckpointError):
        translated(MODEL, {"a": "1"}, Letters(fails=True))
    assert left(cache) == []


def test_a_link_to_a_file_that_has_gone_is_made_anew(tmp_path):
    weights = tmp_path / "weights"
    weights.touch()
    letters = Letters({"model.safetensors": weights})
    folder = translated(MODEL, {"a": "1"}, letters)
    weights.rename(tmp_path / "moved")
    moved = Letters({"model.safetensors": tmp_path / "moved"})
    assert translated(MODEL, {"a": "1"}, moved) == folder
    assert (folder / "model.safetensors").resolve() == tmp_path / "moved"


def test_a_cache_that_cannot_be_written(cache):
    cache.parent.write_text("a file")
    with pytest.raises(OutputError):
        translated(MODEL, {"a": "1"}, Letters())


def test_another_process_was_faster(cache):
    """It is waited for, and what it made is taken."""
    started, letters, late = threading.Event(), Letters(), Letters()

    def slow(folder):
        started.set()
        time.sleep(0.3)
        Letters.write(letters, folder)

    letters.write = slow
    first = threading.Thread(target=translated, args=(MODEL, {"a": "1"}, letters))
    first.start()
    started.wait()
    folder = translated(MODEL, {"a": "1"}, late)
    first.join()
    assert (letters.written, late.written) == (1, 0)
    assert left(cache) == [folder.name]


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("checkpoints") == tmp_path / "speech-coreml" / "checkpoints"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("checkpoints") == tmp_path / ".cache" / "speech-coreml" / "checkpoints"


def test_a_model_without_further_layouts(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert layouts_of(MODEL) == ()
