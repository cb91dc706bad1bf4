"""Kyutai's preparation of texts as a chat template, which the processor of transformers and the host both render.

Source: pocket-tts 4.0.1, models/text_chunking.py, `prepare_text_prompt` and `_ensure_terminal_punctuation`. A template
has Python's own methods of strings, so that each rule is expressed exactly.
"""

import json

from models.pocket_tts.kyutai.config import TextPreparation
from models.pocket_tts.kyutai.tokenizer import AUDIO_BOS, VOICE, VOICE_BOS

# Most words of a text behind whose end of speech Kyutai lets more frames follow, and the frames: its guesses of 3 and
# 1, plus 2, less the frame in which the speech ends.
SHORT_TEXT_WORDS, FRAMES_AFTER_SHORT, FRAMES_AFTER = 4, 4, 2
_PAD, _PAD_WORDS = 8, 5
_STOPS, _PAUSES = ".!?…", ",;:"
_WEAK, _CLOSERS = ",;:-\u2013\u2014", "\"'\u201d\u2019)]\u00bb"
# Stands behind a mark whose comma was taken out, so that one comma is taken out and not all; no text holds it.
_TAKEN = "\x00"

_TEMPLATE = """\
{%- for message in messages -%}
{%- for item in message['content'] if item['type'] == 'audio' -%}
VOICE
{%- endfor -%}
{%- for item in message['content'] if item['type'] == 'text' -%}
RULES
{{- text -}}
{%- endfor -%}
{%- endfor -%}
AUDIO_BOS"""


def frames_after_eos(rules: TextPreparation) -> tuple[int, int]:
    """Frames behind the one that ends the speech, of a short text and of a longer one.

    Kyutai's own number counts the frame in which the speech ends.
    """
    if rules.frames_after_eos is None:
        return FRAMES_AFTER_SHORT, FRAMES_AFTER
    frames = max(rules.frames_after_eos - 1, 0)
    return frames, frames


def chat_template(rules: TextPreparation, *, voice_bos: bool) -> str:
    """The template of a prompt: the voice, the prepared text, the start of the audio.

    Args:
        rules: the language's switches.
        voice_bos: whether a learnt vector stands before the voice.
    """
    voice = f"{VOICE_BOS if voice_bos else ''}{VOICE}"
    lines = "\n".join(f"{{%- {line} -%}}" for line in _rules(rules))
    return _TEMPLATE.replace("RULES", lines).replace("VOICE", voice).replace("AUDIO_BOS", AUDIO_BOS)


def _rules(rules: TextPreparation) -> list[str]:
    """Statements of the template, in Kyutai's order."""
    return [
        "set text = item['text'].strip()",
        *(_replacements(rules) if rules.replaced else []),
        r"set text = text.replace('\n', ' ').replace('\r', ' ').replace('  ', ' ')",
        *(["set text = text.replace(';', ',')"] if rules.remove_semicolons else []),
        *(["set text = text[:1].upper() ~ text[1:]"] if rules.capitalise else []),
        *(_ending() if rules.end_sentences else []),
        *([f"if text.split() | length < {_PAD_WORDS}", f"set text = ' ' * {_PAD} ~ text", "endif"] * rules.pad_short),
    ]


def _replacements(rules: TextPreparation) -> list[str]:
    """Characters of the table, blanks, and a pause that a deleted quote left behind the end of a sentence."""
    table = "{" + ", ".join(f"{ord(old)}: {_quoted(new)}" for old, new in rules.replaced.items()) + "}"
    return [
        f"set rest = namespace(text=text.translate({table}).split() | join(' '))",
        f"for stop in {_quoted(_STOPS)}",
        f"for pause in {_quoted(_PAUSES)}",
        f"set rest.text = rest.text.replace(stop ~ pause, stop ~ {_quoted(_TAKEN)})",
        f"set rest.text = rest.text.replace(stop ~ ' ' ~ pause, stop ~ {_quoted(_TAKEN)})",
        "endfor",
        "endfor",
        f"set text = rest.text.replace({_quoted(_TAKEN)}, '')",
    ]


def _ending() -> list[str]:
    """A full stop for a last pause or dash, or behind what ends with a word."""
    return [
        f"set core = text.rstrip({_quoted(_CLOSERS + ' ')})",
        "set closers = text[core | length:].strip()",
        f"if core and core[-1:] in {_quoted(_WEAK)}",
        f"set text = core.rstrip({_quoted(_WEAK + ' ')}) ~ '.' ~ closers",
        f"elif core and core[-1:] not in {_quoted(_STOPS)}",
        "set text = text ~ '.'",
        "endif",
    ]


def _quoted(text: str) -> str:
    """A literal of the template; beyond ASCII as it is, since a template knows no pair of escapes."""
    return json.dumps(text, ensure_ascii=False)
