"""What the tests of `.nemo` files share."""

import pytest
import torch
from safetensors.torch import load_file

from models.parakeet_tdt import MODEL
from tests.published_layouts.nemo import write_nemo
from toolkit.errors import CheckpointError
from toolkit.export.checkpoint import resolve_checkpoint


def written(archive, folder, **options):
    archive.parent.mkdir(exist_ok=True)
    write_nemo(folder, archive, **options)
    return archive


def refused(name, *words):
    with pytest.raises(CheckpointError) as caught:
        resolve_checkpoint(MODEL, str(name))
    said = str(caught.value)
    assert "\n" not in said
    for word in words:
        assert word in said, said


def tensors(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
