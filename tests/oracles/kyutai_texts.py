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
NOTHING = "the host refuses a text in which nothing can be said"
WORDS = "transformers counts the words that are left when the text is prepared and known to the tokenizer"
UNKNOWN = "transformers keeps what the tokenizer does not know as its token, Kyutai drops it between chunks"


def ours_or_none(function, prompter, text):
    """None where the host refuses a text: nothing in it can be said."""
    try:
        prompter._check(text)
    except ToolkitError:
        return None
    return function(prompter, text)


def named(what, text, theirs, ours):
    """Why two results differ; empty if that is not known."""
    if ours is None and not any(map(str.isalnum, text)):
        return NOTHING
    if what == "frames" and (theirs, ours) == (2, 4):
        return WORDS
    if what == "chunks" and None not in (theirs, ours) and "<unk>" in "".join(ours):
        known = [chunk.replace("<unk>", "").split() for chunk in ours]
        return UNKNOWN if known == [chunk.split() for chunk in theirs] else ""
    return ""


def difference_cells(differences):
    """A row for each text and pair of results, with the name of the difference and the languages it is seen in."""
    grouped = {}
    for what, text, theirs, ours, language in differences:
        name = named(what, text, theirs, ours) or "**unknown**"
        grouped.setdefault((what, name, text, repr(theirs), repr(ours)), []).append(language)
    return [
        [what, shown(text), shown(theirs), shown(ours), str(len(languages)), name]
        for (what, name, text, theirs, ours), languages in grouped.items()
    ]


def shown(text):
    text = text if len(text) <= 60 else f"{text[:59]}…"
    return "`" + text.replace("|", "\\|").replace("\n", "\\n").replace("\t", "\\t").replace("`", "'") + "`"
