"""Corpora to score on: the demo clips, LibriSpeech test-clean, a folder of your own."""
