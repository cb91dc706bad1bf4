"""The forms in which Parakeet TDT is published beside transformers' own."""

from models.parakeet_tdt.nemo import NemoLayout
from toolkit.export.layout import Layout

LAYOUTS: tuple[Layout, ...] = (NemoLayout(),)
