"""Figures: arithmetic on arrays, words and sound. Nothing here knows the ladder."""
