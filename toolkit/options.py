"""Values of options that several models parse alike."""

from toolkit.errors import OptionError


def numbers_of_option(
    text: str, option: str, low: float, high: float, *, example: str = "8,40", why: str = ""
) -> list[float]:
    """Parse a comma-separated option: its numbers, each once, smallest first.

    Args:
        text: what was given.
        option: its flag, for the message.
        low: smallest that is allowed.
        high: largest that is allowed.
        example: shown where the text is no list of numbers.
        why: appended to the message about the limits.

    Raises:
        OptionError: no numbers, or one outside the limits.
    """
    try:
        numbers = sorted({float(part) for part in text.split(",")})
    except ValueError as error:
        raise OptionError(f"{option} needs numbers such as {example}, got '{text}'") from error
    if not all(low <= n <= high for n in numbers):
        raise OptionError(f"{option} must be between {low:g} and {high:g}{why}")
    return numbers
