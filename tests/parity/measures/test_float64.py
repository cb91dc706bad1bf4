"""Code that insists on float32, carried out in float64."""

import numpy as np
import pytest
import torch

from parity.measures.float64 import in_float64


def stubborn(values):
    """As feature extractors are: casts what it is given, makes a window, works in place."""
    x = torch.from_numpy(values).to(torch.float32)
    x = x * torch.hann_window(len(values), periodic=False, dtype=torch.float32)
    x[0] += torch.tensor(1e-9, dtype=torch.float32)
    return torch.log(x.float() + 1e-3).numpy()


def test_it_computes_in_float64_and_only_there():
    values = np.random.default_rng(0).random(100).astype(np.float32)
    window = torch.hann_window(100, periodic=False).double().numpy()  # a constant: its float32 values stay
    true = values * window
    true[0] += np.float32(1e-9)
    true = np.log(true + 1e-3)
    with in_float64():
        found = stubborn(values)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, true, rtol=1e-14)
    assert stubborn(values).dtype == np.float32


def test_random_numbers_are_those_of_float32():
    numbers = torch.randn(5, generator=torch.Generator().manual_seed(1))
    with in_float64():
        found = torch.randn(5, dtype=torch.float32, generator=torch.Generator().manual_seed(1))
    assert found.dtype is torch.float64
    assert torch.equal(found.float(), numbers)


def test_it_ends_with_an_error_too():
    with pytest.raises(ValueError, match="no"), in_float64():
        raise ValueError("no")
    assert torch.ones(1).dtype is torch.float32
