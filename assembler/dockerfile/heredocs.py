"""Here-documents: which ones a line opens (`<<EOF`, `<<-EOF`, quoted), and what they hold."""

from __future__ import annotations

import re
from dataclasses import dataclass

from assembler.dockerfile.expansion import ExpansionError, Quoting, expand, expand_words

_OPENING = re.compile(r"\d*<<(-?)\s*([^<]*)", re.ASCII)
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)
# A here-document's own quoting is a shell's, whatever the `escape` directive says.
_WORD = Quoting(keep_unset=True)
_RAW_WORD = Quoting(keep_unset=True, keep_quotes=True)
_LINE = Quoting(keep_unset=True, keep_quotes=True, keep_escapes=True)


@dataclass(frozen=True, slots=True)
class Opening:
    """`<<NAME` as it stands in a line."""

    name: str
    expand: bool
    """False where the name was quoted."""
    chomp: bool
    """Whether leading tabs are taken off (`<<-`)."""


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: how it was opened, and its lines as they stand, line ends included."""

    opening: Opening
    content: str

    @property
    def name(self) -> str:
        """The delimiter."""
        return self.opening.name

    @property
    def text(self) -> str:
        """The content, without leading tabs if it was opened by `<<-`."""
        return _LEADING_TABS.sub("", self.content) if self.opening.chomp else self.content

    def ends_at(self, line: str) -> bool:
        """Whether *line*, without its line end, is the delimiter."""
        return (line.lstrip("\t") if self.opening.chomp else line) == self.name


def parse_opening(word: str) -> Opening | None:
    """Return what *word* opens if it is nothing but an opening.

    Raises `ExpansionError` for one with a quote that is not closed.
    """
    match = _OPENING.fullmatch(word)
    if match is None or not match[2]:
        return None
    names = expand_words(match[2], _nothing, _WORD)
    if len(names) != 1:
        return None
    raw = expand(match[2], _nothing, _RAW_WORD)
    return Opening(names[0], _quotes(raw) == _quotes(names[0]), bool(match[1]))


def find_openings(line: str) -> list[Opening]:
    """Return what the words of *line* open, in order."""
    try:
        words = expand_words(line, _nothing, _LINE)
    except ExpansionError:
        # As in BuildKit, a line that cannot be split into words opens nothing; the shell that
        # runs it will complain of the quote.
        return []
    return [opening for word in words if (opening := parse_opening(word)) is not None]


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')


def _nothing(_: str) -> None:
    return None
