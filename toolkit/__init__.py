"""What all models share: audio, decoding, export, bundles, runtimes, parity, corpora. Imports no model."""
