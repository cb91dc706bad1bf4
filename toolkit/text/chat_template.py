"""Conversations rendered with a checkpoint's own chat template, in a sandbox: a template is somebody else's program.

Source: transformers 5.23, utils/chat_template_utils.py, `_cached_compile_jinja_template` and `render_jinja_template`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from toolkit.errors import BundleError

# What an expression of a template can raise, beside what jinja2 itself has to say.
_FAULTS = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_STEP = "Convert the model again from a checkpoint whose chat template works in transformers."


class ChatTemplate:
    """A compiled template.

    Args:
        source: chat_template.jinja.
        special_tokens: variables of the template by name, e.g. `bos_token`: the tokenizer's `special_tokens_map`.

    Raises:
        BundleError: the source is no template.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        self._variables = dict(special_tokens)
        try:
            self._template = _environment().from_string(source)
        except (*_FAULTS, SyntaxError) as error:
            raise BundleError(f"the chat template cannot be read: {error}", _STEP) from error

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text of one conversation, without a generation prompt.

        Args:
            messages: plain data (str, numbers, lists and dicts); nothing else reaches a template.

        Raises:
            BundleError: the template fails.
        """
        given = self._variables | {"messages": messages, "tools": None, "documents": None}
        try:
            return self._template.render({**given, "add_generation_prompt": False})
        except _FAULTS as error:
            raise BundleError(f"the chat template fails: {error}", _STEP) from error


def _environment() -> ImmutableSandboxedEnvironment:
    """What transformers' templates are written for."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _json
    environment.globals |= {
        "raise_exception": _raise,
        "strftime_now": _now,
        "dict": _Dict(),
        "namespace": _PublicNamespace,
    }
    return environment


class _Generation(Extension):
    """`{% generation %}`: marks the assistant's part for training, and is a scope of its own."""

    tags = {"generation"}  # noqa: RUF012 -- as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Macro) -> str:
        return str(caller())


class _Dict:
    """`dict` without the attributes of the class, which lead out of the sandbox."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _PublicNamespace(Namespace):
    """`namespace` that takes no name with an underscore in front."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *given = args  # as jinja2 has it, so that `self` can be a name
        names = dict(*given, **kwargs)
        for name in names:
            _check_public(name)
        Namespace.__init__(self, names)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_public(name)
        Namespace.__setitem__(self, name, value)


def _check_public(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a template cannot set {name!r} on a namespace")


def _json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own filter escapes what HTML would read."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: Any) -> NoReturn:
    raise TemplateError(message)


def _now(format: str) -> str:
    return datetime.now().strftime(format)
