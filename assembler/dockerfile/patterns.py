"""Shell patterns for `${x#p}` and its kin: `*` and `?`, matched in time linear in the value."""

from __future__ import annotations

import enum

_WORK_LIMIT = 20_000_000


class Wild(enum.Enum):
    """What is not a plain character in a pattern."""

    ANY = "*"
    ONE = "?"


Pattern = tuple[str | Wild, ...]


class PatternError(Exception):
    """A pattern that would take too long on its value."""


def parse_pattern(text: str, escape: str) -> Pattern:
    """Read a pattern; what follows the escape character is plain."""
    result: list[str | Wild] = []
    index = 0
    while index < len(text):
        char = text[index]
        if char == escape and index + 1 < len(text):
            index += 1
            result.append(text[index])
        elif char == "*":
            if not result or result[-1] is not Wild.ANY:
                result.append(Wild.ANY)
        else:
            result.append(Wild.ONE if char == "?" else char)
        index += 1
    return tuple(result)


def match_lengths(pattern: Pattern, value: str, start: int = 0) -> list[int]:
    """Return the lengths, ascending, that the pattern can match from *start* on.

    All states of the pattern are followed at once, so nothing is ever tried twice.
    """
    if len(pattern) * (len(value) - start) > _WORK_LIMIT:
        raise PatternError("the value is too long for this pattern")
    states = _skip_any(pattern, {0})
    lengths = [0] if len(pattern) in states else []
    for index in range(start, len(value)):
        states = _step(pattern, states, value[index])
        if not states:
            break
        if len(pattern) in states:
            lengths.append(index - start + 1)
    return lengths


def replace(value: str, pattern: Pattern, replacement: str, *, everywhere: bool) -> str:
    """Replace the longest match at the first place that has one, or at every place."""
    if not pattern:
        return value
    if not any(isinstance(item, Wild) for item in pattern):
        plain = "".join(item for item in pattern if isinstance(item, str))
        return value.replace(plain, replacement, -1 if everywhere else 1)
    if len(pattern) * len(value) ** 2 > _WORK_LIMIT:
        raise PatternError("the value is too long for this pattern")
    result: list[str] = []
    index = 0
    while index < len(value):
        lengths = [length for length in match_lengths(pattern, value, index) if length]
        if not lengths:
            result.append(value[index])
            index += 1
            continue
        result.append(replacement)
        index += lengths[-1]
        if not everywhere:
            break
    return "".join(result) + value[index:]


def _step(pattern: Pattern, states: set[int], char: str) -> set[int]:
    following: set[int] = set()
    for state in states:
        if state == len(pattern):
            continue
        item = pattern[state]
        if item is Wild.ANY:
            following.add(state)
        elif item is Wild.ONE or item == char:
            following.add(state + 1)
    return _skip_any(pattern, following)


def _skip_any(pattern: Pattern, states: set[int]) -> set[int]:
    """Add the states that `*` reaches by matching nothing."""
    for state in list(states):
        if state < len(pattern) and pattern[state] is Wild.ANY:
            states.add(state + 1)
    return states
