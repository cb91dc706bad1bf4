"""How a bundle takes the place of another, and what is left if that is cut off."""

import errno
from pathlib import Path

import pytest

from toolkit.bundle.place import place_of, take_place, tidy, wait_for
from toolkit.errors import OutputError


@pytest.fixture
def place(tmp_path):
    return tmp_path / "bundle"


def folder(path, content):
    path.mkdir()
    (path / "file").write_text(content)
    return path


def names(path):
    return sorted(item.name for item in path.iterdir())


def test_the_new_one_takes_the_place(place, tmp_path):
    for content in ("first", "second"):
        take_place(folder(tmp_path / "fresh", content), place)
        assert (place / "file").read_text() == content
        assert names(tmp_path) == ["bundle"]


def test_a_folder_beside_it_that_is_called_old_is_the_users(place, tmp_path):
    folder(tmp_path / "bundle.old", "years of work")
    take_place(folder(tmp_path / "fresh", "first"), place)
    take_place(folder(tmp_path / "fresh", "second"), place)
    assert (tmp_path / "bundle.old" / "file").read_text() == "years of work"


def test_a_disk_that_refuses_the_second_rename_leaves_the_former_one(place, tmp_path, monkeypatch):
    folder(place, "former")
    fresh, rename = folder(tmp_path / "fresh", "new"), Path.rename

    def refuse(self, target):
        if self == fresh:
            raise OSError(errno.EIO, "broken")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="broken"):
        take_place(fresh, place)
    assert (place / "file").read_text() == "former"


@pytest.mark.parametrize("call", [tidy, wait_for])
def test_a_bundle_whose_writer_died_between_the_renames_has_its_name_again(place, tmp_path, call):
    folder(tmp_path / ".bundle.old", "former")
    call(place)
    assert (place / "file").read_text() == "former"
    assert names(tmp_path) == ["bundle"]


def test_a_former_one_beside_a_new_one_goes(place, tmp_path):
    folder(tmp_path / ".bundle.old", "former")
    folder(place, "new")
    tidy(place)
    assert (place / "file").read_text() == "new"
    assert names(tmp_path) == ["bundle"]


def test_a_link_names_what_it_leads_to(place, tmp_path):
    folder(tmp_path / "elsewhere", "")
    place.symlink_to(tmp_path / "elsewhere")
    assert place_of(place) == tmp_path / "elsewhere"


@pytest.mark.parametrize("output", [".", "..", "bundle/.."])
def test_an_output_without_a_name_is_refused(output):
    with pytest.raises(OutputError, match="name of its own"):
        place_of(Path(output))
