"""MIL's normalization ops. Variances are those of the population. Oracles: NumPy, coremltools' value_inference."""

import torch
import torch.nn.functional as F

from milrun.registry import Ints, Tensor, op


def _standardised(x: Tensor, dims: list[int], epsilon: float) -> Tensor:
    centred = x - x.mean(dims, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dims, keepdim=True) + epsilon)


def _scaled(x: Tensor, gamma: Tensor | None, beta: Tensor | None, shape: list[int]) -> Tensor:
    if gamma is not None:
        x = x * gamma.reshape(shape)
    return x if beta is None else x + beta.reshape(shape)


@op()
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta, a channel at a time: x [B, C, *D], the others [C]."""
    return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=epsilon)


@op()
def instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    """Standardise each channel of each batch entry over *D: x [B, C, *D], gamma and beta [C]."""
    normal = _standardised(x, list(range(2, x.ndim)), epsilon)
    return _scaled(normal, gamma, beta, [-1] + [1] * (x.ndim - 2))  # [C] -> [C, 1, ..]


@op()
def l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """x / sqrt(sum(x^2) + epsilon) over the last three dimensions."""
    return x / torch.sqrt(x.square().sum((-3, -2, -1), keepdim=True) + epsilon)


@op()
def layer_norm(
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Standardise over `axes` (all by default); gamma and beta have the shape of x along the axes, in x's order."""
    dims = sorted({axis % x.ndim for axis in axes}) if axes is not None else list(range(x.ndim))
    if dims and dims == list(range(x.ndim - len(dims), x.ndim)):
        return F.layer_norm(x, [x.shape[d] for d in dims], gamma, beta, epsilon)
    shape = [size if d in dims else 1 for d, size in enumerate(x.shape)]
    return _scaled(_standardised(x, dims, epsilon), gamma, beta, shape)


@op()
def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha / size * sum(x^2 of `size` neighbouring channels))^beta; an even size reaches further back."""
    return F.local_response_norm(x, size, alpha, beta, k)
