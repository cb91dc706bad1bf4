"""What is spoken: digit strings, playing cards, movement commands; and, as a text of its own, common English."""

import random
from pathlib import Path

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RANKS = (*DIGITS[1:], "ten", "ace", "jack", "queen", "king")
SUITS = ("clubs", "spades", "hearts", "diamonds")
COMMANDS = ("go", "turn", "move", "stop")
DIRECTIONS = ("forward", "backward", "left", "right")
UNITS = ("meters", "degrees", "steps")
WORDS = tuple(dict.fromkeys((*DIGITS, *RANKS, "of", *SUITS, *COMMANDS, *DIRECTIONS, *UNITS)))
COMMON_SENTENCES = [line.split() for line in (Path(__file__).parent / "sentences.txt").read_text().splitlines()]
COMMON_WORDS = sorted({word for words in COMMON_SENTENCES for word in words})


def digit_string(rng: random.Random, longest: int = 6) -> list[str]:
    """Return 1..`longest` random digits."""
    return [rng.choice(DIGITS) for _ in range(rng.randint(1, longest))]


def card_sequence(rng: random.Random, longest: int = 3) -> list[str]:
    """Return 1..`longest` cards, now and then one cut down to its bare rank."""
    words: list[str] = []
    for _ in range(rng.randint(1, longest)):
        words.append(rng.choice(RANKS))
        if rng.random() < 0.85:
            words += ["of", rng.choice(SUITS)]
    return words


def command(rng: random.Random) -> list[str]:
    """Return one movement command, such as "go forward ten meters"."""
    verb = rng.choice(COMMANDS)
    if verb == "stop" and rng.random() < 0.5:
        return [verb]
    words = [verb, rng.choice(DIRECTIONS)]
    if rng.random() < 0.85:
        number = ["ten"] if rng.random() < 0.25 else digit_string(rng, longest=2)
        words += [*number, rng.choice(UNITS)]
    return words


def loose_words(rng: random.Random) -> list[str]:
    """Return 2..6 words in no order, so that the model must listen rather than guess."""
    return [rng.choice(WORDS) for _ in range(rng.randint(2, 6))]


def sentence(rng: random.Random) -> list[str]:
    """Return one random sentence of the domain as a list of words."""
    kind = rng.random()
    if kind < 0.2:
        return digit_string(rng)
    if kind < 0.6:
        return card_sequence(rng)
    return command(rng) if kind < 0.85 else loose_words(rng)


def common_english(rng: random.Random) -> list[str]:
    """Return a stretch of a common sentence, of two, or 2..7 common words in no order."""
    kind = rng.random()
    if kind < 0.4:
        return [rng.choice(COMMON_WORDS) for _ in range(rng.randint(2, 7))]
    words = list(rng.choice(COMMON_SENTENCES))
    if kind < 0.7:
        words += rng.choice(COMMON_SENTENCES)
    start = rng.randint(0, len(words) - 2)
    return words[start : start + rng.randint(2, 14)]


def held_out(words: list[str]) -> bool:
    """Say whether a sentence of four words or more belongs to the held-out texts (one in ten, by its letters)."""
    return len(words) >= 4 and sum(" ".join(words).encode()) % 10 == 0
