"""Shell patterns for `${x#p}` and its kin: `*` and `?`, matched without ever trying twice.

A pattern is a set of bits for each character: bit *i* of the state says that its first *i* items
have been matched. So all ways to match are followed at once, and the time is linear in the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WORD_BITS = 64
_WORK_LIMIT = 20_000_000


class PatternError(Exception):
    """A pattern that is malformed, or that would take too long or yield too much."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern for *size* characters and any number of `*` between them."""

    size: int
    stars: int
    """Bit *i*: there is a `*` before item *i* (the last bit: at the end)."""
    wild: int
    """Bit *i*: item *i* is a `?`."""
    plain: Mapping[str, int]
    """Bit *i* of a character: item *i* is that character."""

    @classmethod
    def parse(cls, text: str) -> Pattern:
        r"""Read a pattern; only `\*`, `\?`, `\\`, `\}` and `\/` are escapes, as in BuildKit."""
        size, stars, wild = 0, 0, 0
        plain: dict[str, int] = {}
        characters = iter(text)
        for char in characters:
            if char == "*":
                stars |= 1 << size
                continue
            if char == "?":
                wild |= 1 << size
            else:
                item = _escaped(next(characters, "")) if char == "\\" else char
                plain[item] = plain.get(item, 0) | 1 << size
            size += 1
        return cls(size, stars, wild, plain)

    def reverse(self) -> Pattern:
        """Return the pattern that matches the same values backwards."""
        plain = {char: _mirror(bits, self.size) for char, bits in self.plain.items()}
        return Pattern(
            self.size, _mirror(self.stars, self.size + 1), _mirror(self.wild, self.size), plain
        )

    def work(self, value: str) -> int:
        """Return what matching *value* costs, in characters and words of the state.

        Raises `PatternError` where that would take more than seconds.
        """
        work = (self.size // _WORD_BITS + 1) * len(value)
        if work > _WORK_LIMIT:
            raise PatternError("the pattern and the value are too long for each other; shorten one")
        return work

    def ends(self, value: str, start: int = 0) -> Iterator[int]:
        """Yield, ascending, where a match that begins at *start* can end."""
        state = 1
        if self.size == 0:
            yield start
        for index in range(start, len(value)):
            state = self.step(state, value[index])
            if not state:
                return
            if state >> self.size:
                yield index + 1

    def begins(self, value: str) -> list[int]:
        """Return, descending, where matches can begin."""
        backwards = self.reverse()
        state = 1
        found = [len(value)] if self.size == 0 else []
        for index in range(len(value) - 1, -1, -1):
            state = backwards.step(state, value[index]) | 1
            if state >> self.size:
                found.append(index)
        return found

    def step(self, state: int, char: str) -> int:
        """Return the state after *char*: which counts of items can have been matched."""
        moved = state & self.plain.get(char, 0)
        if char == "\n":
            # Neither * nor ? matches a line break: BuildKit makes regular expressions of them.
            return moved << 1
        return (moved | state & self.wild) << 1 | state & self.stars


def trim(value: str, pattern: Pattern, *, back: bool, longest: bool) -> str:
    """Remove the shortest or longest match at the front, or at the *back*, of *value*."""
    if back:
        return trim(value[::-1], pattern.reverse(), back=False, longest=longest)[::-1]
    ends = pattern.ends(value)
    return value[max(ends, default=0) if longest else next(ends, 0) :]


def substitute(
    value: str, pattern: Pattern, replacement: str, *, everywhere: bool, limit: int
) -> str:
    """Replace the longest match at the first place that has one, or at every place.

    Raises `PatternError` where the result would have more than *limit* characters.
    """
    pieces: list[str] = []
    done = 0
    begins = pattern.begins(value)
    matched_to = -1
    while begins:
        begin = begins.pop()
        if begin < done:
            continue
        end = max(pattern.ends(value, begin))
        if begin == end == matched_to:
            # No empty match right behind another one, as in Go.
            continue
        pieces += (value[done:begin], replacement)
        done = matched_to = end
        if not everywhere:
            break
    _check_size(pieces, len(value), limit)
    return "".join(pieces) + value[done:]


def _check_size(pieces: Sequence[str], tail: int, limit: int) -> None:
    if sum(map(len, pieces)) + tail > limit:
        raise PatternError("the result is too long; replace by something shorter")


def _escaped(char: str) -> str:
    if char not in {"*", "?", "\\", "}", "/"}:
        raise PatternError(f"\\{char} is no escape in a pattern; write \\\\ for a backslash")
    return char


def _mirror(bits: int, width: int) -> int:
    """Return *bits* with the first of *width* exchanged with the last, and so on."""
    return int(format(bits, f"0{width}b")[::-1], 2) if width else 0
