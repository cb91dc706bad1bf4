"""The words of MIL's text form, and where each stands."""

import re
from typing import NamedTuple, NoReturn

from milrun.errors import PackageError

_TOKEN = re.compile(
    r"""(?P<blank>(?:\s+|//[^\n]*|/\*.*?\*/)+)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?(?:[pP][+-]?\d+)?
                    |\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf(?:inity)?\b|nan\b))
      | (?P<name>[^\W\d][\w.@$]*)
      | (?P<mark>->|[()\[\]{}<>,;=?])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t", "r": "\r", "0": "\0", "'": "'", "a": "\a", "b": "\b", "f": "\f",
            "v": "\v"}  # fmt: skip
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_END = "the end of the file"


class Token(NamedTuple):
    """One word: its kind (`string`, `number`, `name`, `mark` or `end`), its text and its offset in characters."""

    kind: str
    text: str
    start: int


class Tokens:
    """The words of a text, read from first to last.

    Args:
        text: of `model.mil`.
        source: the file's name, for messages.

    Raises:
        PackageError: a character that begins no word.
    """

    def __init__(self, text: str, source: str) -> None:
        self._text, self._source, self._next = text, source, 0
        self._tokens: list[Token] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self.fail(f"{text[position]!r} is not MIL", position)
            kind = match.lastgroup or ""
            if kind != "blank":
                self._tokens.append(Token(kind, match.group(), position))
            position = match.end()
        self._tokens.append(Token("end", _END, len(text)))

    def peek(self, ahead: int = 0) -> Token:
        """A word that was not taken yet; the end behind the last."""
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """The next word."""
        token = self.peek()
        self._next += 1
        return token

    def expect(self, text: str) -> Token:
        """The next word, which must be this one."""
        if self.peek().text != text or self.peek().kind == "string":
            self.fail(f"'{text}' is expected, {self._shown()} stands here")
        return self.take()

    def of_kind(self, kind: str) -> Token:
        """The next word, which must be of this kind."""
        if self.peek().kind != kind:
            self.fail(f"a {kind} is expected, {self._shown()} stands here")
        return self.take()

    def accept(self, text: str) -> bool:
        """Take the next word if it is this one."""
        here = self.peek().text == text and self.peek().kind != "string"
        self._next += here
        return here

    def string(self) -> str:
        """The next word, a string, without quotes and escapes."""
        token = self.of_kind("string")

        def plain(match: re.Match[str]) -> str:
            code = match.group(1)
            if len(code) > 1 and int(code[1:], 16) <= 0x10FFFF:
                return chr(int(code[1:], 16))
            if code not in _ESCAPES:
                self.fail(f"milrun does not know the escape \\{code}", token.start + 1 + match.start())
            return _ESCAPES[code]

        return _ESCAPE.sub(plain, token.text[1:-1])

    def fail(self, reason: str, position: int | None = None) -> NoReturn:
        """Refuse the file, with line and column of the next word or of a position.

        Raises:
            PackageError: always.
        """
        at = self.peek().start if position is None else position
        line = self._text.count("\n", 0, at) + 1
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        raise PackageError(f"{self._source} line {line}, column {column}: {reason}")

    def _shown(self) -> str:
        token = self.peek()
        return token.text if token.kind == "end" else f"'{token.text[:40]}'"
