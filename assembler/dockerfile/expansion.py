r"""`$NAME` and its forms, with a shell's quoting, as BuildKit's frontend expands them.

    $x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?w} ${x?w}
    ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r} ${x//p/r}

Single quotes keep everything, double quotes keep spaces, the escape character keeps what follows.
In patterns `*` and `?` are wild. Quotes are taken off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assembler.dockerfile.patterns import Pattern, PatternError, substitute, trim
from assembler.dockerfile.words import SPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    Lookup = Callable[[str], str | None]

_SPECIAL = frozenset("@*#?-$!")
_DEPTH = 50
_LIMIT = 16_000_000
_BUDGET = 32_000_000
_WORK = 20_000_000
_SPACES = re.compile(f"[{SPACE}]+")
# Runs without any character that could mean something; the rest is looked at one by one.
_RUNS = {escape: re.compile(f"[^$<'\"}}/{re.escape(escape)}{SPACE}]+") for escape in "\\`"}


class ExpansionError(Exception):
    """An expansion that is malformed, or that asks to fail (`${x:?w}`)."""


@dataclass(slots=True)
class Budget:
    """What all expansions of one Dockerfile may make together: each is small, their sum is not.

    Only what variables bring in is counted; the text itself has limits of its own (`lexer`).
    """

    characters: int = _BUDGET
    work: int = _WORK
    """Characters that patterns may be compared with."""

    def spend(self, characters: int) -> None:
        """Take *characters* off; raise `ExpansionError` where there are not so many left."""
        self.characters -= characters
        if self.characters < 0:
            raise ExpansionError(
                f"the values of variables in this Dockerfile come to more than {_BUDGET:,} "
                "characters in all; COPY files instead"
            )

    def spend_work(self, characters: int) -> None:
        """Take what a pattern costs off; raise `ExpansionError` where not so much is left."""
        self.work -= characters
        if self.work < 0:
            raise ExpansionError(
                "the patterns and values in this Dockerfile are too long for each other; shorten "
                "the values"
            )


@dataclass(frozen=True, slots=True)
class Quoting:
    """What becomes of quotes, escapes and unset names; as it is made, so instructions need it."""

    escape: str = "\\"
    keep_quotes: bool = False
    """Quotes work, and stay in the result."""
    keep_escapes: bool = False
    """Escape characters work, and stay in the result."""
    keep_unset: bool = False
    """`$x` without a value stays as it is."""
    no_quotes: bool = False
    """Quotes are characters as all others."""


@dataclass(slots=True)
class Recording:
    """A lookup that remembers which names had a value and which had none."""

    lookup: Lookup
    used: set[str] = field(default_factory=set)
    undefined: set[str] = field(default_factory=set)

    def __call__(self, name: str) -> str | None:
        """Return the value of *name*, or `None`."""
        value = self.lookup(name)
        (self.undefined if value is None else self.used).add(name)
        return value


def expand(
    text: str, lookup: Lookup, quoting: Quoting | str = "\\", budget: Budget | None = None
) -> str:
    """Expand *text* to one string; *quoting* may be the escape character alone."""
    return _Expander(text, lookup, _quoting(quoting), budget or Budget()).until("", None)


def expand_words(
    text: str, lookup: Lookup, quoting: Quoting | str = "\\", budget: Budget | None = None
) -> list[str]:
    """Expand *text* and split it at unquoted spaces, also at those that came from a variable."""
    words = _Words()
    _Expander(text, lookup, _quoting(quoting), budget or Budget()).until("", words)
    words.end()
    return words.found


def _quoting(quoting: Quoting | str) -> Quoting:
    return Quoting(quoting) if isinstance(quoting, str) else quoting


@dataclass(slots=True)
class _Words:
    found: list[str] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)

    def add(self, text: str, *, splits: bool) -> None:
        parts = _SPACES.split(text) if splits else [text]
        for number, part in enumerate(parts):
            if number:
                self.end()
            self._parts.append(part)

    def end(self) -> None:
        word = "".join(self._parts)
        # There are no empty words, not even quoted ones.
        if word:
            self.found.append(word)
        self._parts.clear()


class _Expander:
    def __init__(self, text: str, lookup: Lookup, quoting: Quoting, budget: Budget) -> None:
        self._text = text
        self._budget = budget
        self._lookup = lookup
        self._quoting = quoting
        self._escape = quoting.escape
        self._keep_escapes = quoting.keep_escapes
        self._run = _RUNS[quoting.escape]
        self._index = 0
        self._depth = 0
        self._made = 0

    def until(self, stop: str, words: _Words | None) -> str:
        """Expand up to an unquoted *stop* character, which is passed, or to the end (no *stop*)."""
        out: list[str] = []
        while self._index < len(self._text):
            char = self._text[self._index]
            if char == stop:
                self._index += 1
                return "".join(out)
            part, splits = self._piece(char)
            self._count(part)
            out.append(part)
            if words is not None:
                words.add(part, splits=splits)
        if stop:
            raise ExpansionError(f"a ${{ has no {stop}; close it, or write {self._escape}$")
        return "".join(out)

    def _piece(self, char: str) -> tuple[str, bool]:
        """Take what begins with *char*; return what it becomes, and whether its spaces split."""
        run = self._run.match(self._text, self._index)
        if run:
            self._index = run.end()
            return run[0], False
        if char == "$":
            return self._dollar(), True
        if char == "<":
            return self._angles(), False
        if char == "'" and not self._quoting.no_quotes:
            return self._single_quoted(), False
        if char == '"' and not self._quoting.no_quotes:
            return self._double_quoted(), False
        self._index += 1
        if char == self._escape:
            return self._kept_escape() + self._next(), False
        return char, True

    def _count(self, part: str) -> None:
        self._made += len(part)
        if self._made > _LIMIT:
            raise ExpansionError(f"the result has more than {_LIMIT:,} characters")

    def _peek(self) -> str:
        return self._text[self._index : self._index + 1]

    def _next(self) -> str:
        char = self._peek()
        self._index += 1
        return char

    def _kept_escape(self) -> str:
        return self._escape if self._keep_escapes else ""

    def _angles(self) -> str:
        """Take `<` or `<<`; the blanks behind the latter belong to a here-document's word."""
        begin = self._index
        self._index += 1
        if self._peek() == "<":
            self._index += 1
            while self._peek() and self._peek() in "\t\r ":
                self._index += 1
        return self._text[begin : self._index]

    def _single_quoted(self) -> str:
        begin = self._index
        end = self._text.find("'", begin + 1)
        if end < 0:
            raise ExpansionError("a single quote is not closed")
        self._index = end + 1
        if self._quoting.keep_quotes:
            return self._text[begin : self._index]
        return self._text[begin + 1 : end]

    def _double_quoted(self) -> str:
        self._index += 1
        quote = '"' if self._quoting.keep_quotes else ""
        out = [quote]
        while char := self._peek():
            if char == '"':
                self._index += 1
                return "".join((*out, quote))
            if run := self._run.match(self._text, self._index):
                self._index = run.end()
                out.append(run[0])
            elif char == "$":
                out.append(self._dollar())
            elif char == self._escape:
                out.append(self._escaped_in_quotes())
            else:
                out.append(self._next())
            self._count(out[-1])
        raise ExpansionError("a double quote is not closed")

    def _escaped_in_quotes(self) -> str:
        self._index += 1
        following = self._peek()
        if not following:
            return self._kept_escape()
        if following in {'"', "$", self._escape}:
            return self._kept_escape() + self._next()
        # It escapes nothing here, so it stands for itself; where escapes are kept, BuildKit has
        # it twice then.
        return self._kept_escape() + self._escape

    def _dollar(self) -> str:
        """Return the value of the expansion that begins here."""
        value = self._variable()
        self._budget.spend(len(value))
        return value

    def _variable(self) -> str:
        self._index += 1
        if self._peek() != "{":
            name = self._name()
            return self._value(name, f"${name}") if name else "$"
        self._index += 1
        if self._depth == _DEPTH:
            raise ExpansionError(f"braces are nested more than {_DEPTH} deep")
        self._depth += 1
        value = self._braced()
        self._depth -= 1
        return value

    def _name(self) -> str:
        begin = self._index
        first = self._peek()
        if first in _SPECIAL:
            return self._next()
        # A name that begins with a digit is a number: `$1a` is `$1` and `a`.
        digits = first.isdecimal()
        while (char := self._peek()) and (
            char.isdecimal() or (not digits and (char.isalpha() or char == "_"))
        ):
            self._index += 1
        return self._text[begin : self._index]

    def _value(self, name: str, literal: str) -> str:
        value = self._lookup(name)
        if value is None:
            return literal if self._quoting.keep_unset else ""
        return value

    def _braced(self) -> str:
        if self._peek() in {"{", "}", ":"}:
            raise ExpansionError(f"${{{self._peek()} has no name; write ${{NAME}}")
        name = self._name()
        operator = self._next()
        if operator == "}":
            return self._value(name, f"${{{name}}}")
        if operator == "/":
            return self._substitution(name)
        if operator == ":":
            operator += self._next()
        if operator in {"#", "%"}:
            return self._trimmed(name, operator)
        if operator in {"-", "+", "?", ":-", ":+", ":?"}:
            return self._conditional(name, operator)
        if not operator:
            raise ExpansionError(f"${{{name} has no }}; close it, or write {self._escape}$")
        raise ExpansionError(
            f"{operator!r} is no operator in ${{{name}...}}; there is :- :+ :? - + ? # ## % %% / //"
        )

    def _word(self, stop: str, *, keep_escapes: bool) -> str:
        """Return the expanded word up to *stop*; patterns keep their escapes."""
        outer, self._keep_escapes = self._keep_escapes, keep_escapes
        word = self.until(stop, None)
        self._keep_escapes = outer
        return word

    def _conditional(self, name: str, operator: str) -> str:
        word = self._word("}", keep_escapes=False)
        value = self._lookup(name)
        if value is None and self._quoting.keep_unset:
            return f"${{{name}{operator}{word}}}"
        # A colon makes an empty value count as none.
        present = value is not None and (value != "" or ":" not in operator)
        match operator[-1]:
            case "-":
                return value or "" if present else word
            case "+":
                return word if present else ""
            case _ if present:
                return value or ""
            case _:
                problem = "is not set" if value is None else "is empty"
                raise ExpansionError(f"{name}: {word or f'it {problem}; give it a value'}")

    def _trimmed(self, name: str, sign: str) -> str:
        word = self._word("}", keep_escapes=True)
        value = self._lookup(name)
        if value is None and self._quoting.keep_unset:
            return f"${{{name}{sign}{word}}}"
        longest = word.startswith(sign)
        try:
            pattern = Pattern.parse(word.removeprefix(sign))
            self._budget.spend_work(pattern.work(value or ""))
            return trim(value or "", pattern, back=sign == "%", longest=longest)
        except PatternError as error:
            raise ExpansionError(f"${{{name}{sign}...}}: {error}") from None

    def _substitution(self, name: str) -> str:
        everywhere = self._peek() == "/"
        self._index += everywhere
        word = self._word("/", keep_escapes=True)
        replacement = self._word("}", keep_escapes=True)
        value = self._lookup(name)
        if value is None and self._quoting.keep_unset:
            return f"${{{name}/{word}/{replacement}}}"
        try:
            pattern = Pattern.parse(word)
            self._budget.spend_work(pattern.work(value or ""))
            return substitute(
                value or "", pattern, replacement, everywhere=everywhere, limit=_LIMIT
            )
        except PatternError as error:
            raise ExpansionError(f"${{{name}/...}}: {error}") from None
