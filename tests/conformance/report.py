"""The conformance report: totals by suite, by module and by op, reasons, exceptions, failures."""

from collections import Counter

OUTCOMES = ("passed", "failed", "exception", "n.a.")


def _table(title, rows):
    lines = [f"| {title} | passed | failed | listed exceptions | not applicable |", "|---|---:|---:|---:|---:|"]
    lines += [f"| {name} | " + " | ".join(str(counts[o]) for o in OUTCOMES) + " |" for name, counts in rows]
    return lines


def _count_by(results, keys):
    counts = {}
    for result in results:
        for key in keys(result):
            counts.setdefault(key, Counter())[result["outcome"]] += 1
    return counts


def _module(result):
    path = result["test"].split("::")[0]
    return ["/".join(path.split("/")[-2:])]


def _short_reason(result):
    return ": ".join(result["reason"].split(": ")[:2])[:160]


def report_from_results(results: dict[str, list[dict]]) -> str:
    """Markdown of the totals.

    Args:
        results: suite -> one dict a test, as `run_suite` returns them.
    """
    every = [r for suite in results.values() for r in suite]
    lines = ["## By suite", ""]
    lines += _table("suite", [(n, Counter(r["outcome"] for r in suite)) for n, suite in results.items()])
    lines += ["", "## By module", "", *_table("module", sorted(_count_by(every, _module).items()))]
    ran = [r for r in every if r["outcome"] != "n.a."]
    lines += ["", "## By op", "", "An op counts where a program that was run holds it.", ""]
    lines += _table("op", sorted(_count_by(ran, lambda r: r["ops"]).items()))
    for title, outcome in (("Not applicable, by reason", "n.a."), ("Listed exceptions, by cause", "exception")):
        reasons = Counter(_short_reason(r) for r in every if r["outcome"] == outcome)
        lines += ["", f"## {title}", "", *(f"- {count} x {reason}" for reason, count in reasons.most_common())]
    failures = [r for r in every if r["outcome"] == "failed"]
    lines += ["", f"## Failures ({len(failures)})", "", *(f"- `{r['test']}`: {r['reason']}" for r in failures)]
    return "\n".join(lines) + "\n"
