"""The forecast of its packages: states in the step, and kernels and strides in the codec."""

from tests.models.forecasts import severe


def test_findings(converted):
    found = severe(converted)
    assert found["text_embedding"] == {"lookup"}
    assert found["voice_projection"] == set()
    assert found["flow"] == {"trigonometry"}  # M1 and M2
    assert "rank-5" not in {rule for rules in found.values() for rule in rules}
