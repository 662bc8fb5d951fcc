"""Numbers in text whose length a stranger decides. Pure."""

from __future__ import annotations


def decimal(text: str, most: int) -> int | None:
    """Return the number that ASCII digits write; `None` for other text, and past *most*.

    Python refuses to convert thousands of digits, by a `ValueError` (CVE-2020-10735).
    """
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(most)):
        return None
    number = int(digits)
    return number if number <= most else None
