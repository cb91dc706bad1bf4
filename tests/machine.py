"""What the product does on the machine that the tests run on: Core ML is there on macOS alone."""

from toolkit.runtimes.open import resolve


def stages_not_run() -> set[str]:
    """Stages that a comparison of packages skips here."""
    return set() if resolve("auto") == "coreml" else {"device"}


def verdict_of_a_pass(model: str) -> str:
    """The last line of a comparison in which all stages that can run here pass."""
    missing = stages_not_run()
    return f"{model}: passed, {6 - len(missing)} stages" + (f", not run: {', '.join(missing)}" if missing else "")
