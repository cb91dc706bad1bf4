"""Made once a worker: tiny checkpoints, and a bundle that `convert` wrote."""

import pytest

from models.cohere_transcribe import MODEL
from tests.models.bundles import converted_bundle, saved_checkpoints
from tests.models.cohere_transcribe.tiny import CONFIGS, save_tiny_checkpoint

# 22 s are 2200 mel frames: more than float16 counts.
BUNDLE_OPTIONS = {"audio_seconds": "4,22", "decoder": "stateful,external,stateless", "max_tokens": 60, "head": "raw"}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Name of a config -> folder of its checkpoint."""
    return saved_checkpoints(tmp_path_factory.mktemp("checkpoints"), CONFIGS, save_tiny_checkpoint)


@pytest.fixture(scope="session")
def small(checkpoints):
    """The checkpoint without any special size."""
    return checkpoints["small"]


@pytest.fixture(scope="session")
def converted(small, tmp_path_factory):
    """A float16 bundle with all decoders and two audio lengths; not to be changed."""
    return converted_bundle(MODEL, small, tmp_path_factory.mktemp("converted"), BUNDLE_OPTIONS)
