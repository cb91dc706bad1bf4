"""Text from token ids with the bundle's own tokenizer.json."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from toolkit.errors import BundleError

WORD_BOUNDARY = "▁"  # SentencePiece's mark in front of a piece that begins a word


class Detokeniser:
    """Turns ids into text.

    Args:
        file: tokenizer.json.
        special_ids: ids that are never text (blank, padding, control tokens).

    Raises:
        BundleError: the file is no tokenizer that the `tokenizers` library reads.
    """

    def __init__(self, file: Path, special_ids: Collection[int] = ()) -> None:
        self._tokenizer = load_tokenizer(file)
        self._special = frozenset(special_ids)

    def is_text(self, token_id: int) -> bool:
        """Whether an id can be part of a text."""
        return token_id not in self._special

    def text(self, ids: Sequence[int]) -> str:
        """The text of a whole sequence, decoded at once: runs of byte tokens become characters only together."""
        return str(self._tokenizer.decode([i for i in ids if self.is_text(i)], skip_special_tokens=True))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """What each id adds to the text; the bytes of one character add it all with the last of them, and "" before."""
        stream = DecodeStream(skip_special_tokens=True)
        return [(stream.step(self._tokenizer, i) or "") if self.is_text(i) else "" for i in ids]

    def begins_word(self, token_id: int) -> bool:
        """Whether the piece carries the word boundary."""
        return str(self._tokenizer.id_to_token(token_id) or "").startswith(WORD_BOUNDARY)


def load_tokenizer(file: Path) -> Tokenizer:
    """A tokenizer.json.

    Raises:
        BundleError: the file is no tokenizer that the `tokenizers` library reads.
    """
    try:
        content = file.read_text(encoding="utf-8")
        parsed = json.loads(content)
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} cannot be read: {error}", "Convert the model again.") from error
    # Checked here because the library raises bare Exceptions; what passes and is damaged fails the bundle's checksum.
    if not isinstance(parsed, dict) or not isinstance(parsed.get("model"), dict):
        raise BundleError(f"{file} is no tokenizer: it has no model", "Convert the model again.")
    return Tokenizer.from_str(content)
