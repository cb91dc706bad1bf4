"""MIL's activation ops. Oracles: NumPy, coremltools' value_inference."""

import torch
import torch.nn.functional as F

from milrun.registry import Tensor, op


def _along_channels(values: Tensor, rank: int) -> Tensor:
    return values.reshape(-1, *[1] * (rank - 2))  # [C] -> [C, 1, ..], broadcast over [B, C, *D]


@op()
def clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(x, beta) where x >= 0, min(alpha * x, beta) elsewhere."""
    return torch.where(x >= 0, x, alpha * x).clamp(max=beta)


@op()
def elu(x: Tensor, alpha: float) -> Tensor:
    """x where x > 0, alpha * (e^x - 1) elsewhere."""
    return F.elu(x, alpha)


@op()
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """Gaussian error linear unit; mode is EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION (x * sigmoid(1.702 x))."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate={"EXACT": "none", "TANH_APPROXIMATION": "tanh"}[mode])


@op()
def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    """x where x >= 0, alpha * x elsewhere."""
    return F.leaky_relu(x, alpha)


@op()
def linear_activation(x: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha * x + beta."""
    return x * alpha + beta


@op()
def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """Leaky ReLU with one slope a channel: x [B, C, *D], alpha [C]."""
    return torch.where(x > 0, x, _along_channels(alpha, x.ndim) * x)


@op()
def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return torch.relu(x)


@op()
def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6)."""
    return x.clamp(0, 6)


@op()
def scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha * tanh(beta * x)."""
    return alpha * torch.tanh(beta * x)


@op()
def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return torch.sigmoid(x)


@op()
def sigmoid_hard(x: Tensor, alpha: float, beta: float) -> Tensor:
    """alpha * x + beta, clamped to [0, 1]."""
    return (x * alpha + beta).clamp(0, 1)


@op()
def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return F.silu(x)


@op()
def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), without overflow for large x."""
    return F.softplus(x)


@op()
def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """alpha * log(1 + e^(beta * x)) with one alpha and beta a channel: x [B, C, *D]."""
    return _along_channels(alpha, x.ndim) * F.softplus(_along_channels(beta, x.ndim) * x)


@op()
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x / sum(e^x) along one axis; a row of -inf yields NaN."""
    return torch.softmax(x, axis)


@op()
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return x / (1 + x.abs())


@op()
def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    """x where x >= alpha, 0 elsewhere; NaN stays NaN."""
    return x.masked_fill(x < alpha, 0)
