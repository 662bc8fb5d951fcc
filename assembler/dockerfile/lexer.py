"""Text into logical lines: directives, comments, continuations, here-documents.

The Dockerfile reference ("Format", "Parser directives", "Here-documents"); where it is silent,
BuildKit's parser decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assembler.dockerfile.expansion import ExpansionError
from assembler.dockerfile.flags import split_command
from assembler.dockerfile.heredocs import Heredoc, find_openings
from assembler.dockerfile.redacting import redact
from assembler.dockerfile.words import SPACE, WordError, parse_array
from assembler.errors import DockerfileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assembler.dockerfile.heredocs import Opening

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S(?:.*\S)?)\s*", re.ASCII)
_CONTINUED = re.compile(r"[\\`][ \t]*\r?\n")
_KNOWN_DIRECTIVES = frozenset({"escape", "syntax", "check"})
_HEREDOC_KEYWORDS = frozenset({"RUN", "COPY", "ADD"})
_SHOWN = 60
_WARNINGS = 20
_SHOWN_BUILDING = 100
_LONGEST_SHOWN = 8192
"""What is looked at to be shown: enough for a URL with a token in it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a Dockerfile may measure; no honest one comes near."""

    total: int = 10_000_000
    """Bytes in all."""
    line: int = 1_000_000
    """Characters of one line, and of one instruction with its continuation lines."""
    lines: int = 100_000


@dataclass(frozen=True, slots=True)
class Location:
    """Where an instruction stands: the file's name, first and last line (from 1), its text."""

    name: str
    start: int
    end: int
    text: str
    """The lines as they stand in the file, here-documents included."""

    @property
    def place(self) -> str:
        """The first line, as an editor finds it."""
        return f"{self.name}:{self.start}"

    @property
    def shown(self) -> str:
        """How it begins, on one line, for whoever watches a build."""
        begin = redact(self.text[:_LONGEST_SHOWN])
        return _printable(" ".join(_CONTINUED.sub(" ", begin).split()), _SHOWN_BUILDING)

    def error(self, message: str) -> DockerfileError:
        """Return an error at this place."""
        return DockerfileError(self.name, self.start, redact(message))


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """One instruction, its continuations joined, cut into keyword, flags and the rest."""

    location: Location
    text: str
    """All of it, without leading space."""
    keyword: str
    """Upper case."""
    flags: tuple[str, ...]
    """As `--name=value`, their quotes taken off."""
    rest: str
    heredocs: tuple[Heredoc, ...] = ()

    @classmethod
    def of(
        cls, text: str, escape: str, location: Location, heredocs: tuple[Heredoc, ...] = ()
    ) -> LogicalLine:
        """Cut *text* up."""
        keyword, flags, rest = split_command(text, escape)
        # By way of lower case, in which BuildKit compares: it has fewer letters that look alike.
        keyword = keyword.lower().upper() if keyword.lower().isascii() else keyword
        return cls(location, text, keyword, tuple(flags), rest.strip(SPACE), heredocs)

    def error(self, message: str) -> DockerfileError:
        """Return an error at this line that shows how the instruction begins."""
        return self.location.error(f"{_printable(self.text, _SHOWN)}: {message}")


@dataclass(frozen=True, slots=True)
class Text:
    """A Dockerfile's directives and logical lines."""

    directives: Mapping[str, str]
    lines: tuple[LogicalLine, ...]
    warnings: tuple[str, ...] = ()

    @property
    def escape(self) -> str:
        """The escape character: a backslash, unless a directive says a backtick."""
        return self.directives.get("escape", "\\")


def read(data: bytes | str, name: str, limits: Limits | None = None) -> Text:
    """Read a Dockerfile's text; *name* is what errors call it."""
    limits = limits or Limits()
    text = _checked(data, name, limits)
    lines = text.split("\n")
    # The line ends stay: a here-document is kept byte for byte.
    lines = [f"{line}\n" for line in lines[:-1]] + lines[-1:] * bool(lines[-1])
    if len(lines) > limits.lines:
        message = f"more than {limits.lines:,} lines; move what is data into files and COPY them"
        raise DockerfileError(name, limits.lines + 1, message)
    for number, line in enumerate(lines, 1):
        if len(line) > limits.line:
            raise _too_long(name, number, limits)
    directives, begin = _read_directives(lines, name)
    return _Reader(lines, name, directives, limits, begin).read()


