"""FLEURS, test split: read speech in many languages; here those that a model of the toolkit knows."""

from collections.abc import Iterator
from itertools import islice

from toolkit.corpora.example import Example
from toolkit.corpora.hub import decoded, streamed
from toolkit.errors import ToolkitError

DATASET = "google/fleurs"
SPLIT = "test"
REVISION = "refs/convert/parquet"  # the hub's own conversion: the main branch is a loading script, which is not run
CONFIGS = {
    "ar": "ar_eg",
    "de": "de_de",
    "el": "el_gr",
    "en": "en_us",
    "es": "es_419",
    "fr": "fr_fr",
    "it": "it_it",
    "ja": "ja_jp",
    "ko": "ko_kr",
    "nl": "nl_nl",
    "pl": "pl_pl",
    "pt": "pt_br",
    "vi": "vi_vn",
    "zh": "cmn_hans_cn",
}


def check_language(language: str) -> None:
    """Refuse a language that is not listed here.

    Raises:
        ToolkitError: names those that are.
    """
    if not language:
        raise ToolkitError("FLEURS needs a language", f"Give --dataset fleurs:LANGUAGE: all, {', '.join(CONFIGS)}.")
    if language not in ("all", *CONFIGS):
        raise ToolkitError(f"FLEURS is known here in {', '.join(CONFIGS)}, not '{language}'", "Give one, or all.")


def fleurs_examples(language: str, num_files: int | None = None, source: str = DATASET) -> Iterator[Example]:
    """Utterances of the test split in the order of the data set, a language after the other.

    Args:
        language: code, or `all`.
        num_files: how many of each language; all of them when left out.
        source: hub id, or a local folder in the data set's layout.

    Raises:
        ToolkitError: a language that is not listed here, or the hub cannot be reached.
    """
    check_language(language)
    for code in CONFIGS if language == "all" else (language,):
        rows = streamed(f"FLEURS {code}", source, CONFIGS[code], SPLIT, REVISION if source == DATASET else None)
        for number, row in enumerate(islice(rows, num_files)):
            # An id of FLEURS is a sentence's, which several speakers read.
            name = f"{code}-{number:04}-{row['id']}"
            text = row.get("raw_transcription") or row["transcription"]
            yield Example(name, text, *decoded(row["audio"]), language=code)
