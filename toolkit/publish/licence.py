"""The licence of a checkpoint, from the model card or the LICENSE beside its weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARD = "README.md"
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")
# What a licence calls itself near its start -> the hub's name of it; the longer name stands before the shorter.
_WORDS = (
    ("CC BY-NC-SA 4.0", "cc-by-nc-sa-4.0"),
    ("CC BY-NC 4.0", "cc-by-nc-4.0"),
    ("CC BY-SA 4.0", "cc-by-sa-4.0"),
    ("CC BY 4.0", "cc-by-4.0"),
    ("Attribution-NonCommercial-ShareAlike 4.0", "cc-by-nc-sa-4.0"),
    ("Attribution-NonCommercial 4.0", "cc-by-nc-4.0"),
    ("Attribution-ShareAlike 4.0", "cc-by-sa-4.0"),
    ("Attribution 4.0 International", "cc-by-4.0"),
    ("CC0 1.0 Universal", "cc0-1.0"),
    ("Apache License", "apache-2.0"),
    ("MIT License", "mit"),
    ("Permission is hereby granted, free of charge", "mit"),
)
_START_CHARACTERS = 1000


@dataclass(frozen=True)
class Licence:
    """What is known of a checkpoint's licence and language.

    Attributes:
        id: the hub's name of the licence; `other` where it is not known, or has none.
        source: the file that says so; empty where nothing does.
        languages: codes, as the checkpoint's card has them.
        text: the LICENSE file, to be published with the weights; None where there is none.
        name: of a licence that is `other`.
        link: to such a licence.
    """

    id: str = "other"
    source: str = ""
    languages: tuple[str, ...] = ()
    text: bytes | None = None
    name: str = ""
    link: str = ""


def licence_names(files: Iterable[str]) -> list[str]:
    """Those of a listing that `read_licence` reads."""
    return [name for name in files if name in (CARD, *LICENCE_FILES)]


def read_licence(folder: Path) -> Licence:
    """The licence of the checkpoint in a folder: its card's word first, else that of its LICENSE."""
    facts = _card_facts(folder / CARD)
    found = next((file for name in LICENCE_FILES if (file := folder / name).is_file()), None)
    text = found.read_bytes() if found else None
    languages = tuple(map(str, _listed(facts.get("language"))))
    if isinstance(stated := facts.get("license"), str):
        name, link = (str(facts.get(key) or "") for key in ("license_name", "license_link"))
        return Licence(stated, "model card", languages, text, name, link)
    if found and text and (known := _recognised(text)):
        return Licence(known, found.name, languages, text)
    return Licence(source=found.name if found else "", languages=languages, text=text)


def _card_facts(card: Path) -> dict[str, Any]:
    """The front matter of a model card; empty where there is none that can be read."""
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    try:
        return metadata_load(card) or {}
    except (OSError, ValueError, YAMLError):
        return {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _recognised(text: bytes) -> str | None:
    start = " ".join(text[:_START_CHARACTERS].decode("utf-8", "replace").split()).lower()
    return next((name for words, name in _WORDS if words.lower() in start), None)
