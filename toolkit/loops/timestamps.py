"""Token and word times from the frames and durations of a transducer.

Source: transformers 5.23, models/parakeet/processing_parakeet.py, `decode` and `_refine_timestamps`.
"""

from collections.abc import Callable, Sequence
from statistics import fmean

from toolkit.loops.transducer import Emission
from toolkit.text.detokenise import Detokeniser
from toolkit.transcript import Token, Word

# `supported_punctuation` upstream: these take no time of their own.
PUNCTUATION = frozenset("?'¡¿-:,%/.!")


def tokens_from_emissions(emissions: Sequence[Emission], pieces: Sequence[str], frame_s: float) -> tuple[Token, ...]:
    """Tokens with times.

    A token spans its frame and duration; a punctuation mark starts and ends where the token before it ends.

    Args:
        emissions: those that are text, in order.
        pieces: what each of them adds to the text.
        frame_s: seconds an encoder frame.
    """
    tokens: list[Token] = []
    previous_end_s: float | None = None  # of the last token that added text
    for emission, piece in zip(emissions, pieces, strict=True):
        start_s, end_s = emission.frame * frame_s, (emission.frame + emission.duration) * frame_s
        if piece in PUNCTUATION and previous_end_s is not None:
            start_s = end_s = previous_end_s
        tokens.append(Token(emission.token_id, piece, start_s, end_s, emission.probability))
        previous_end_s = end_s if piece else previous_end_s
    return tuple(tokens)


def words_from_tokens(tokens: Sequence[Token], detokeniser: Detokeniser) -> tuple[Word, ...]:
    """Words: tokens, each with its times, grouped at the word boundary; those without text are left out."""
    words = (_word(group, detokeniser) for group in _groups(tokens, detokeniser.begins_word))
    return tuple(word for word in words if word.text)


def _groups(tokens: Sequence[Token], begins_word: Callable[[int], bool]) -> list[list[Token]]:
    groups: list[list[Token]] = []
    for token in tokens:
        if not groups or begins_word(token.id):
            groups.append([])
        groups[-1].append(token)
    return groups


def _word(group: list[Token], detokeniser: Detokeniser) -> Word:
    text = detokeniser.text([token.id for token in group]).strip()
    # A bare word boundary at the start of the utterance adds nothing; the reference drops it, and its time with it.
    bare = not group[0].text and not detokeniser.text([group[0].id]).strip()
    first = group[1] if bare and len(group) > 1 else group[0]
    assert first.start_s is not None
    assert group[-1].end_s is not None
    return Word(text, first.start_s, group[-1].end_s, fmean(token.confidence for token in group))
