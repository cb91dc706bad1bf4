"""Measures: how far arrays, decisions, fed-back frames, words and sound are from the reference's."""
