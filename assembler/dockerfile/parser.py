"""Logical lines into typed instructions: one small function for each keyword."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from assembler.dockerfile import instructions as ast
from assembler.dockerfile.durations import parse_duration
from assembler.dockerfile.lexer import LogicalLine
from assembler.dockerfile.words import WordError, parse_array, split_flags, split_words, unquote

if TYPE_CHECKING:
    from collections.abc import Callable

    from assembler.dockerfile.instructions import Command, Flags, Instruction

_FLAGS: dict[str, tuple[str, ...]] = {
    "FROM": ("platform",),
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "ADD": ("chown", "chmod", "link", "checksum", "keep-git-dir", "unpack", "exclude"),
    "RUN": ("mount", "network", "security", "device"),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
}
_REPEATABLE = frozenset({"exclude", "mount", "device"})
_BOOLEAN = frozenset({"link", "parents", "keep-git-dir", "unpack"})
_NO_TRIGGER = frozenset({"FROM", "MAINTAINER", "ONBUILD"})
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")


class _Line:
    """One logical line being parsed: its flags taken off, errors made ready."""

    def __init__(self, line: LogicalLine, escape: str) -> None:
        self.line = line
        self.escape = escape
        self.location = line.location
        self.keyword = line.keyword
        self.rest = line.rest
        self.flags: Flags = ()
        if line.keyword in _FLAGS:
            self._take_flags()

    def error(self, message: str) -> Exception:
        return self.location.error(f"{self.keyword}: {message}")

    def words(self) -> list[str]:
        return split_words(self.rest, self.escape)

    def required(self, what: str) -> str:
        if not self.rest:
            raise self.error(f"{what} must follow")
        return self.rest

    def flag(self, name: str) -> str:
        return dict(self.flags).get(name, "")

    def _take_flags(self) -> None:
        words, self.rest = split_flags(self.rest, self.escape)
        found: list[tuple[str, str]] = []
        for word in words:
            name, equals, value = word.removeprefix("--").partition("=")
            if name not in _FLAGS[self.keyword]:
                known = ", ".join(f"--{flag}" for flag in _FLAGS[self.keyword])
                raise self.error(f"the flag --{name} is unknown; there is {known}")
            if not equals and name not in _BOOLEAN:
                raise self.error(f"the flag --{name} needs a value, --{name}=...")
            if name not in _REPEATABLE and any(name == other for other, _ in found):
                raise self.error(f"the flag --{name} can be given once only")
            if name in _BOOLEAN and value not in {"", "true", "false"}:
                raise self.error(f"--{name}={value}: must be true or false")
            found.append((name, value))
        self.flags = tuple(found)


def parse_line(line: LogicalLine, escape: str = "\\") -> Instruction:
    """Return the instruction that a logical line is; raise `DockerfileError` for what is none."""
    maker = _MAKERS.get(line.keyword)
    if maker is None:
        near = difflib.get_close_matches(line.keyword, _MAKERS, 1)
        advice = f"; did you mean {near[0]}?" if near else ""
        raise line.location.error(f"{line.keyword[:40]} is no instruction{advice}")
    try:
        return maker(_Line(line, escape))
    except WordError as error:
        raise line.location.error(f"{line.keyword}: {error}") from None


def _from(line: _Line) -> Instruction:
    words = line.required("an image or stage").split()
    if len(words) == 1:
        return ast.From(line.location, words[0], line.flag("platform"), "")
    if len(words) != 3 or words[1].upper() != "AS":
        raise line.error("expected FROM IMAGE or FROM IMAGE AS NAME")
    name = words[2].lower()
    if not _STAGE_NAME.fullmatch(name):
        raise line.error(f"{words[2]!r} is no stage name; begin with a letter, use a-z 0-9 _ . -")
    return ast.From(line.location, words[0], line.flag("platform"), name)


def _arg(line: _Line) -> Instruction:
    line.required("NAME or NAME=DEFAULT")
    found: list[tuple[str, str | None]] = []
    for word in line.words():
        name, equals, value = word.partition("=")
        name = unquote(name, line.escape)
        if not name:
            raise line.error(f"{word!r} has no name before its =")
        found.append((name, value if equals else None))
    return ast.Arg(line.location, tuple(found))


def _pairs(line: _Line) -> ast.Pairs:
    text = line.required("NAME=VALUE")
    words = line.words()
    if "=" not in words[0]:
        parts = text.split(None, 1)
        if len(parts) < 2:
            raise line.error(f"{text!r} has no value; write {text}=VALUE")
        return ((parts[0], parts[1]),)
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise line.error(f"{word!r} has no =; write NAME=VALUE, with quotes around spaces")
        if not name:
            raise line.error(f"{word!r} has no name before its =")
        pairs.append((name, value))
    return tuple(pairs)


def _env(line: _Line) -> Instruction:
    return ast.Env(line.location, _pairs(line))


def _label(line: _Line) -> Instruction:
    return ast.Label(line.location, _pairs(line))


def _workdir(line: _Line) -> Instruction:
    return ast.Workdir(line.location, line.required("a path"))


def _user(line: _Line) -> Instruction:
    return ast.User(line.location, line.required("a user"))


def _stopsignal(line: _Line) -> Instruction:
    return ast.Stopsignal(line.location, line.required("a signal"))


def _maintainer(line: _Line) -> Instruction:
    return ast.Maintainer(line.location, line.required("a name"))


def _volume(line: _Line) -> Instruction:
    paths = _list(line, "a path")
    if not all(path.strip() for path in paths):
        raise line.error("a path must not be empty")
    return ast.Volume(line.location, tuple(path.strip() for path in paths))


def _expose(line: _Line) -> Instruction:
    return ast.Expose(line.location, tuple(sorted(line.required("a port").split())))


def _list(line: _Line, what: str) -> list[str]:
    text = line.required(what)
    array = parse_array(text)
    if array == []:
        raise line.error(f"{what} must follow, the array is empty")
    return text.split() if array is None else array


def _command(line: _Line, *, may_be_empty: bool) -> Command:
    array = parse_array(line.rest)
    if array is not None:
        return ast.ExecForm(tuple(array))
    if not line.rest and not may_be_empty:
        raise line.error("a command must follow")
    return ast.ShellForm(line.rest)


def _cmd(line: _Line) -> Instruction:
    return ast.Cmd(line.location, _command(line, may_be_empty=True))


def _entrypoint(line: _Line) -> Instruction:
    return ast.Entrypoint(line.location, _command(line, may_be_empty=True))


def _run(line: _Line) -> Instruction:
    command = _command(line, may_be_empty=False)
    return ast.Run(line.location, command, line.flags, line.line.heredocs)


def _shell(line: _Line) -> Instruction:
    array = parse_array(line.rest)
    if not array:
        raise line.error('expected a JSON array, as SHELL ["/bin/sh", "-c"]')
    return ast.Shell(line.location, tuple(array))


def _copy(line: _Line) -> Instruction:
    return _copying(line, ast.Copy)


def _add(line: _Line) -> Instruction:
    return _copying(line, ast.Add)


def _copying(line: _Line, kind: type[ast.Copy]) -> Instruction:
    if "$" in line.flag("from"):
        raise line.error(
            "--from cannot hold a variable; name the stage or image, or use FROM ... AS"
        )
    words = _list(line, "sources and a destination")
    if len(words) < 2:
        raise line.error("at least one source and a destination must follow")
    return kind(line.location, tuple(words[:-1]), words[-1], line.flags, line.line.heredocs)


def _healthcheck(line: _Line) -> Instruction:
    text = line.required("NONE or CMD ...")
    kind, _, rest = text.partition(" ")
    if kind.upper() == "NONE":
        if rest.strip() or line.flags:
            raise line.error("NONE stands alone")
        return ast.Healthcheck(line.location, None)
    if kind.upper() != "CMD" or not rest.strip():
        raise line.error("expected NONE or CMD and a command")
    times = {
        name.replace("-", "_"): parse_duration(value)
        for name, value in line.flags
        if name != "retries"
    }
    retries = line.flag("retries")
    if retries and not (retries.isascii() and retries.isdigit()):
        raise line.error(f"--retries={retries} is no number")
    line.rest = rest.strip()
    command = _command(line, may_be_empty=False)
    return ast.Healthcheck(line.location, command, retries=int(retries or 0), **times)


def _onbuild(line: _Line) -> Instruction:
    text = line.required("an instruction")
    keyword, _, rest = text.partition(" ")
    keyword = keyword.upper()
    if keyword in _NO_TRIGGER:
        raise line.error(f"{keyword} cannot be a trigger")
    inner = LogicalLine(keyword, rest.strip(), line.location, line.line.heredocs)
    return ast.Onbuild(line.location, text, parse_line(inner, line.escape))


_MAKERS: dict[str, Callable[[_Line], Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
