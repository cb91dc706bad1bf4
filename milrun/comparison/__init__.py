"""Comparing two artefacts, each an `.mlpackage` or an `.mlmodelc`: same inputs, then every value that both compute."""

from milrun.comparison.compare import Comparison, Row, compare
from milrun.comparison.difference import Difference
from milrun.comparison.weights import Weight

__all__ = ["Comparison", "Difference", "Row", "Weight", "compare"]
