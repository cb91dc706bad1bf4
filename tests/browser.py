"""A headless Chromium that looks at a page."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--virtual-time-budget=10000",
)
_SECONDS = 120
_CONSOLE = re.compile(r"CONSOLE[:(].*")


def find_chromium() -> str:
    """The browser that CHROMIUM names, or one of the usual names; the test is skipped where there is none."""
    asked = os.environ.get("CHROMIUM")
    found = next((path for name in ([asked] if asked else NAMES) if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium: {asked or ', '.join(NAMES)} not found; set CHROMIUM to one")
    return found


class Browser:
    """Runs Chromium once a call, with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        self._binary, self._profile = find_chromium(), folder / "profile"

    def screenshot(self, page: Path, to: Path, width: int, height: int, *flags: str) -> list[str]:
        """Take a picture; what the console said."""
        done = self._run(page, f"--screenshot={to}", f"--window-size={width},{height}", *flags)
        return _CONSOLE.findall(done.stderr)

    def dom(self, page: Path, width: int, height: int = 900) -> tuple[str, list[str]]:
        """The document as it stands when all has been loaded, and what the console said."""
        done = self._run(page, "--dump-dom", f"--window-size={width},{height}")
        return done.stdout, _CONSOLE.findall(done.stderr)

    def _run(self, page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        command = [self._binary, *_FLAGS, f"--user-data-dir={self._profile}", *flags, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS)
