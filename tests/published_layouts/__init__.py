"""Checkpoints of our layout, written as their vendors publish them."""
