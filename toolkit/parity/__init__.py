"""Parity: metrics, gates and the ladder that names the first stage to blame. Knows no model."""
