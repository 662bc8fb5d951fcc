"""Go's durations, as HEALTHCHECK takes them: `1h30m`, `1.5s`, `300ms`."""

from __future__ import annotations

import re
from decimal import Decimal

from assembler.dockerfile.words import WordError

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # MICRO SIGN
    "μs": 10**3,  # GREEK SMALL LETTER MU
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(ns|us|\xb5s|\u03bcs|ms|s|m|h)", re.ASCII)
_SHORTEST = 10**6
_LONGEST = 2**63 - 1


def parse_duration(text: str) -> int:
    """Return nanoseconds; 0, also for no text, means the default. Raises `WordError`."""
    unsigned = text.removeprefix("+")
    if unsigned in {"", "0"} and text != "+":
        return 0
    total, position = 0, 0
    while match := _PART.match(unsigned, position):
        total += int(Decimal(match[1]) * _UNITS[match[2]])
        position = match.end()
    if position < len(unsigned) or not unsigned:
        raise WordError(f"{text[:40]!r} is no duration; write it as 30s, 1m30s or 500ms")
    if total > _LONGEST or 0 < total < _SHORTEST:
        problem = "longer than 292 years" if total > _LONGEST else "shorter than 1ms"
        raise WordError(f"the duration {text[:40]} is {problem}; write one between them")
    return total
