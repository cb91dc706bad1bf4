"""Texts that try Kyutai's rules of preparation, and what ours make of them."""

from models.pocket_tts.kyutai.tokenizer import AUDIO_BOS
from toolkit.errors import ToolkitError

TEXTS = (
    "Hello world",
    "hello world.",
    "  leading and trailing blanks  ",
    "a trailing comma,",
    "a trailing colon:",
    "a trailing semicolon;",
    "a trailing dash -",
    "a trailing en dash –",
    "an em dash—",
    "several , - – marks ,,;",
    "It’s a curly apostrophe",
    "‘single quotes’ around",
    "“double quotes” around",
    'straight "quotes" around',
    '"A whole sentence in quotes."',
    'He said "hi"',
    'He said "hi",',
    '"Hi?", she said',
    '"Hi!" , she said; then left',
    "«guillemets» and (brackets) [too]",
    "brackets at the end (really)",
    "brackets at the end (really.)",
    "an ellipsis…",
    "three dots...",
    "dots... in, the middle; of: it",
    "tabs\tand\ttabs",
    "lines\nand\r\nlines",
    "four    blanks   and  two",
    "one\u00a0hard blank",
    "\u3000wide blank first",
    "ÉCLAIR and ß",
    "ßtraße first",
    "ǆ titlecase digraph",
    "éa composed, e\u0301a decomposed",
    "ﬁ ligature, ① circled, Ａ wide",
    "3.14 is pi. 2.71 is e.",
    "Version 1.2.3. And then 4",
    "one two three four —",
    "one two three four five —",
    "one two three four",
    "one two three four five",
    "What?! No!!! Yes...?",
    "wait.,; what",
    "wait. , what",
    "¿Qué tal? ¡Bien!",
    "emoji 😀 inside",
    "...",
    '""',
    "()",
    " ",
    "A sentence. Another one! A third? A fourth, with a clause; and one more: the end. " * 3,
    "no end of sentence here, only clauses, and more clauses; many of them: " * 5,
    "a very long run of words without any mark at all " * 8,
)


def prepared(prompter, text):
    return prompter._rendered(text, voice=False).removesuffix(AUDIO_BOS)


def frames(prompter, text):
    return prompter._prompt(text, prompter._ids(text, False), False).frames_after_eos


def chunks(prompter, text):
    return prompter.split(text, 50)


OURS = {"text": prepared, "frames": frames, "chunks": chunks}
# Share that may differ, by the differences that the page lists.
MAY_DIFFER = {"text": 0.0, "frames": 0.0, "chunks": 0.0}


def ours_or_none(function, prompter, text):
    """None where the host refuses a text: nothing in it can be said."""
    try:
        prompter._check(text)
    except ToolkitError:
        return None
    return function(prompter, text)


def difference_cells(differences):
    """A row for each text and pair of results, with the languages that it is seen in."""
    grouped = {}
    for what, text, theirs, ours, language in differences:
        grouped.setdefault((what, text, repr(theirs), repr(ours)), []).append(language)
    return [
        [what, shown(text), shown(theirs), shown(ours), str(len(names))]
        for (what, text, theirs, ours), names in grouped.items()
    ]


def shown(text):
    text = text if len(text) <= 60 else f"{text[:59]}…"
    return "`" + text.replace("|", "\\|").replace("\n", "\\n").replace("\t", "\\t").replace("`", "'") + "`"
