"""Text into logical lines: directives, comments, continuations, here-documents.

The Dockerfile reference ("Format", "Parser directives", "Here-documents"); where it is silent,
BuildKit's parser decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from assembler.dockerfile.words import WordError, split_words, unquote
from assembler.errors import DockerfileError

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_KNOWN_DIRECTIVES = frozenset({"escape", "syntax", "check"})
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]*)", re.DOTALL)
_HEREDOC_KEYWORDS = frozenset({"RUN", "COPY", "ADD"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a Dockerfile may measure; no honest one comes near."""

    total: int = 10_000_000
    """Characters in all."""
    line: int = 1_000_000
    """Characters of one instruction, continuation lines included."""
    lines: int = 100_000


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: its delimiter, its lines, and whether they are expanded."""

    name: str
    content: str
    expand: bool
    chomp: bool
    """Whether leading tabs were taken off (`<<-`)."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where an instruction stands: the file's name, first and last line (from 1), its text."""

    name: str
    start: int
    end: int
    text: str

    def error(self, message: str) -> DockerfileError:
        """Return an error at this place."""
        return DockerfileError(self.name, self.start, message)


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """One instruction's text with its continuations joined."""

    keyword: str
    """Upper case."""
    rest: str
    """What follows the keyword, trimmed."""
    location: Location
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A Dockerfile's directives and logical lines."""

    directives: dict[str, str]
    lines: tuple[LogicalLine, ...]
    warnings: tuple[str, ...] = ()

    @property
    def escape(self) -> str:
        """The escape character: a backslash, unless a directive says a backtick."""
        return self.directives.get("escape", "\\")


def read(data: bytes | str, name: str, limits: Limits | None = None) -> Text:
    """Read a Dockerfile's text; *name* is what errors call it."""
    text = _decode(data, name) if isinstance(data, bytes) else data
    limits = limits or Limits()
    if len(text) > limits.total:
        raise DockerfileError(
            name, 1, f"more than {limits.total:,} characters; no Dockerfile is that long"
        )
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DockerfileError(name, line, "a NUL byte; this is not a text file")
    raw = [line.removesuffix("\r") for line in text.split("\n")]
    if len(raw) > limits.lines:
        raise DockerfileError(name, limits.lines, f"more than {limits.lines:,} lines")
    directives, begin = _directives(raw, name)
    return _Reader(raw, name, directives, limits).read(begin)


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DockerfileError(name, line, "not UTF-8 text; save the file as UTF-8") from None


def _directives(lines: list[str], name: str) -> tuple[dict[str, str], int]:
    """Return the directives at the top, and the index of the first line that is none."""
    found: dict[str, str] = {}
    for index, line in enumerate(lines):
        match = _DIRECTIVE.match(line.strip())
        key = match[1].lower() if match else ""
        if match is None or key not in _KNOWN_DIRECTIVES:
            return found, index
        if key in found:
            raise DockerfileError(name, index + 1, f"the directive {key} can be given once only")
        if key == "escape" and match[2] not in {"\\", "`"}:
            raise DockerfileError(name, index + 1, f"escape={match[2]}: must be \\ or `")
        found[key] = match[2]
    return found, len(lines)


@dataclass(slots=True)
class _Reader:
    lines: list[str]
    name: str
    directives: dict[str, str]
    limits: Limits
    warnings: list[str] = field(default_factory=list)

    def read(self, begin: int) -> Text:
        found: list[LogicalLine] = []
        index = begin
        while index < len(self.lines):
            if _is_comment(self.lines[index]) or not self.lines[index].strip():
                index += 1
                continue
            line, index = self._logical_line(index)
            if line is not None:
                found.append(line)
        return Text(self.directives, tuple(found), tuple(self.warnings))

    def _logical_line(self, start: int) -> tuple[LogicalLine | None, int]:
        joined, index = self._join(start)
        stripped = joined.strip()
        if not stripped:
            return None, index
        keyword, _, rest = _partition_space(stripped)
        location = Location(self.name, start + 1, index, "\n".join(self.lines[start:index]))
        keyword, rest = keyword.upper(), rest.strip()
        heredocs: list[Heredoc] = []
        for opening in self._openings(keyword, rest, location):
            heredoc, index = self._heredoc(opening, index, location)
            heredocs.append(heredoc)
        if heredocs:
            text = "\n".join(self.lines[start:index])
            location = Location(self.name, start + 1, index, text)
        return LogicalLine(keyword, rest, location, tuple(heredocs)), index

    def _join(self, start: int) -> tuple[str, int]:
        """Join a line with its continuations; return it and the index after them."""
        escape = re.escape(self.directives.get("escape", "\\"))
        continuation = re.compile(rf"(?:(?<=[^{escape}])|^){escape}[ \t]*$")
        parts: list[str] = []
        length, index = 0, start
        while index < len(self.lines):
            line = self.lines[index]
            index += 1
            if parts and (_is_comment(line) or not line.strip()):
                self._warn_empty(line, index)
                continue
            match = continuation.search(line)
            part = line[: match.start()] if match else line
            length += len(part)
            if length > self.limits.line:
                raise DockerfileError(
                    self.name,
                    start + 1,
                    f"an instruction of more than {self.limits.line:,} characters",
                )
            parts.append(part if len(parts) else part.lstrip())
            if match is None:
                break
        return "".join(parts), index

    def _warn_empty(self, line: str, number: int) -> None:
        if not line.strip():
            warning = f"{self.name}:{number}: an empty line inside a continued instruction"
            self.warnings.append(f"{warning}; remove it, later Docker versions may refuse it")

    def _openings(
        self, keyword: str, rest: str, location: Location
    ) -> list[tuple[str, bool, bool]]:
        """Return (delimiter, expand, chomp) for each here-document that the line opens."""
        while keyword == "ONBUILD":
            keyword, _, rest = _partition_space(rest)
            keyword, rest = keyword.upper(), rest.strip()
        if keyword not in _HEREDOC_KEYWORDS or "<<" not in rest:
            return []
        escape = self.directives.get("escape", "\\")
        try:
            return [
                opening
                for word in split_words(rest, escape)
                if (opening := _opening(word, escape)) is not None
            ]
        except WordError as error:
            raise location.error(f"{keyword}: {error}") from None

    def _heredoc(
        self, opening: tuple[str, bool, bool], index: int, location: Location
    ) -> tuple[Heredoc, int]:
        name, expand, chomp = opening
        lines: list[str] = []
        while index < len(self.lines):
            line = self.lines[index]
            index += 1
            shown = line.lstrip("\t") if chomp else line
            if shown == name:
                content = "".join(f"{line}\n" for line in lines)
                return Heredoc(name, content, expand, chomp), index
            lines.append(shown)
        raise location.error(
            f"the here-document <<{name} does not end; add a line with {name} alone"
        )


def _opening(word: str, escape: str) -> tuple[str, bool, bool] | None:
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    name = unquote(match[3], escape)
    return name, name == match[3], bool(match[2])


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _partition_space(text: str) -> tuple[str, str, str]:
    match = re.search(r"\s", text)
    if match is None:
        return text, "", ""
    return text[: match.start()], match[0], text[match.end() :]
