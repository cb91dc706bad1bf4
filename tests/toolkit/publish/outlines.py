"""The outline of a model card: front matter, headings, and the head and first column of every table."""

from pathlib import Path

from toolkit.bundle.manifest import Manifest
from toolkit.publish.card import CardFacts, model_card
from toolkit.publish.licence import Licence

HERE = Path(__file__).parent
MODELS = sorted(file.stem for file in (HERE / "manifests").glob("*.json"))
LICENCE = Licence("cc-by-sa-4.0", "LICENSE", text=b"the terms")


def manifest_of(model, **changes):
    manifest = Manifest.model_validate_json((HERE / "manifests" / f"{model}.json").read_text(encoding="utf-8"))
    return manifest.model_copy(update=changes)


def card_of(model, results=None, licence=LICENCE, **changes):
    return model_card(manifest_of(model, **changes), CardFacts(f"acme/{model}", licence, results))


def outline(card):
    """The structure of a card: no prose, no numbers."""
    _, front, body = card.split("---\n", 2)
    return front + "".join(line + "\n" for line in _lines(body))


def _lines(body):
    before = ""
    for line in body.splitlines():
        if line.startswith("#"):
            yield line
        elif line.startswith("| ") and "---" not in line:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            yield line if not before.startswith("|") else "  " + " | ".join(cells[:2])
        before = line


def golden(model):
    return HERE / "outlines" / f"{model}.txt"


if __name__ == "__main__":
    for each in MODELS:
        golden(each).parent.mkdir(exist_ok=True)
        golden(each).write_text(outline(card_of(each)), encoding="utf-8")
