"""Token ids from text with the bundle's own tokenizer.json."""

from pathlib import Path

from toolkit.text.detokenise import load_tokenizer


class Tokeniser:
    """Turns text into ids.

    Args:
        file: tokenizer.json.

    Raises:
        BundleError: the file is no tokenizer that the `tokenizers` library reads.
    """

    def __init__(self, file: Path) -> None:
        self._tokenizer = load_tokenizer(file)

    def ids(self, text: str) -> list[int]:
        """Ids of a text, without the tokens that a template would put around it."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
