"""The one time that a build stamps on what it makes: never the clock's.

https://reproducible-builds.org/specs/source-date-epoch/
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from assembler.errors import BuildError

EPOCH_MAX = 0xFFFFFFFF
_FRACTION = re.compile(r"\.\d+")


def parse_epoch(text: str, where: str) -> int:
    """Return the seconds that SOURCE_DATE_EPOCH (or the option, *where*) gives."""
    if not text.isascii() or not text.isdigit() or int(text[:20]) > EPOCH_MAX:
        raise BuildError(
            f"{where} is {text!r:.60}, but must be whole seconds since 1970, at most {EPOCH_MAX} "
            "(the latest that a squashfs holds)"
        )
    return int(text)


def epoch_of_created(created: str | None) -> int:
    """Return the seconds of an image config's `created`; 0 where it has none that can be read."""
    if not created:
        return 0
    try:
        # Nanoseconds, as Docker writes them, are more than Python reads.
        moment = datetime.fromisoformat(_FRACTION.sub("", created))
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(int(moment.timestamp()), 0), EPOCH_MAX)


def format_created(epoch: int) -> str:
    """Return *epoch* as RFC 3339 in UTC, as image configs have it."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
