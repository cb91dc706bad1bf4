"""Fixtures of the tests of `.nemo` files."""

import pytest

from tests.models.parakeet_tdt.tiny import save_tiny_checkpoint
from toolkit.cache import CACHE_VARIABLE


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random checkpoint in transformers' layout."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_checkpoint(folder)
    return folder


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "in" / "tiny.nemo"
