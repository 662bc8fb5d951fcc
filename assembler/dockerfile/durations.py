"""Go's durations, as HEALTHCHECK takes them: `1h30m`, `1.5s`, `300ms`."""

from __future__ import annotations

import re
from decimal import Decimal

from assembler.dockerfile.words import WordError

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(ns|us|µs|ms|s|m|h)", re.ASCII)
_SHORTEST = 10**6
_LONGEST = 2**63 - 1


def parse_duration(text: str) -> int:
    """Return nanoseconds; 0 means the default. Raises `WordError` for what is no duration."""
    if text == "0":
        return 0
    total, position = Decimal(0), 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            break
        total += Decimal(match[1]) * _UNITS[match[2]]
        position = match.end()
    if not text or position < len(text):
        raise WordError(f"{text!r} is no duration; write it as 30s, 1m30s or 500ms")
    nanoseconds = int(total)
    if nanoseconds > _LONGEST or 0 < nanoseconds < _SHORTEST:
        raise WordError(
            f"{text!r} is too {'long' if nanoseconds > _LONGEST else 'short'} a duration"
        )
    return nanoseconds
