"""HTML and SVG elements whose text is escaped by construction."""

import re
from html import escape

_VOID = frozenset({"br", "col", "hr", "img", "link", "meta", "source"})
# What HTML may not hold, even escaped: controls, lone surrogates, non-characters.
_FORBIDDEN = re.compile("[^\t\n\\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010fffd]")


class Markup(str):
    """Text that is HTML already; any other text is data, and `element` escapes it."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Text as HTML shows it literally; characters that HTML cannot hold become U+FFFD."""
    return text if isinstance(text, Markup) else Markup(escape(_FORBIDDEN.sub("\ufffd", text), quote=True))


def element(name: str, /, *children: str, **attributes: str | float | bool | None) -> Markup:
    """An element.

    Args:
        name: of the tag.
        children: text, which is escaped, or `Markup`.
        attributes: a trailing `_` is dropped, `_` inside becomes `-`; True stands alone, False and None are left out.
    """
    opening = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{joined(*children)}</{name}>")


def joined(*parts: str) -> Markup:
    """Parts one after the other, text escaped."""
    return Markup("".join(escaped(part) for part in parts))


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    shown = value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
    return f' {name}="{escaped(shown)}"'
