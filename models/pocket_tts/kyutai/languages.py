"""The languages that Kyutai publishes: what each differs in from the others.

Derived from the configurations in pocket-tts 4.0.1, config/*.yaml, which are not in the repositories of the weights.
"""

from dataclasses import replace

from models.pocket_tts.kyutai.config import CLASS, KyutaiConfig, TextPreparation
from toolkit.errors import CheckpointError

DEFAULT = "english"  # of pocket-tts 4.0.1, default_parameters.py
# The first language, whose weights lay at the top of the repository before there were others.
OLD = "english_2026-01"
OLD_WEIGHTS, OLD_TOKENIZERS, OLD_VOICES = (
    "tts_b6369a24.safetensors",
    ("tokenizer.json", "tokenizer.model"),
    "embeddings",
)

_VOICE = "alba"
_VOICES = {
    "dutch": "daan",
    "french": "estelle",
    "german": "juergen",
    "italian": "giovanni",
    "portuguese": "rafael",
    "spanish": "lola",
}

_APOSTROPHES = {"\u2019": "'", "\u2018": "'"}
_UNQUOTED = dict.fromkeys('"“”„«»()[]', "") | _APOSTROPHES | {"\u2013": ","}
_ENGLISH = TextPreparation(_APOSTROPHES)
_ROMANCE = TextPreparation(_UNQUOTED)
_TEXTS = {
    "dutch": _ROMANCE,
    "french": TextPreparation(_UNQUOTED | {":": ","}, remove_semicolons=True),
    "german": TextPreparation(_UNQUOTED | {"—": ","}, remove_semicolons=True),
    "italian": _ROMANCE,
    "portuguese": _ROMANCE,
    "spanish": TextPreparation(_UNQUOTED | {"¡": "", "¿": ""}),
}
_SHARED_TOKENIZER = "languages/english_2026-09/tokenizer.json"


def _languages() -> dict[str, KyutaiConfig]:
    own = {"english": _ENGLISH, "english_2026-04": _ENGLISH, "english_2026-09": _ENGLISH} | _TEXTS
    large = {"english_2026-04_24l": _ENGLISH, "english_2026-09_24l": _ENGLISH}
    large |= {f"{name}_24l": text for name, text in _TEXTS.items()}
    made = {name: KyutaiConfig(text=text) for name, text in own.items()}
    made |= {name: KyutaiConfig(text=text, layers=24) for name, text in large.items()}
    made = {name: replace(one, tokenizer=f"languages/{name}/tokenizer.json") for name, one in made.items()}
    later = KyutaiConfig(text=_ENGLISH, tokenizer=_SHARED_TOKENIZER)
    made |= {"english_2026-09_2": later, "english_2026-10": later}
    made["english_drifting_26-09"] = replace(later, flow_type="drifting")
    made[OLD] = KyutaiConfig(
        text=TextPreparation(_APOSTROPHES, pad_short=True), voice_bos=False, voice_width=512, tokenizer="tokenizer.json"
    )
    return dict(sorted(made.items()))


LANGUAGES = _languages()
# October 2026: projections before the flow head, a decoder of other sizes than the encoder, shared keys or low rank.
INEXPRESSIBLE = tuple(f"english_{size}{kind}_2026-10" for size in ("18m", "7m", "2m") for kind in ("", "_refl"))


def default_voice(name: str) -> str:
    """The voice that Kyutai speaks a language in by default."""
    return _VOICES.get(name.removesuffix("_24l"), _VOICE)


def language(name: str) -> KyutaiConfig:
    """The configuration of a language.

    Raises:
        CheckpointError: it is not known, or of a model that the class cannot express.
    """
    if name in INEXPRESSIBLE:
        raise CheckpointError(
            f"{name} is a model that {CLASS} cannot express: its backbone is projected before the flow head (z_dim), "
            "and its decoder has other sizes than its encoder",
            f"Give one of the full size, such as --language {DEFAULT}.",
        )
    if name not in LANGUAGES:
        raise CheckpointError(
            f"no language '{name}'", f"Give --language one of: {', '.join(LANGUAGES)}; or a yaml as --checkpoint."
        )
    return LANGUAGES[name]
