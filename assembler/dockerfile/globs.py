"""Path patterns: Go's `filepath.Match`, and Moby's, which know `**`, as regular expressions.

`*` and `?` match within one name; `**` any number of whole directories, or any end. Classes are
`[a-z]` and `[^a-z]`; a backslash takes the next character as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEP_LIMIT = 8
"""How often `**` can stand in a pattern: each one multiplies the ways to match."""


class GlobError(ValueError):
    """A pattern that is malformed; the text completes "pattern ...: "."""


def has_wildcards(text: str) -> bool:
    """Whether *text* is a pattern, not just a path."""
    return any(piece in {"*", "?"} or len(piece) > 2 for piece in _pieces(text))


def unescape(text: str) -> str:
    """Return a pattern without wildcards as the path it means."""
    return "".join(piece[-1] for piece in _pieces(text))


@lru_cache(maxsize=1024)
def match_path(pattern: str) -> re.Pattern[str]:
    """Return what `filepath.Match` matches; `**` is no more than `*` there."""
    return _compiled("".join(_translated(re.sub(r"(?<!\\)\*+", "*", pattern), deep=False)))


@lru_cache(maxsize=1024)
def match_deep(pattern: str) -> re.Pattern[str]:
    """Return what Moby's matcher matches (`.dockerignore`, `--exclude`, `--parents`)."""
    if pattern.count("**") > _DEEP_LIMIT:
        raise GlobError(f"it has more than {_DEEP_LIMIT} times **")
    rest = pattern[2:]
    if pattern.startswith("**") and rest[:1] != "/" and rest and not re.search(r"[*?\[\\]", rest):
        # Only here `**` ends within a name, as Moby compares the ends of such paths.
        return _compiled(".*" + re.escape(rest))
    return _compiled("".join(_translated(pattern, deep=True)))


def _compiled(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression, re.DOTALL)
    except re.error as error:
        raise GlobError(f"it is malformed ({error})") from None


def _translated(pattern: str, *, deep: bool) -> Iterator[str]:
    """Translate; what follows a `*` up to the next one is atomic, so matching takes no ages.

    The first place where it matches leaves most to the rest, so no other one has to be tried.
    """
    open_star = False
    pieces = list(_pieces(pattern))
    position = 0
    while position < len(pieces):
        piece = pieces[position]
        position += 1
        if piece != "*":
            yield _single(piece)
            continue
        if open_star:
            yield ")"
            open_star = False
        if deep and pieces[position : position + 1] == ["*"]:
            position += 1
            if pieces[position : position + 1] == ["/"]:
                position += 1
            yield "(?:.*/)?" if position < len(pieces) else ".*"
        elif "*" in pieces[position:]:
            yield "(?>[^/]*?"
            open_star = True
        else:
            yield "[^/]*"
    if open_star:
        yield ")"


def _single(piece: str) -> str:
    if piece == "?":
        return "[^/]"
    if len(piece) > 2:
        return piece
    return re.escape(piece[-1])


def _pieces(pattern: str) -> Iterator[str]:
    r"""Yield `*`, `?`, whole classes (as regular expressions), escapes (`\x`) and characters."""
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            if position + 1 == len(pattern):
                raise GlobError("it ends in a backslash")
            yield pattern[position : position + 2]
            position += 2
        elif char == "[":
            piece, position = _class(pattern, position)
            yield piece
        else:
            yield char
            position += 1


def _class(pattern: str, start: int) -> tuple[str, int]:
    """Return the class that begins at *start* as a regular expression, and where it ends."""
    position = start + 1
    negated = pattern[position : position + 1] == "^"
    position += negated
    items: list[str] = []
    while position < len(pattern) and (pattern[position] != "]" or not items):
        low, position = _member(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _member(pattern, position + 1)
        if high < low:
            raise GlobError(f"the range {low}-{high} is backwards")
        items.append(f"{re.escape(low)}-{re.escape(high)}")
    if position >= len(pattern):
        raise GlobError("its [ is not closed")
    # No class matches a slash.
    return f"[^/{''.join(items)}]" if negated else f"(?!/)[{''.join(items)}]", position + 1


def _member(pattern: str, position: int) -> tuple[str, int]:
    if position < len(pattern) and pattern[position] == "\\":
        position += 1
    if position >= len(pattern):
        raise GlobError("its [ is not closed")
    return pattern[position], position + 1
