"""Parity: gates, and the ladder that names the first stage to blame; measures, inside, html beside. Knows no model."""
