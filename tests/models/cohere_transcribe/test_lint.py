"""The forecast of its packages: no tensor of rank 5; states and lookups are all that may leave the Neural Engine."""

from tests.models.forecasts import severe


def test_findings(converted):
    found = severe(converted)
    assert {rule for name, rules in found.items() if name != "decoder_stateful" for rule in rules} <= {"lookup"}
    assert found["decoder_stateful"] <= {"lookup", "state", "state-width"}
