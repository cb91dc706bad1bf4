"""How far one array is from another. The same numbers for every stage, blind to where the arrays came from."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


class NotComparableError(ValueError):
    """Two arrays have different shapes or kinds, so that no number can be given."""


@dataclass(frozen=True)
class Metrics:
    """What separates a candidate from its reference.

    The float figures are taken where both sides are finite; `non_finite` counts the rest, which no gate lets through.

    Attributes:
        elements: elements compared.
        max_abs: largest absolute error.
        mean_abs: mean absolute error.
        rel_l2: L2 norm of the error over the L2 norm of the reference; inf when only the reference is zero.
        psnr_db: 20 log10(largest magnitude of the reference / RMS of the error); inf when equal.
        cosine: of the two, flattened; 1 when both are zero, 0 when one is.
        non_finite: elements that are NaN or infinite on either side, save equal infinities.
        mismatches: integers and booleans only: elements that differ.
        integer: whether the arrays hold integers or booleans; the float figures are then of `max_abs` alone.
    """

    elements: int
    max_abs: float
    mean_abs: float
    rel_l2: float
    psnr_db: float
    cosine: float
    non_finite: int = 0
    mismatches: int = 0
    integer: bool = False

    def shown(self) -> dict[str, float]:
        """Name -> value of those that mean something for this kind of array."""
        if self.integer:
            return {"max_abs": self.max_abs, "mismatches": self.mismatches, "elements": self.elements}
        hidden = ("mismatches", "integer")
        return {name: value for name, value in asdict(self).items() if name not in hidden}


def compare_arrays(reference: np.ndarray, candidate: np.ndarray) -> Metrics:
    """Measure a candidate against its reference.

    Args:
        reference: array of any shape; floats, integers or booleans.
        candidate: array of the same shape and kind.

    Raises:
        NotComparableError: shapes differ, one holds floats and the other does not, or there is nothing to compare.
    """
    if reference.shape != candidate.shape:
        raise NotComparableError(f"shape {list(candidate.shape)} where the reference has {list(reference.shape)}")
    if reference.size == 0:
        raise NotComparableError("nothing to compare: the arrays are empty")
    if (reference.dtype.kind == "f") != (candidate.dtype.kind == "f"):
        raise NotComparableError(f"{candidate.dtype.name} where the reference is {reference.dtype.name}")
    a, b = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
    if reference.dtype.kind != "f":
        return _compare_integers(a, b)
    same_infinity = np.isinf(a) & (a == b)
    finite = np.isfinite(a) & np.isfinite(b)
    return _compare_floats(a[finite], b[finite], a.size, int((~finite & ~same_infinity).sum()))


def worst(all_metrics: Sequence[Metrics]) -> Metrics:
    """The worst of each figure over several comparisons of one output; counts are summed."""
    if not all_metrics:
        raise NotComparableError("no common output")
    return Metrics(
        elements=sum(m.elements for m in all_metrics),
        max_abs=_largest(m.max_abs for m in all_metrics),
        mean_abs=_largest(m.mean_abs for m in all_metrics),
        rel_l2=_largest(m.rel_l2 for m in all_metrics),
        psnr_db=-_largest(-m.psnr_db for m in all_metrics),
        cosine=-_largest(-m.cosine for m in all_metrics),
        non_finite=sum(m.non_finite for m in all_metrics),
        mismatches=sum(m.mismatches for m in all_metrics),
        integer=all_metrics[0].integer,
    )


def rms(error: np.ndarray) -> float:
    """Root mean square of an error of any shape, in float64."""
    return float(np.sqrt((error.astype(np.float64) ** 2).mean()))


def _compare_integers(a: np.ndarray, b: np.ndarray) -> Metrics:
    error = np.abs(a - b)
    mismatches = int((error != 0).sum())
    equal = mismatches == 0
    return Metrics(
        elements=a.size,
        max_abs=float(error.max()),
        mean_abs=float(error.mean()),
        rel_l2=0.0 if equal else math.inf,
        psnr_db=math.inf if equal else -math.inf,
        cosine=1.0 if equal else 0.0,
        mismatches=mismatches,
        integer=True,
    )


def _compare_floats(a: np.ndarray, b: np.ndarray, elements: int, non_finite: int) -> Metrics:
    if a.size == 0:
        return Metrics(elements, math.nan, math.nan, math.nan, math.nan, math.nan, non_finite)
    error = np.abs(a - b)
    norm_a, norm_b, norm_error = (float(np.linalg.norm(v)) for v in (a, b, error))
    return Metrics(
        elements=elements,
        max_abs=float(error.max()),
        mean_abs=float(error.mean()),
        rel_l2=0.0 if norm_error == 0 else _ratio(norm_error, norm_a),
        psnr_db=_psnr_db(float(np.abs(a).max()), norm_error / math.sqrt(a.size)),
        cosine=_cosine(float(a @ b), norm_a, norm_b),
        non_finite=non_finite,
    )


def _psnr_db(peak: float, rms_error: float) -> float:
    if rms_error == 0:
        return math.inf
    return 20 * math.log10(peak / rms_error) if peak else -math.inf


def _cosine(dot: float, norm_a: float, norm_b: float) -> float:
    if norm_a == 0 or norm_b == 0:
        return 1.0 if norm_a == norm_b else 0.0
    return min(1.0, dot / norm_a / norm_b)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.inf


def _largest(values: object) -> float:
    """The largest; NaN when any is NaN, where `max` would depend on the order."""
    return float(np.max(np.fromiter(values, dtype=np.float64)))  # type: ignore[call-overload]
