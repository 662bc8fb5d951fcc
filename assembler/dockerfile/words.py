"""Words, flags and JSON arrays: how an instruction's text is cut up before anything is expanded."""

from __future__ import annotations

import json
from typing import Any


class WordError(Exception):
    """Text that cannot be cut up; the message says why."""


class NotStrings(WordError):
    """A JSON array that holds something else than strings."""


def split_words(text: str, escape: str) -> list[str]:
    """Split at spaces outside quotes; quotes and escapes stay in the words."""
    words: list[str] = []
    current: list[str] = []
    quote = ""
    index = 0
    while index < len(text):
        char = text[index]
        if char == escape and quote != "'" and index + 1 < len(text):
            current.append(text[index : index + 2])
            index += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            if current:
                words.append("".join(current))
                current = []
            index += 1
            continue
        current.append(char)
        index += 1
    if current:
        words.append("".join(current))
    return words


def unquote(text: str, escape: str) -> str:
    """Take off quotes and escapes, as a shell would, without expanding anything."""
    result: list[str] = []
    quote = ""
    index = 0
    while index < len(text):
        char = text[index]
        if char == escape and quote != "'" and index + 1 < len(text):
            following = text[index + 1]
            if quote == '"' and following not in '"$' + escape:
                result.append(char)
            result.append(following)
            index += 2
            continue
        if quote:
            if char == quote:
                quote = ""
            else:
                result.append(char)
        elif char in "'\"":
            quote = char
        else:
            result.append(char)
        index += 1
    if quote:
        raise WordError(f"the quote {quote} is not closed")
    return "".join(result)


def split_flags(text: str, escape: str) -> tuple[list[str], str]:
    """Return the `--name=value` words that *text* begins with, unquoted, and the rest.

    `--` alone ends them.
    """
    flags: list[str] = []
    rest = text.lstrip()
    while rest.startswith("--"):
        word = _first_word(rest, escape)
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        flags.append(unquote(word, escape))
    return flags, rest


def _first_word(text: str, escape: str) -> str:
    quote = ""
    index = 0
    while index < len(text):
        char = text[index]
        if char == escape and quote != "'":
            index += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            break
        index += 1
    return text[:index]


def parse_array(text: str) -> list[str] | None:
    """Return a JSON array of strings; `None` for what is no JSON array (so it is shell form).

    Raises `NotStrings` for an array of anything else.
    """
    text = text.strip()
    if not text.startswith("["):
        return None
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str) for item in value):
        raise NotStrings("a JSON array must hold strings only; put every item in double quotes")
    return value
