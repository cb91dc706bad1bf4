"""What the forecast says of a converted bundle."""

from toolkit.lint.forecast import forecast
from toolkit.lint.target import Target


def severe(bundle):
    """Component -> rules that are more than information, for any chip."""
    found = forecast(bundle.path, Target())
    rules = {component: set() for component, _ in found.functions}
    for finding in found.findings:
        if finding.severity != "info":
            rules[finding.component].add(finding.rule.id)
    return rules
