"""Made once a worker: tiny checkpoints, and a bundle that `convert` wrote."""

import pytest

from models.cohere_transcribe import MODEL
from tests.models.cohere_transcribe.tiny import CONFIGS, save_tiny_checkpoint
from toolkit.export.convert import ConvertRequest, convert, prepare

# 22 s are 2200 mel frames: more than float16 counts.
BUNDLE_OPTIONS = {"audio_seconds": "4,22", "decoder": "stateful,external,stateless", "max_tokens": 60, "head": "raw"}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Name of a config -> folder of its checkpoint."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, sizes in CONFIGS.items():
        save_tiny_checkpoint(folder / name, **sizes)
    return {name: folder / name for name in CONFIGS}


@pytest.fixture(scope="session")
def small(checkpoints):
    """The checkpoint without any special size."""
    return checkpoints["small"]


@pytest.fixture(scope="session")
def converted(small, tmp_path_factory):
    """A float16 bundle with all decoders and two audio lengths; not to be changed."""
    request = ConvertRequest(
        MODEL, str(small), output=tmp_path_factory.mktemp("converted") / "bundle", options=BUNDLE_OPTIONS
    )
    return convert(prepare(request)).bundle
