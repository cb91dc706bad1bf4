import math

from toolkit.spec import FLOAT_METRICS, FP16_GATE, INTEGER_METRICS, Gate

GATE = Gate("because", at_most={"rel_l2": 0.03}, at_least={"psnr_db": 35})


def test_within_and_at_the_limit_passes():
    assert GATE.breaches({"rel_l2": 0.03, "psnr_db": 35}) == ()
    assert GATE.breaches({"rel_l2": 0, "psnr_db": math.inf}) == ()


def test_every_breach_is_named():
    assert len(GATE.breaches({"rel_l2": 0.04, "psnr_db": 34})) == 2
    assert "psnr_db 34, must be >= 35" in GATE.breaches({"rel_l2": 0, "psnr_db": 34})


def test_nan_missing_and_non_finite_are_breaches():
    assert GATE.breaches({"rel_l2": math.nan, "psnr_db": 40})
    assert GATE.breaches({"psnr_db": 40})
    assert GATE.breaches({"rel_l2": 0, "psnr_db": 40, "non_finite": 1}) == ("1 non-finite values",)


def test_package_gate_counts_integers():
    assert FP16_GATE.limited_to(INTEGER_METRICS).at_most == {"flip_share": 0.0}
    assert FP16_GATE.limited_to(FLOAT_METRICS).at_least == {"psnr_db": 35.0, "cosine": 0.999}
