"""The licence of a checkpoint, from its card or its LICENSE."""

import pytest

from toolkit.publish.licence import licence_names, read_licence

CARD = "---\nlicense: cc-by-4.0\nlanguage:\n- en\n- de\n---\n# A model\n"
FILES = {
    "cc-by-sa-4.0": "The weights are licensed under the\nCreative Commons Attribution-ShareAlike 4.0 International",
    "cc-by-4.0": "Creative Commons Attribution 4.0 International Public License",
    "cc-by-nc-4.0": "Creative Commons Attribution-NonCommercial 4.0 International",
    "cc0-1.0": "dedicated to the public domain under CC0 1.0 Universal",
    "apache-2.0": "                                 Apache License\n                           Version 2.0",
    "mit": "MIT License\n\nCopyright",
    "other": "You may look, but not touch.",
}


@pytest.mark.parametrize("known", FILES)
def test_a_licence_file_is_recognised_by_its_start(tmp_path, known):
    (tmp_path / "LICENSE").write_text(FILES[known])
    found = read_licence(tmp_path)
    assert (found.id, found.source, found.text) == (known, "LICENSE", FILES[known].encode())


def test_the_card_has_the_first_word(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "LICENSE").write_text(FILES["mit"])
    found = read_licence(tmp_path)
    assert (found.id, found.source, found.languages) == ("cc-by-4.0", "model card", ("en", "de"))


@pytest.mark.parametrize("card", ["", "# words", "---\nlicense: [\n---\n", "---\nlicense:\n---\n"])
def test_a_card_without_a_licence_says_nothing(tmp_path, card):
    (tmp_path / "README.md").write_text(card)
    assert read_licence(tmp_path).id == "other"


def test_nothing_is_known_of_an_empty_folder(tmp_path):
    found = read_licence(tmp_path)
    assert (found.id, found.source, found.text) == ("other", "", None)


def test_only_these_files_are_fetched():
    assert licence_names(["LICENSE", "README.md", "model.safetensors", "sub/LICENSE"]) == ["LICENSE", "README.md"]
