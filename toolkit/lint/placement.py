"""What `convert` says of a package that is larger than the Neural Engine takes: the `size` rule, and a way out."""

from collections.abc import Iterator

from toolkit.bundle.manifest import ComponentEntry, Manifest
from toolkit.lint.target import GIB, Target
from toolkit.model import ModelInfo

_NEWEST, _BEFORE = Target(macos="macOS27"), Target(macos="macOS26")
# Bits of a stored weight. Palettes and scales add a percent or two.
_BITS = {"fp32": 32, "fp16": 16, "int8": 8, "palette4": 4}


def placement_notes(manifest: Manifest, model: ModelInfo) -> Iterator[str]:
    """One sentence per package that is beyond the limit of a macOS, with the option that brings it below.

    Args:
        manifest: of the bundle; the sizes of its packages stand for those of the compiled models.
        model: whose options may split a component.
    """
    for component in manifest.components:
        size = max((package.size_bytes for package in component.packages), default=0)
        if size > _NEWEST.model_bytes:
            limits = f"{_NEWEST.model_bytes / GIB:.0f} GiB on macOS 27 and {_BEFORE.model_bytes / GIB:.0f} GiB before"
            ways = " or ".join([*_split(manifest, model), *_compressed(component, size)])
            yield (
                f"{component.name} has {size / GIB:.2f} GiB; models above {limits} are known to run wholly on the CPU "
                f"(docs/lint.md, size); {ways or 'no option of convert brings it below'}"
            )


def _compressed(component: ComponentEntry, size: int) -> Iterator[str]:
    """The mildest compression that fits."""
    now = _BITS[component.precision if component.compression == "none" else component.compression]
    for name in ("int8", "palette4"):
        smaller = size * _BITS[name] // now
        if _BITS[name] < now and smaller <= _NEWEST.model_bytes:
            yield f"--compress {name} makes it about {smaller / GIB:.2f} GiB"
            return


def _split(manifest: Manifest, model: ModelInfo) -> Iterator[str]:
    for option in model.options.get("convert", ()):
        if "split" in (option.choices or ()) and manifest.options.get(option.name) != "split":
            yield f"--{option.name.replace('_', '-')} split divides it"
