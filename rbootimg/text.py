"""Text from files and from the network, made safe to print; numbers with their nouns."""

from __future__ import annotations


def printable(text: str, max_length: int | None = None) -> str:
    """Replace what would control a terminal by U+FFFD, and shorten `text` to `max_length` characters."""
    text = text if max_length is None else shorten(text, max_length)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def quote(text: str, max_length: int = 80) -> str:
    """Return repr() of `text`, shortened to `max_length` characters before it is quoted and escaped."""
    return repr(shorten(text, max_length))


def shorten(text: str, max_length: int) -> str:
    """Cut `text` to `max_length` characters, the last of which is then an ellipsis."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def counted(number: int, noun: str) -> str:
    """Format `number` of the things that `noun` names: `1 byte`, `1,024 bytes`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
