"""What a pipeline reads at the start, and the one line that says how to rebuild a bundle where it cannot."""

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict
from safetensors.numpy import save_file

from models.parakeet_tdt import MODEL
from tests.models.bundles import bundle_without_packages
from toolkit.bundle.host_constants import host_arrays, host_constants
from toolkit.errors import BundleError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hop: int


class Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rate: int
    mel: Inner


GOOD = {"rate": 16000, "mel": {"hop": 160}}


def bundle(folder, host=GOOD):
    return bundle_without_packages(folder, MODEL, host, [], ["features.safetensors"])


def refused(function, *arguments):
    with pytest.raises(BundleError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    assert "Rebuild it: `convert parakeet-tdt" in str(caught.value)
    return str(caught.value)


def test_constants_of_the_schema(tmp_path):
    assert host_constants(bundle(tmp_path), Schema).mel.hop == 160


@pytest.mark.parametrize(
    ("host", "where"),
    [
        ({"rate": 16000}, "host.mel: Field required"),
        (GOOD | {"mel": {"hop": "much"}}, "host.mel.hop: "),
        (GOOD | {"mel": {"hop": 160, "dither": 0}}, "host.mel.dither: "),
        (GOOD | {"rate": None}, "host.rate: "),
    ],
)
def test_constants_that_the_schema_does_not_know(tmp_path, host, where):
    assert where in refused(host_constants, bundle(tmp_path, host), Schema)


def test_arrays_come_in_the_order_asked_for(tmp_path):
    save_file(
        {"window": np.ones(4, np.float32), "filters": np.zeros((2, 3), np.float32)}, tmp_path / "features.safetensors"
    )
    filters, window = host_arrays(bundle(tmp_path), "features.safetensors", "filters", "window")
    assert (filters.shape, window.shape) == ((2, 3), (4,))


def test_arrays_that_are_not_there(tmp_path):
    assert "does not hold filters" in refused(host_arrays, bundle(tmp_path), "features.safetensors", "filters")
    (tmp_path / "features.safetensors").write_bytes(b"nothing")
    assert "does not hold filters" in refused(host_arrays, bundle(tmp_path), "features.safetensors", "filters")
    save_file({"window": np.ones(4, np.float32)}, tmp_path / "features.safetensors")
    message = refused(host_arrays, bundle(tmp_path), "features.safetensors", "filters", "window")
    assert "does not hold filters and window" in message


def test_a_file_that_the_manifest_does_not_list(tmp_path):
    refused(host_arrays, bundle(tmp_path), "voices.safetensors", "voice")
