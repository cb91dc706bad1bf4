"""Text from token ids with the bundle's own tokenizer.json."""

import codecs
import json
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from tokenizers import Tokenizer

from toolkit.errors import BundleError

WORD_BOUNDARY = "▁"  # SentencePiece's mark in front of a piece that begins a word
_BYTE = re.compile("<0x([0-9A-F]{2})>")  # a token of byte fallback
_REPLACEMENT = "\ufffd"


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
        added = self._tokenizer.get_added_tokens_decoder()
        self._skipped = frozenset(i for i, token in added.items() if token.special)

    def is_text(self, token_id: int) -> bool:
        """Whether an id can be part of a text."""
        return token_id not in self._special

    def text(self, ids: Sequence[int]) -> str:
        """The text of a whole sequence, decoded at once: runs of byte tokens become characters only together."""
        return self._decoded([i for i in ids if self.is_text(i)])

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """What each id adds to the text; the bytes of one character add it all with the last of them, and "" before.

        Together they are the text. A run of byte tokens that is no UTF-8 is a replacement character a byte, as the
        library has it; its own `DecodeStream` (0.23) raises there, as soon as the run begins like a character.
        """
        pieces = [""] * len(ids)
        kept = [index for index, i in enumerate(ids) if self._is_decoded(i)]
        before: list[int] = []  # ids of the group before, without which a piece would lose the blank in front of it
        held: list[int] = []  # indices of what ends within a character
        for indices in self._groups(ids, kept):
            held += indices
            group = [ids[index] for index in held]
            added = self._decoded(before + group)[len(self._decoded(before)) :]
            whole = not added.endswith(_REPLACEMENT) or self._byte(group[-1]) is not None or indices[-1] == kept[-1]
            if whole:
                for index, piece in zip(held, self._shares(group, added), strict=True):
                    pieces[index] = piece
                before, held = group, []
        return pieces

    def begins_word(self, token_id: int) -> bool:
        """Whether the piece carries the word boundary."""
        return str(self._tokenizer.id_to_token(token_id) or "").startswith(WORD_BOUNDARY)

    def _is_decoded(self, token_id: int) -> bool:
        return self.is_text(token_id) and token_id not in self._skipped

    def _groups(self, ids: Sequence[int], kept: Sequence[int]) -> Iterator[list[int]]:
        """Indices of single ids, and of runs of byte tokens, which the library decodes as one."""
        for is_byte, run in groupby(kept, lambda index: self._byte(ids[index]) is not None):
            indices = list(run)
            yield from [indices] if is_byte else ([index] for index in indices)

    def _shares(self, group: Sequence[int], added: str) -> list[str]:
        """What each id of a group has of its text: all is the last's, but for a run of bytes of several characters."""
        values = [value for i in group if (value := self._byte(i)) is not None]
        shares = _characters(values)
        fits = len(values) == len(group) and "".join(shares) == added
        return shares if fits else [""] * (len(group) - 1) + [added]

    def _byte(self, token_id: int) -> int | None:
        match = _BYTE.fullmatch(str(self._tokenizer.id_to_token(token_id) or ""))
        return int(match[1], 16) if match else None

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def _characters(values: Sequence[int]) -> list[str]:
    """What each byte of a run completes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        characters = [decoder.decode(bytes([value])) for value in values]
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return [_REPLACEMENT] * len(values)
    return characters


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
        raise BundleError(f"{file} is not a tokenizer: it has no model", "Convert the model again.")
    return Tokenizer.from_str(content)
