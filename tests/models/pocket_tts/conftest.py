"""Made once a worker: tiny checkpoints, and a bundle that `convert` wrote."""

import pytest

from models.pocket_tts import MODEL
from tests.models.bundles import converted_bundle, saved_checkpoints
from tests.models.pocket_tts.tiny import CONFIGS, save_tiny_checkpoint

# Room for a voice, a short text and the frames that it may take; the texts of the demo clips may take more.
BUNDLE_OPTIONS = {"cache_slots": 112}


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
    """A float16 bundle; not to be changed."""
    return converted_bundle(MODEL, small, tmp_path_factory.mktemp("converted"), BUNDLE_OPTIONS)
