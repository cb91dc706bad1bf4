"""Bundles: the manifest, checksums, atomic writing, inspection."""
