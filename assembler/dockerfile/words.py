"""Words and JSON arrays: how an instruction's text is cut up before anything is expanded."""

from __future__ import annotations

import json
import re
from typing import Any

SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))
SPACE += "\u2028\u2029\u202f\u205f\u3000"
"""What Go's `unicode.IsSpace` takes for space; Python's `isspace` takes more (0x1c to 0x1f)."""

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class WordError(Exception):
    """Text that is not as its instruction needs it; the message says what was expected."""


def split_blanks(text: str, parts: int = 0) -> list[str]:
    """Split *text*, which is stripped, at ASCII blanks, into at most *parts* (0: all there are)."""
    return _BLANKS.split(text, maxsplit=max(parts - 1, 0)) if text else []


def split_words(text: str, escape: str) -> list[str]:
    """Split at spaces outside quotes; quotes and escapes stay in the words."""
    words: list[str] = []
    current: list[str] = []
    quote = ""
    index = 0
    while index < len(text):
        char = text[index]
        index += 1
        if char == escape and quote != "'":
            # An escape character that ends the text escapes nothing, and is dropped.
            if index < len(text):
                current += (char, text[index])
                index += 1
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in SPACE:
            if current:
                words.append("".join(current))
                current = []
            continue
        current.append(char)
    if current:
        words.append("".join(current))
    return words


def parse_array(text: str) -> tuple[str, ...] | None:
    """Return the strings of a JSON array; `None` for what is not valid JSON (so: shell form).

    Raises `WordError` for an array that holds anything else than strings.
    """
    if not text.startswith("["):
        return None
    try:
        value: Any = json.loads(text, parse_int=_number, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    for item in value:
        if not isinstance(item, str):
            raise WordError(
                f"its JSON array holds {json.dumps(item)[:40]}, which is not a string; put every "
                "item in double quotes"
            )
    return tuple(_SURROGATE.sub("\ufffd", item) for item in value)


def refuse_nul(words: tuple[str, ...]) -> tuple[str, ...]:
    r"""Return *words*, which a system call will take; raise `WordError` for a `\u0000` in them."""
    if any("\0" in word for word in words):
        raise WordError("its JSON array holds a NUL character, which no path or program can have")
    return words


def _number(digits: str) -> float:
    """Read a number, which is only shown: Python refuses integers of very many digits."""
    return int(digits) if len(digits) <= 20 else float(digits)


def _no_constant(name: str) -> None:
    """Refuse `NaN` and `Infinity`, which Python reads but JSON does not have."""
    raise ValueError(name)
