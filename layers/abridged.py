"""Lists for people whose length, or whose items' length, a stranger decides. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ITEMS = 20
_ITEM = 200


def abridged(items: Sequence[str], separator: str = ", ", most: int = _ITEMS) -> str:
    """Join *items*: *most* of them, the beginning of each; then how many more there are."""
    shown = [item if len(item) <= _ITEM else f"{item[:_ITEM]}..." for item in items[:most]]
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return separator.join(shown) + more
