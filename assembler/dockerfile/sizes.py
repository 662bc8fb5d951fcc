"""Sizes with units, as Docker reads amounts of memory: `64m`, `1.5 GiB`."""

from __future__ import annotations

import re

from assembler.dockerfile.words import WordError

_SIZE = re.compile(r"(\d{1,30}(?:\.\d{0,30})?|\.\d{1,30}) ?([kmgtp]?)(i?)(b?)", re.ASCII)
_UNITS = " kmgtp"


def parse_memory(text: str) -> int:
    """Return the bytes that *text* means; units are powers of 1024. Raises `WordError`."""
    match = _SIZE.fullmatch(text.lower())
    if match is None or (match[3] and not (match[2] and match[4])):
        raise WordError(f"{text[:40]!r} is no size; write a number and a unit, as 64m")
    return int(float(match[1]) * 1024 ** _UNITS.index(match[2] or " "))
