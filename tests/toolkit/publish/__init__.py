"""Manifests of the demo bundles, and the outlines of their cards.

`uv run python -m tests.toolkit.publish.outlines` writes the outlines again.
"""
