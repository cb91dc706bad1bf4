"""Which Macs run what: one line for the user at the start of a command."""

import platform

from toolkit.quiet import coremltools, native_module_error

# The oldest macOS whose Core ML loads a deployment target.
_OLDEST = {"iOS17": 14, "macOS14": 14, "iOS18": 15, "macOS15": 15}
_PORTABLE = "`--runtime portable` runs everything here"


def check_system(target: str = "iOS18") -> str | None:
    """What does not work on this Mac, in one line; None where everything does, or on another system.

    Args:
        target: the deployment target of the bundle that is to run, the default one of `convert` when left out.
    """
    if platform.system() != "Darwin":
        return None
    version = platform.mac_ver()[0]
    return _processor() or _macos(version, _OLDEST.get(target, max(_OLDEST.values())), target) or _native_module()


def _processor() -> str | None:
    if platform.machine() == "arm64":
        return None
    return (
        "This Python runs on an Intel processor, or on Apple silicon through Rosetta: PyTorch and other packages that "
        "this project locks have no wheels for it, and there is no Neural Engine. Use an arm64 Python on Apple silicon."
    )


def _macos(version: str, oldest: int, target: str) -> str | None:
    major = int(version.partition(".")[0] or 0)
    if major == 0 or major >= oldest or version.startswith("10.16"):  # what a Python built for 10.15 is told since 11
        return None
    if major < 12:
        return (
            f"This is macOS {version}: this project needs macOS 12 or newer, which its packages are built for. Update."
        )
    older = "; convert with `--target iOS17`, which macOS 14 loads" if major == 14 else ""
    return f"This is macOS {version}: Core ML loads bundles for {target} from macOS {oldest} on{older}. {_PORTABLE}."


def _native_module() -> str | None:
    coremltools()
    error = native_module_error()
    return None if error is None else f"Core ML cannot be used: {error}. {_PORTABLE}."
