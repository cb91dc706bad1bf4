"""Choosing a runtime."""

import sys
from types import SimpleNamespace

import pytest

from toolkit.errors import UnsupportedError
from toolkit.runtimes import open as opening
from toolkit.runtimes.open import open_runtime, resolve


@pytest.mark.parametrize(("platform", "name"), [("darwin", "coreml"), ("linux", "portable")])
def test_auto(monkeypatch, platform, name):
    monkeypatch.setattr(sys, "platform", platform)
    assert resolve("auto") == name


@pytest.mark.parametrize("name", ["coreml", "portable", "eager"])
def test_a_name_is_itself(name):
    assert resolve(name) == name


class FakeBundle:
    def locate(self, component, function):
        raise AssertionError("nothing is loaded on opening")


class FakeModel:
    def module(self, part):
        assert part == "export"
        return self

    def plan(self, folder, options):
        return ("plan", folder, options)


def test_portable_and_eager(monkeypatch):
    bundle = FakeBundle()
    bundle.manifest = SimpleNamespace(options={"audio_seconds": "5"})
    found = SimpleNamespace(folder="checkpoint")
    monkeypatch.setattr("toolkit.export.checkpoint.checkpoint_of_bundle", lambda bundle, model: found)
    assert open_runtime("portable", bundle, FakeModel()).name == "portable"
    eager = open_runtime("eager", bundle, FakeModel())
    assert (eager.name, eager._plan) == ("eager", ("plan", "checkpoint", {"audio_seconds": "5"}))


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is there")
def test_coreml_off_macos_is_refused():
    with pytest.raises(UnsupportedError, match="needs macOS"):
        open_runtime("coreml", FakeBundle(), FakeModel())


@pytest.mark.parametrize(("name", "needs"), [("portable", "needs torch"), ("eager", "needs torch and transformers")])
def test_without_torch_it_says_so(monkeypatch, name, needs):
    monkeypatch.setattr(opening, "find_spec", lambda module: None)
    with pytest.raises(UnsupportedError, match=needs):
        open_runtime(name, FakeBundle(), FakeModel())
