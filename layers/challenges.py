"""What a 401 asks for: the challenges of WWW-Authenticate (RFC 9110, 11.6.1). Pure.

Read more leniently than the grammar where servers are: a value without quotes may hold any
characters but spaces and commas (`realm=https://host/token`), and what cannot be read is passed
over up to the next comma, so that one odd challenge does not hide the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN68 = re.compile(r"[0-9A-Za-z._~+/-]+=*(?=[ \t]*(?:,|\Z))")
_SPACE = re.compile(r"[ \t]*")
_COMMAS = re.compile(r"[ \t,]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)(?:"|\\?\Z)', re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_UNQUOTED = re.compile(r'[^\s,"]*')
_ODD = re.compile(r'(?:"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^,"])*', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in: its scheme and the names of its parameters in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    token68: str = ""


def parse_challenges(header: str) -> list[Challenge]:
    """Return the challenges of WWW-Authenticate; several lines of it may be joined by commas."""
    return _Parser(header).parse()


class _Parser:
    """Walks once through a header's value."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: list[Challenge] = []
        self._parameters: dict[str, str] | None = None
        """Of the last challenge, as far as they are known."""

    def parse(self) -> list[Challenge]:
        while self._skip(_COMMAS) < len(self._text):
            name = self._take(_TOKEN)
            if name and self._take(_EQUALS):
                self._parameter(name)
            elif name:
                self._challenge(name)
            # What is left before the next comma is none of the grammar's.
            self._skip(_ODD)
        return self._found

    def _parameter(self, name: str) -> None:
        value = self._value()
        if self._parameters is not None:
            self._parameters[name.lower()] = value

    def _challenge(self, scheme: str) -> None:
        self._skip(_SPACE)
        token68 = self._take(_TOKEN68)
        self._parameters = {}
        self._found.append(Challenge(scheme.lower(), self._parameters, token68))
        if not token68:
            name = self._take(_TOKEN)
            if name and self._take(_EQUALS):
                self._parameter(name)

    def _value(self) -> str:
        match = _QUOTED.match(self._text, self._at)
        if match is None:
            return self._take(_UNQUOTED)
        self._at = match.end()
        return _PAIR.sub(r"\1", match[1])

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _skip(self, pattern: re.Pattern[str]) -> int:
        self._take(pattern)
        return self._at
