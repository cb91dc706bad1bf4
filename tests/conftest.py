"""Let coremltools' own warnings pass; everything else runs under `-W error`."""

import os

import pytest

# Tiny tensors, and a worker a core: more threads only wait for each other. Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from toolkit.quiet import coremltools

coremltools()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Translated checkpoints of the tests are not the user's."""
    os.environ["SPEECH_COREML_CACHE"] = str(tmp_path_factory.mktemp("translated"))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on this machine that this process fetches from; nothing is cached yet."""
    from huggingface_hub import constants

    from tests.hub import running

    with running(tmp_path / "hub") as found:
        files = found.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("SPEECH_COREML_CACHE", str(tmp_path / "translated"))
        yield found


@pytest.fixture(scope="session")
def parakeet_bundle(tmp_path_factory):
    """A bundle of the demo checkpoint for audio of 4 s; not to be changed, others may be written beside it."""
    from commands.conversion import ConvertRequest, convert, prepare
    from models.parakeet_tdt import MODEL

    folder = tmp_path_factory.mktemp("parakeet") / "bundle"
    request = ConvertRequest(MODEL, checkpoint="demo", output=folder, options={"audio_seconds": "4"})
    assert convert(prepare(request)).passed
    return folder


def pytest_configure(config: pytest.Config) -> None:
    # coremltools' MLModel leaves its temporary folder to the garbage collector.
    config.addinivalue_line("filterwarnings", "ignore:Implicitly cleaning up <TemporaryDirectory:ResourceWarning")


# Files of a minute or more come first, so that no worker is left alone with one at the end.
LONGEST = ("test_readme.py", "test_convert.py", "test_conformance.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)
