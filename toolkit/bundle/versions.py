"""Versions that a bundle's packages depend on."""

import platform
from importlib.metadata import version


def tool_versions() -> dict[str, str]:
    """Distribution -> version, of this Python environment."""
    packages = ("torch", "transformers", "coremltools", "speech-coreml")
    return {name: version(name) for name in packages} | {"python": platform.python_version()}
