"""Run one oracle and write its table: `uv run python -m tests.oracles nemo|kyutai|qwen`."""

import importlib
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "oracles"


def main():
    [name] = sys.argv[1:]
    page = importlib.import_module(f"tests.oracles.{name}").run()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
