"""The forecast of its packages: no tensor of rank 5; only the lookup and the best class remain."""

from tests.models.forecasts import severe


def test_findings(converted):
    found = severe(converted)
    assert found["decoder_prefill"] == set()
    assert found["embedding"] == {"lookup"}
    assert found["head"] == {"no-kernel"}
    assert "rank-5" not in {rule for rules in found.values() for rule in rules}
