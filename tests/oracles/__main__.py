"""`python -m tests.oracles NAME`: compare with a vendor's own implementation, and write docs/oracles/NAME.md."""

import argparse
import importlib
from pathlib import Path

NAMES = ("nemo", "kyutai", "qwen")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "oracles"


def main() -> None:
    """Run one comparison."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracles", description=__doc__)
    parser.add_argument("name", choices=NAMES, help="whose implementation")
    name = parser.parse_args().name
    page = importlib.import_module(f"tests.oracles.{name}").run()
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
