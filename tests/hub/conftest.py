"""A fake hub that this process fetches from."""

import pytest

from tests.hub import running


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub; nothing is cached yet, neither by the hub's library nor by us."""
    from huggingface_hub import constants

    with running() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("SPEECH_COREML_CACHE", str(tmp_path / "translated"))
        monkeypatch.setattr("huggingface_hub.utils._http._GLOBAL_CLIENT", None, raising=False)
        yield found
