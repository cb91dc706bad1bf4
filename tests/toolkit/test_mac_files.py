"""Files as macOS treats them."""

import os
from pathlib import Path

import coremltools as ct
import numpy as np
import pytest

from milrun import standin
from tests.milrun.standin.models import add_one
from toolkit.mac_files import colliding, is_clutter, unexpanded


@pytest.mark.parametrize("path", [".DS_Store", "Data/.DS_Store", "._a.wav", "__MACOSX/a/b", "a/__MACOSX"])
def test_clutter(path):
    assert is_clutter(Path(path))


@pytest.mark.parametrize(
    "path", ["a.wav", "DS_Store", "_a.wav", ".a", "..a", "a._b", "__MACOS/x", "weights/weight.bin"]
)
def test_files_of_the_user(path):
    assert not is_clutter(Path(path))


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (("a", "b", "A"), ("a", "A")),
        (("stra\u00dfe", "STRASSE"), ("stra\u00dfe", "STRASSE")),
        (("caf\u00e9", "cafe\u0301"), ("caf\u00e9", "cafe\u0301")),
        (("caf\u00e9", "cafe"), None),
        (("a", "b"), None),
        ((), None),
    ],
)
def test_names_that_are_one_file(names, pair):
    assert colliding(names) == pair


@pytest.fixture
def variable(monkeypatch):
    monkeypatch.setenv("standin_price", "elsewhere")
    return "$standin_price"


@pytest.mark.parametrize("name", ["{}", "{}/deeper", "cost ${{standin_price}}", "5{}"])
def test_a_package_below_a_dollar_loads(tmp_path, variable, name):
    package = Path(add_one(tmp_path / name.format(variable)))
    with standin.predictions():
        with pytest.raises(Exception, match="elsewhere"):
            ct.models.MLModel(str(package))
        with unexpanded(package) as path:
            model = ct.models.MLModel(path)
        assert not os.path.lexists(path)
        assert (model.predict({"x": np.ones((2, 3), np.float32)})["y"] == 2).all()


def test_a_path_without_a_variable_is_itself(tmp_path, monkeypatch):
    monkeypatch.delenv("standin_nobody", raising=False)
    monkeypatch.chdir(tmp_path)
    with unexpanded(Path("$standin_nobody/a.mlpackage")) as path:
        assert path == str(tmp_path / "$standin_nobody" / "a.mlpackage")
