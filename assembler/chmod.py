"""`--chmod`: octal, or symbolic as chmod(1) has it (`u+x,go=rX`), without a umask."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from assembler.errors import BuildError

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_ALL = "ugo"


@dataclass(frozen=True, slots=True)
class Chmod:
    """What becomes of modes."""

    octal: int | None
    actions: tuple[tuple[str, str, str], ...] = ()
    """(who, one of `-+=`, permissions or one of `ugo`)"""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the flag's value; raise `BuildError`."""
        if re.fullmatch(r"[0-7]+", text, re.ASCII) and int(text, 8) <= 0o7777:
            return cls(int(text, 8))
        actions: list[tuple[str, str, str]] = []
        for clause in text.split(","):
            match = _CLAUSE.fullmatch(clause)
            if match is None:
                raise BuildError(
                    f"--chmod={text}: write it in octal, 0 to 7777, or as u+x,go=rX (chmod(1))"
                )
            who = _ALL if not match[1] or "a" in match[1] else match[1]
            actions += [(who, sign, what) for sign, what in _ACTION.findall(match[2])]
        return cls(None, tuple(actions))

    @property
    def made(self) -> int:
        """The mode of directories that are made on the way; symbols do not concern them."""
        return 0o755 if self.octal is None else self.octal

    def apply(self, mode: int, *, directory: bool) -> int:
        """Return what becomes of *mode*."""
        if self.octal is not None:
            return self.octal
        for who, sign, what in self.actions:
            bits = _bits(mode, who, what, directory=directory)
            if sign == "+":
                mode |= bits
            elif sign == "-":
                mode &= ~bits
            else:
                mode = mode & ~_bits(0o777, who, "rwx" + _special(who), directory=True) | bits
        return mode


def _special(who: str) -> str:
    return ("s" if set(who) & {"u", "g"} else "") + ("t" if "o" in who else "")


def _bits(mode: int, who: str, what: str, *, directory: bool) -> int:
    if what and what in _SHIFTS:
        triple = mode >> _SHIFTS[what] & 7
    else:
        triple = sum(_BITS[char] for char in set(what) & set(_BITS))
        if "X" in what and (directory or mode & 0o111):
            triple |= 1
    bits = 0
    for one in set(who):
        bits |= triple << _SHIFTS[one]
    if "s" in what:
        bits |= (0o4000 if "u" in who else 0) | (0o2000 if "g" in who else 0)
    if "t" in what:
        bits |= 0o1000 if "o" in who else 0
    return bits