def _checked(data: bytes | str, name: str, limits: Limits) -> str:
    try:
        raw = data.encode() if isinstance(data, str) else data
        if len(raw) > limits.total:
            raise DockerfileError(
                name, 1, f"more than {limits.total:,} bytes; move data into files and COPY them"
            )
        text = raw.decode("utf-8")
    except UnicodeEncodeError as error:
        line = error.object.count("\n", 0, error.start) + 1
        raise DockerfileError(name, line, "half a surrogate pair; this is not text") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DockerfileError(name, line, "not UTF-8 text; save the file as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        message = "a NUL byte; this is not a text file (or UTF-16: save it as UTF-8)"
        raise DockerfileError(name, line, message)
    return text.removeprefix("\ufeff")


def _too_long(name: str, number: int, limits: Limits) -> DockerfileError:
    return DockerfileError(
        name, number, f"a line of more than {limits.line:,} characters; split the instruction"
    )


def _read_directives(lines: list[str], name: str) -> tuple[dict[str, str], int]:
    """Return the directives at the top, and the index of the first line that is none."""
    found: dict[str, str] = {}
    for index, line in enumerate(lines):
        comment = line.strip(SPACE)
        match = _DIRECTIVE.fullmatch(comment[1:].lstrip(SPACE)) if comment[:1] == "#" else None
        key = match[1].lower() if match else ""
        if match is None or key not in _KNOWN_DIRECTIVES:
            return found, index
        if key in found:
            message = f"the directive {key} is given twice; keep one of them"
            raise DockerfileError(name, index + 1, message)
        if key == "escape" and match[2] not in {"\\", "`"}:
            message = f"escape={match[2][:20]}: the escape character must be \\ or `"
            raise DockerfileError(name, index + 1, message)
        found[key] = match[2]
    return found, len(lines)


@dataclass(slots=True)
class _Reader:
    lines: list[str]
    name: str
    directives: dict[str, str]
    limits: Limits
    index: int
    """The next line that has not been taken."""
    warnings: list[str] = field(default_factory=list)
    empty: int = 0
    """Empty lines inside continued instructions."""

    @property
    def escape(self) -> str:
        return self.directives.get("escape", "\\")

    def read(self) -> Text:
        found: list[LogicalLine] = []
        while self.index < len(self.lines):
            if _is_comment(self.lines[self.index]) or _is_empty(self.lines[self.index]):
                self.index += 1
            else:
                found.append(self._logical_line())
        if self.empty > _WARNINGS:
            self.warnings.append(
                f"{self.name}: {self.empty - _WARNINGS:,} more empty lines inside continued "
                "instructions"
            )
        return Text(self.directives, tuple(found), tuple(self.warnings))

    def _logical_line(self) -> LogicalLine:
        start = self.index
        text = self._join()
        line = LogicalLine.of(text, self.escape, self._location(start))
        if not line.keyword:
            raise line.location.error(
                f"a {self.escape} that continues nothing; remove it, or write an instruction"
            )
        try:
            openings = _openings(line, self.escape)
        except (ExpansionError, WordError) as error:
            raise line.error(str(error)) from None
        if not openings:
            return line
        heredocs = tuple(self._heredoc(opening, line) for opening in openings)
        return LogicalLine.of(text, self.escape, self._location(start), heredocs)

    def _location(self, start: int) -> Location:
        text = "".join(self.lines[start : self.index]).rstrip("\r\n")
        return Location(self.name, start + 1, self.index, text)

    def _join(self) -> str:
        """Take a line and its continuations, and return them as one."""
        start = self.index
        parts: list[str] = []
        length = 0
        continued = True
        while continued and self.index < len(self.lines):
            line = self.lines[self.index]
            self.index += 1
            if parts and _is_comment(line):
                continue
            if parts and _is_empty(line):
                self._warn_empty()
                continue
            part, continued = self._continuation(line.rstrip("\r\n"))
            parts.append(part)
            length += len(part)
            if length > self.limits.line:
                raise _too_long(self.name, start + 1, self.limits)
        return "".join(parts).lstrip(SPACE) if len(parts) < 2 else self._joined(parts)

    @staticmethod
    def _joined(parts: list[str]) -> str:
        return "".join((parts[0].lstrip(SPACE), *parts[1:]))

    def _continuation(self, line: str) -> tuple[str, bool]:
        """Return the line without the escape character at its end, and whether it had one."""
        blankless = line.rstrip(" \t")
        body = blankless.removesuffix(self.escape)
        # Two of them are an escaped escape character, which continues nothing.
        if body == blankless or body.endswith(self.escape):
            return line, False
        return body, True

    def _warn_empty(self) -> None:
        self.empty += 1
        if self.empty > _WARNINGS:
            return
        self.warnings.append(
            f"{self.name}:{self.index}: an empty line inside a continued instruction; remove it, "
            "later Docker versions may refuse it"
        )

    def _heredoc(self, opening: Opening, line: LogicalLine) -> Heredoc:
        begin = self.index
        heredoc = Heredoc(opening, "")
        while self.index < len(self.lines):
            self.index += 1
            if heredoc.ends_at(self.lines[self.index - 1].rstrip("\r\n")):
                return Heredoc(opening, "".join(self.lines[begin : self.index - 1]))
        raise line.error(
            f"the here-document {opening.name!r} does not end; add a line with {opening.name} alone"
        )


def _openings(line: LogicalLine, escape: str) -> list[Opening]:
    """Return the here-documents that *line* opens: only RUN, COPY and ADD, not in JSON form."""
    inner = line
    if line.keyword == "ONBUILD":
        inner = LogicalLine.of(line.rest, escape, line.location)
    if inner.keyword not in _HEREDOC_KEYWORDS or "<<" not in line.text:
        return []
    if parse_array(inner.rest) is not None:
        return []
    return find_openings(line.text)


def _printable(text: str, length: int) -> str:
    text = redact(text[:_LONGEST_SHOWN])
    shown = text[:length].rstrip() + ("..." if len(text) > length else "")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def _is_comment(line: str) -> bool:
    return line.lstrip(SPACE).startswith("#")


def _is_empty(line: str) -> bool:
    return not line.strip(SPACE)
