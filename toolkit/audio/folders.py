"""Which files a command was given: files as they are, and the audio files of folders."""

from collections.abc import Callable, Iterable
from pathlib import Path

from toolkit.audio.source import STDIN
from toolkit.errors import AudioError
from toolkit.mac_files import is_clutter

# Names of files with sound that libsndfile or ffmpeg reads. A file that is named itself may have any name.
_ENDINGS = (
    "3gp aac ac3 aif aifc aiff amr au avi caf flac flv m4a m4b m4v mka mkv mov mp2 mp3 mp4 mpeg mpg mts",
    "oga ogg opus rf64 snd ts w64 wav weba webm wma wmv",
)
SUFFIXES = frozenset(f".{ending}" for line in _ENDINGS for ending in line.split())
_SHOWN = 3


def expand_sources(given: Iterable[str], note: Callable[[str], None] = lambda text: None) -> list[str]:
    """Files in the order given, each folder replaced by the audio files in it, sorted by name.

    Subfolders are not entered. What a folder holds beside audio is noted, except hidden files and macOS' clutter.

    Args:
        given: files, folders, or `-` for standard input.
        note: takes one line about what is left out.

    Raises:
        AudioError: a folder cannot be read, or has no audio file; or the system takes no such name.
    """
    sources: list[str] = []
    for source in given:
        sources += _audio_files(Path(source), note) if source != STDIN and _is_folder(source) else [source]
    return sources


def _is_folder(source: str) -> bool:
    try:
        return Path(source).is_dir()
    except OSError as error:  # such as a name that is too long
        raise AudioError(f"{source} cannot be read: {error.strerror or error}", "Check the path.") from error


def _audio_files(folder: Path, note: Callable[[str], None]) -> list[str]:
    try:
        entries = sorted(path for path in folder.iterdir() if not _is_hidden(path))
    except OSError as error:
        raise AudioError(f"{folder} cannot be read: {error.strerror or error}", "Check its permissions.") from error
    found = [path for path in entries if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    if not found:
        raise AudioError(f"{folder} is a folder without audio files", "Give the audio files, or a folder with some.")
    if left := [path.name + "/" * path.is_dir() for path in entries if path not in found]:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        note(f"{folder}: left out, as no audio files by their names: {', '.join(left[:_SHOWN])}{more}")
    return [str(path) for path in found]


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or is_clutter(Path(path.name))
