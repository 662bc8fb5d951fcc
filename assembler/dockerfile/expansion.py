r"""`$NAME` and its forms, with a shell's quoting, as BuildKit's frontend expands them.

    $x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?w} ${x?w}
    ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r} ${x//p/r}

Single quotes keep everything, double quotes keep spaces, the escape character keeps what follows.
In patterns `*` and `?` are wild. Quotes are taken off.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from assembler.dockerfile.patterns import PatternError, match_lengths, parse_pattern, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    Lookup = Callable[[str], str | None]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL = frozenset("@*#?-$!0123456789")
_DEPTH = 50
_RESULT_LIMIT = 16_000_000


class ExpansionError(Exception):
    """An expansion that is malformed, or that asks to fail (`${x:?w}`)."""


def expand(text: str, lookup: Lookup, escape: str = "\\") -> str:
    """Expand *text* to one string; *lookup* returns a variable's value or `None`."""
    return _run(_Expander(text, lookup, escape))


def expand_words(text: str, lookup: Lookup, escape: str = "\\") -> list[str]:
    """Expand *text* and split it at spaces that stood in it unquoted, or came from a variable."""
    expander = _Expander(text, lookup, escape, split=True)
    _run(expander)
    return expander.words


def _run(expander: _Expander) -> str:
    try:
        return expander.run()
    except PatternError as error:
        raise ExpansionError(str(error)) from None


class _Expander:
    def __init__(
        self,
        text: str,
        lookup: Lookup,
        escape: str,
        *,
        split: bool = False,
        keep_escapes: bool = False,
        depth: int = 0,
    ) -> None:
        if depth > _DEPTH:
            raise ExpansionError(f"braces are nested more than {_DEPTH} deep")
        self._text = text
        self._lookup = lookup
        self._escape = escape
        self._split = split
        # A pattern is read once more, and must still know which of its characters are plain.
        self._keep_escapes = keep_escapes
        self._depth = depth
        self._index = 0
        self._out: list[str] = []
        self._size = 0
        self._begun = False
        self.words: list[str] = []

    def run(self) -> str:
        result = self._until("")
        if self._split:
            self._end_word()
        return result

    def _until(self, stop: str) -> str:
        """Expand up to an unquoted *stop* character, or to the end of the text."""
        begin = len(self._out)
        while self._index < len(self._text):
            char = self._text[self._index]
            if char == stop:
                break
            if char == "'":
                self._single_quoted()
            elif char == '"':
                self._double_quoted()
            elif char == "$":
                self._emit_value(self._dollar())
            elif char == self._escape:
                self._escaped()
            elif self._split and char.isspace():
                self._end_word()
                self._index += 1
            else:
                self._emit(char)
                self._index += 1
        return "".join(self._out[begin:])

    def _emit(self, text: str) -> None:
        self._begun = True
        self._size += len(text)
        if self._size > _RESULT_LIMIT:
            raise ExpansionError("the result is too long")
        self._out.append(text)

    def _emit_value(self, value: str) -> None:
        """Take an unquoted variable's value; its spaces separate words where words are wanted."""
        if not self._split:
            self._emit(value)
            return
        parts = re.split(r"\s+", value)
        for number, part in enumerate(parts):
            if number:
                self._end_word()
            if part:
                self._emit(part)

    def _end_word(self) -> None:
        if self._begun:
            self.words.append("".join(self._out))
        self._out.clear()
        self._begun = False

    def _single_quoted(self) -> None:
        end = self._text.find("'", self._index + 1)
        if end < 0:
            raise ExpansionError("a single quote is not closed")
        self._emit(self._text[self._index + 1 : end])
        self._index = end + 1

    def _double_quoted(self) -> None:
        self._index += 1
        self._emit("")
        while self._index < len(self._text):
            char = self._text[self._index]
            if char == '"':
                self._index += 1
                return
            if char == "$":
                self._emit(self._dollar())
            elif char == self._escape and self._index + 1 < len(self._text):
                following = self._text[self._index + 1]
                # Inside double quotes the escape is only special before these.
                self._emit(following if following in '"$' + self._escape else char + following)
                self._index += 2
            else:
                self._emit(char)
                self._index += 1
        raise ExpansionError("a double quote is not closed")

    def _escaped(self) -> None:
        if self._index + 1 < len(self._text):
            kept = self._escape if self._keep_escapes else ""
            self._emit(kept + self._text[self._index + 1])
        self._index += 2

    def _dollar(self) -> str:
        """Return the value of the expansion that begins here."""
        self._index += 1
        if self._text[self._index : self._index + 1] == "{":
            self._index += 1
            return self._braced()
        name = self._name()
        return "$" if not name else self._lookup(name) or ""

    def _name(self) -> str:
        match = _NAME.match(self._text, self._index)
        if match:
            self._index = match.end()
            return match[0]
        char = self._text[self._index : self._index + 1]
        if char and char in _SPECIAL:
            self._index += 1
            return char
        return ""

    def _braced(self) -> str:
        name = self._name()
        if not name:
            raise ExpansionError("a name must follow ${")
        value = self._lookup(name)
        operator = self._operator()
        if operator == "}":
            return value or ""
        if operator in {"#", "##", "%", "%%"}:
            pattern = self._word("}", pattern=True)
            return _trim(value or "", pattern, operator, self._escape)
        if operator in {"/", "//"}:
            return self._replace(value or "", everywhere=operator == "//")
        return self._conditional(name, value, operator, self._word("}"))

    def _operator(self) -> str:
        for operator in ("##", "%%", "//", ":-", ":+", ":?", "#", "%", "/", "-", "+", "?", "}"):
            if self._text.startswith(operator, self._index):
                self._index += len(operator)
                return operator
        if self._index >= len(self._text):
            raise ExpansionError("a ${ is not closed")
        raise ExpansionError(
            f"{self._text[self._index : self._index + 10]!r} is no operator in ${{...}}"
        )

    def _word(self, stop: str, *, pattern: bool = False) -> str:
        """Return the expanded word up to *stop*, which is passed."""
        inner = _Expander(
            self._text,
            self._lookup,
            self._escape,
            keep_escapes=pattern,
            depth=self._depth + 1,
        )
        inner._index = self._index
        word = inner._until(stop)
        self._index = inner._index + 1
        if self._index > len(self._text):
            raise ExpansionError("a ${ is not closed")
        return word

    def _conditional(self, name: str, value: str | None, operator: str, word: str) -> str:
        # A colon makes an empty value count as none.
        present = value is not None and (value != "" or not operator.startswith(":"))
        match operator[-1]:
            case "-":
                return value or "" if present else word
            case "+":
                return word if present else ""
            case _:
                if not present:
                    raise ExpansionError(f"{name}: {word or 'it is not set'}")
                return value or ""

    def _replace(self, value: str, *, everywhere: bool) -> str:
        pattern = parse_pattern(self._word("/", pattern=True), self._escape)
        replacement = self._word("}")
        return replace(value, pattern, replacement, everywhere=everywhere)


def _trim(value: str, pattern_text: str, operator: str, escape: str) -> str:
    """Remove the shortest (one sign) or longest (two) match at the front (#) or the back (%)."""
    pattern = parse_pattern(pattern_text, escape)
    backwards = operator[0] == "%"
    if backwards:
        pattern, value = pattern[::-1], value[::-1]
    lengths = match_lengths(pattern, value)
    if lengths:
        value = value[lengths[-1] if len(operator) == 2 else lengths[0] :]
    return value[::-1] if backwards else value
