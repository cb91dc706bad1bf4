"""Measurements, taken side by side in one run. Nothing here passes or fails: figures go to docs/benchmarks.md."""
