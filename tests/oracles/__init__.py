"""Comparison with the vendors' own implementations: `uv run python -m tests.oracles NAME`; not part of `.ci/run`."""
