"""Folders of a cache are made once, whole or not at all."""

import pytest

from toolkit.cache import made_once


def is_whole(folder):
    return (folder / "done").is_file()


def make(folder):
    (folder / "done").touch()


def test_it_is_made_once(tmp_path):
    folder = tmp_path / "kind" / "key"
    assert made_once(folder, is_whole, make)
    assert not made_once(folder, is_whole, lambda fresh: pytest.fail("made again"))
    assert [p.name for p in folder.parent.iterdir()] == ["key"]


def test_what_killed_processes_left_goes(tmp_path):
    for name in ("key", ".key.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    (tmp_path / ".key.lock").touch()
    assert made_once(tmp_path / "key", is_whole, make)
    assert [p.name for p in tmp_path.rglob("*")] == ["key", "done"]


def test_a_failure_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "half").touch()
        raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        made_once(tmp_path / "key", is_whole, fail)
    assert not list(tmp_path.iterdir())
