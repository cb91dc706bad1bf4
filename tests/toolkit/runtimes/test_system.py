"""What a Mac is told before anything runs on it."""

import platform

import pytest

from toolkit.runtimes import system
from toolkit.runtimes.system import check_system


@pytest.fixture
def machine(monkeypatch):
    """A Mac of this version and processor, where coremltools' native module loads."""

    def faked(version, processor="arm64", name="Darwin"):
        monkeypatch.setattr(platform, "system", lambda: name)
        monkeypatch.setattr(platform, "machine", lambda: processor)
        monkeypatch.setattr(platform, "mac_ver", lambda: (version, ("", "", ""), processor))
        monkeypatch.setattr(system, "native_module_error", lambda: None)

    return faked


@pytest.mark.parametrize(
    ("version", "target"), [("15.0", "iOS18"), ("26.1", "iOS18"), ("15.6.1", "macOS15"), ("14.0", "iOS17")]
)
def test_nothing_to_say(machine, version, target):
    machine(version)
    assert check_system(target) is None


@pytest.mark.parametrize("version", ["", "10.16"])
def test_a_version_that_is_not_known(machine, version):
    machine(version)
    assert check_system() is None


def test_another_system(machine):
    machine("", "x86_64", "Linux")
    assert check_system() is None


@pytest.mark.parametrize(
    ("version", "processor", "target", "words"),
    [
        ("15.1", "x86_64", "iOS18", ("Intel", "no wheels", "arm64 Python")),
        ("14.7", "arm64", "iOS18", ("macOS 14.7", "iOS18 from macOS 15", "--target iOS17", "--runtime portable")),
        ("13.6", "arm64", "iOS18", ("macOS 13.6", "from macOS 15", "--runtime portable")),
        ("12.7", "arm64", "iOS17", ("iOS17 from macOS 14", "--runtime portable")),
        ("11.7", "arm64", "iOS18", ("macOS 11.7", "needs macOS 12")),
        ("14.7", "arm64", "iOS19", ("from macOS 15",)),
    ],
)
def test_what_does_not_work_is_one_line(machine, version, processor, target, words):
    machine(version, processor)
    line = check_system(target)
    assert "\n" not in line
    assert line.endswith(".")
    for word in words:
        assert word in line


def test_macos_13_is_not_advised_a_target_that_it_cannot_load(machine):
    machine("13.6")
    assert "--target" not in check_system()


def test_a_missing_native_module_is_told(machine, monkeypatch):
    machine("15.1")
    monkeypatch.setattr(system, "native_module_error", lambda: "libcoremlpython is damaged")
    assert check_system() == (
        "Core ML cannot be used: libcoremlpython is damaged. `--runtime portable` runs everything here."
    )
