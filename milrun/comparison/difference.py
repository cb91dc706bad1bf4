"""How far two arrays are apart, and whether rounding explains it."""

from dataclasses import dataclass

import numpy as np

# Largest relative L2 difference that rounding explains, by the coarsest float on the way to the value: four units of
# float16 (2^-11), and in float32 (2^-24) what sums taken in another order differ by. Integers and booleans are exact.
LIMITS = {"float16": 2e-3, "float32": 1e-5, "exact": 0.0}
# Largest absolute difference that is none whatever the values' size: four steps of float16's smallest numbers.
FLOORS = {"float16": 2.0**-22, "float32": 1e-12, "exact": 0.0}
_CHUNK = 1 << 20  # elements that are held in float64 at a time


@dataclass(frozen=True)
class Difference:
    """What separates two arrays of one shape; elements that are not finite count in `unlike` alone.

    Attributes:
        identical: every bit is the same.
        max_abs: the largest absolute difference.
        rel_l2: L2 norm of the difference over the larger of the two norms; 0 where both are zero.
        cosine: of the angle between them; 1 where both are zero.
        non_finite: how many elements of each are infinite or NaN.
        unlike: elements that are not finite in one of them, or not in the same way.
        fault: why they cannot be compared, such as other shapes; empty where they can.
    """

    identical: bool
    max_abs: float = 0.0
    rel_l2: float = 0.0
    cosine: float = 1.0
    non_finite: tuple[int, int] = (0, 0)
    unlike: int = 0
    fault: str = ""

    def within(self, precision: str) -> bool:
        """Whether rounding in this precision, a key of `LIMITS`, explains the difference."""
        if self.identical:
            return True
        small = self.rel_l2 <= LIMITS[precision] or self.max_abs <= FLOORS[precision]
        return not self.fault and not self.unlike and small


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """Compare two arrays of numbers or booleans; other shapes are a `fault`."""
    if a.shape != b.shape:
        return _incomparable(f"shapes {list(a.shape)} and {list(b.shape)}")
    if a.dtype.kind == "U" or b.dtype.kind == "U":
        return Difference(identical=True) if np.array_equal(a, b) else _incomparable(f"{_text(a)} and {_text(b)}")
    if a.dtype == b.dtype and np.array_equal(_bits(a), _bits(b)):
        bad = 0 if a.dtype.kind != "f" else int(a.size - np.count_nonzero(np.isfinite(a)))
        return Difference(identical=True, non_finite=(bad, bad))
    return _measured(a.reshape(-1), b.reshape(-1))


def _incomparable(fault: str) -> Difference:
    nan = float("nan")
    return Difference(identical=False, max_abs=nan, rel_l2=nan, cosine=nan, fault=fault)


def _text(array: np.ndarray) -> str:
    return repr(array.reshape(-1)[0].item()) if array.size == 1 else f"text {list(array.shape)}"


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _measured(a: np.ndarray, b: np.ndarray) -> Difference:
    """Two flat arrays, [N]."""
    largest, bad, unlike = 0.0, [0, 0], 0
    sums = np.zeros(4)  # of the squared differences, a * a, b * b, a * b
    for start in range(0, a.size, _CHUNK):
        x, y = (side[start : start + _CHUNK].astype(np.float64) for side in (a, b))
        finite = np.isfinite(x), np.isfinite(y)
        bad = [count + int(x.size - np.count_nonzero(f)) for count, f in zip(bad, finite, strict=True)]
        both = finite[0] & finite[1]
        unlike += int(np.count_nonzero(~both & ~((x == y) | (np.isnan(x) & np.isnan(y)))))
        x, y = x[both], y[both]
        gap = x - y
        largest = max(largest, float(np.abs(gap).max(initial=0)))
        sums += gap @ gap, x @ x, y @ y, x @ y
    gap_norm, a_norm, b_norm = np.sqrt(sums[:3]).tolist()
    larger, product = max(a_norm, b_norm), a_norm * b_norm
    cosine = float(sums[3]) / product if product else float(larger == 0)
    return Difference(False, largest, gap_norm / larger if larger else 0.0, cosine, (bad[0], bad[1]), unlike)
