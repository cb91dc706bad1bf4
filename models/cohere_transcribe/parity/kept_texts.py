"""The texts that a long comparison has decoded so far, in a file from which an interrupted run resumes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from toolkit.bundle.checksums import sha256_of_json
from toolkit.bundle.manifest import Manifest
from toolkit.errors import OutputError, ToolkitError


@dataclass(frozen=True)
class ClipTexts:
    """One clip: its transcript, the reference's text, and ours by form of the decoder."""

    id: str
    language: str
    truth: str
    reference: str
    ours: dict[str, str]


class KeptTexts:
    """A JSON Lines file: the bundle it belongs to, then a line a clip. Without a path nothing is kept.

    Args:
        path: the file, which need not exist; None stores nothing.
        manifest: the manifest of the bundle under test.

    Raises:
        ToolkitError: the file is another bundle's, or no such file at all.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path | None, manifest: Manifest) -> None:
        self._path = path
        self._clips: dict[str, ClipTexts] = {}
        self._bundle = sha256_of_json([p.sha256 for c in manifest.components for p in c.packages])
        if self._path is None:
            return
        if self._path.exists():
            self._read(self._path)
        else:
            self._append({"bundle": self._bundle})

    def get(self, clip_id: str) -> ClipTexts | None:
        """The stored texts of a clip; None if the file has none."""
        return self._clips.get(clip_id)

    def add(self, clip: ClipTexts) -> None:
        """Keep a clip, at once: the next one may not be reached."""
        if self._path is not None:
            self._append(asdict(clip))

    def _read(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]
            lines = [json.loads(line) for line in whole.split("\n")[:-1]]
            bundle, self._clips = lines[0]["bundle"], {line["id"]: ClipTexts(**line) for line in lines[1:]}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ToolkitError(f"--resume {path} is not a file of an earlier run", "Name a new file.") from error
        if bundle != self._bundle:
            raise ToolkitError(f"--resume {path} belongs to a run of another bundle", "Name a new file.")
        if whole != text:  # a run that was killed while it wrote
            self._write(whole, "w")

    def _append(self, line: dict[str, object]) -> None:
        self._write(json.dumps(line, ensure_ascii=False) + "\n", "a")

    def _write(self, text: str, mode: Literal["a", "w"]) -> None:
        assert self._path is not None
        try:
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise OutputError(
                f"--resume {self._path} cannot be written: {error.strerror}", "Name a file elsewhere."
            ) from error
