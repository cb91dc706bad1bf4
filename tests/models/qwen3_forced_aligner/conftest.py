"""Made once a worker: tiny checkpoints, and a bundle that `convert` wrote."""

import pytest

from models.qwen3_forced_aligner import MODEL
from tests.models.bundles import converted_bundle, saved_checkpoints
from tests.models.qwen3_forced_aligner.tiny import CONFIGS, save_tiny_checkpoint

BUNDLE_OPTIONS = {"audio_seconds": "2,4,6", "sequence_lengths": "128", "encoder": "both"}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Name of a config -> folder of its checkpoint."""
    return saved_checkpoints(tmp_path_factory.mktemp("checkpoints"), CONFIGS, save_tiny_checkpoint)


@pytest.fixture(scope="session")
def small(checkpoints):
    """The checkpoint without any special size."""
    return checkpoints["small"]


@pytest.fixture(scope="session")
def long_classes(tmp_path_factory):
    """A checkpoint whose classes reach 400 s, with windows of 8 s."""
    folder = tmp_path_factory.mktemp("long")
    save_tiny_checkpoint(folder, audio={"n_window_infer": 800}, labels=5000)
    return folder


@pytest.fixture(scope="session")
def converted(small, tmp_path_factory):
    """A float16 bundle with both encoders and three audio lengths; not to be changed."""
    return converted_bundle(MODEL, small, tmp_path_factory.mktemp("converted"), BUNDLE_OPTIONS)
