"""Logical lines into typed instructions: one small function for each keyword."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from assembler.dockerfile import instructions as ast
from assembler.dockerfile.copying import parse_copying
from assembler.dockerfile.durations import parse_duration
from assembler.dockerfile.expansion import ExpansionError, expand
from assembler.dockerfile.flags import Flags, parse_flags
from assembler.dockerfile.lexer import LogicalLine
from assembler.dockerfile.mounts import parse_mount
from assembler.dockerfile.mounttext import MountText
from assembler.dockerfile.words import (
    SPACE,
    WordError,
    parse_array,
    refuse_nul,
    split_blanks,
    split_words,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from assembler.dockerfile.instructions import Command, Instruction
    from assembler.errors import DockerfileError

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_NO_TRIGGER = frozenset({"FROM", "MAINTAINER", "ONBUILD"})
_NETWORKS = ("default", "none", "host")
_SECURITIES = ("sandbox", "insecure")
_RETRIES = re.compile(r"\+?[0-9]{1,10}")
_RETRIES_MAX = 2**31 - 1


def parse_line(line: LogicalLine, escape: str = "\\") -> Instruction:
    """Return the instruction that a logical line is; raise `DockerfileError` for what is none."""
    maker = _MAKERS.get(line.keyword)
    if maker is None:
        raise _unknown(line)
    try:
        return maker(line, parse_flags(line.keyword, line.flags), escape)
    except WordError as error:
        raise line.error(str(error)) from None


def _unknown(line: LogicalLine) -> DockerfileError:
    word = line.keyword[:40]
    near = difflib.get_close_matches(word, _MAKERS, 1, cutoff=0.5)
    advice = f"did you mean {near[0]}?" if near else f"there is {', '.join(_MAKERS)}"
    return line.error(f"{word!r} is no instruction; {advice}")


def _required(line: LogicalLine, what: str) -> str:
    if not line.rest:
        raise WordError(f"expected {what}")
    return line.rest


def _words(line: LogicalLine, what: str, escape: str) -> list[str]:
    words = split_words(line.rest, escape)
    if not words:
        raise WordError(f"expected {what}")
    return words


def _from(line: LogicalLine, flags: Flags, _: str) -> Instruction:
    words = split_blanks(_required(line, "an image or an earlier stage"))
    image, name = words[0], ""
    if len(words) > 1:
        if len(words) != 3 or words[1].lower() != "as":
            raise WordError("expected FROM IMAGE or FROM IMAGE AS NAME")
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise WordError(
                f"{words[2][:40]!r} is no stage name; begin with a letter, use a-z 0-9 _ . -"
            )
    return ast.From(line.location, image, flags.text("platform"), name)


def _arg(line: LogicalLine, _: Flags, escape: str) -> Instruction:
    found: list[tuple[str, str | None]] = []
    for word in _words(line, "NAME or NAME=DEFAULT", escape):
        name, equals, value = word.partition("=")
        if not name:
            raise WordError(f"{word[:40]} has no name before its =; write NAME=DEFAULT")
        found.append((name, value if equals else None))
    return ast.Arg(line.location, tuple(found))


def _pairs(line: LogicalLine, escape: str) -> tuple[ast.Pairs, bool]:
    """Return the pairs, and whether they were in the old form, `NAME VALUE`."""
    words = _words(line, "NAME=VALUE", escape)
    if "=" not in words[0]:
        parts = split_blanks(line.rest, 2)
        if len(parts) < 2:
            raise WordError(f"{line.rest[:40]} has no value; write {line.rest[:40]}=VALUE")
        return ((parts[0], parts[1]),), True
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise WordError(f"{word[:40]} has no =; put quotes around a value with spaces")
        if not name:
            raise WordError(f"{word[:40]} has no name before its =; write NAME=VALUE")
        pairs.append((name, value))
    return tuple(pairs), False


def _env(line: LogicalLine, _: Flags, escape: str) -> Instruction:
    return ast.Env(line.location, *_pairs(line, escape))


def _label(line: LogicalLine, _: Flags, escape: str) -> Instruction:
    return ast.Label(line.location, *_pairs(line, escape))


def _workdir(line: LogicalLine, _: Flags, __: str) -> Instruction:
    return ast.Workdir(line.location, _required(line, "a path"))


def _user(line: LogicalLine, _: Flags, __: str) -> Instruction:
    return ast.User(line.location, _required(line, "a user"))


def _stopsignal(line: LogicalLine, _: Flags, __: str) -> Instruction:
    return ast.StopSignal(line.location, _required(line, "a signal, as SIGTERM"))


def _maintainer(line: LogicalLine, _: Flags, __: str) -> Instruction:
    return ast.Maintainer(line.location, _required(line, "a name"))


def _volume(line: LogicalLine, _: Flags, __: str) -> Instruction:
    array = parse_array(line.rest)
    paths = tuple(split_blanks(line.rest)) if array is None else refuse_nul(array)
    if not paths:
        raise WordError("expected a path")
    if not all(path.strip(SPACE) for path in paths):
        raise WordError("a path is empty; remove it")
    return ast.Volume(line.location, tuple(path.strip(SPACE) for path in paths))


def _expose(line: LogicalLine, _: Flags, __: str) -> Instruction:
    return ast.Expose(line.location, tuple(sorted(split_blanks(_required(line, "a port")))))


def _command(text: str) -> Command:
    array = parse_array(text)
    return ast.ShellForm(text) if array is None else ast.ExecForm(array)


def _cmd(line: LogicalLine, _: Flags, __: str) -> Instruction:
    return ast.Cmd(line.location, _command(line.rest))


def _entrypoint(line: LogicalLine, _: Flags, __: str) -> Instruction:
    return ast.Entrypoint(line.location, _command(line.rest))


def _run(line: LogicalLine, flags: Flags, escape: str) -> Instruction:
    command = _command(line.rest)
    if isinstance(command, ast.ExecForm) and not refuse_nul(command.words):
        raise WordError("the JSON array is empty; name a program in it")
    return ast.Run(
        line.location,
        command,
        heredocs=line.heredocs,
        mounts=tuple(_mount(text, escape) for text in flags.all("mount")),
        network=_one_of("network", flags, _NETWORKS),
        security=_one_of("security", flags, _SECURITIES),
        devices=flags.all("device"),
    )


def _mount(text: str, escape: str) -> MountText:
    """Check what does not depend on the stage's variables; without any, that is all."""
    mount = MountText.parse(text)
    if not mount.variable:
        try:
            parse_mount(mount.expand(lambda value: expand(value, _no_value, escape)))
        except ExpansionError as error:
            raise WordError(f"--mount: {error}") from None
    return mount


def _no_value(_: str) -> None:
    return None


def _one_of(name: str, flags: Flags, allowed: tuple[str, ...]) -> str:
    """Return a flag's value, the first of *allowed* if it is not given."""
    value = flags.text(name, allowed[0])
    if value not in allowed:
        raise WordError(f"--{name}={value[:40]} is unknown; there is {', '.join(allowed)}")
    return value


def _shell(line: LogicalLine, _: Flags, __: str) -> Instruction:
    array = parse_array(line.rest)
    if not array:
        raise WordError('expected a JSON array, as SHELL ["/bin/sh", "-c"]')
    return ast.Shell(line.location, refuse_nul(array))


def _healthcheck(line: LogicalLine, flags: Flags, _: str) -> Instruction:
    parts = split_blanks(_required(line, "NONE, or CMD and a command"), 2)
    kind, rest = parts[0].upper(), parts[1] if len(parts) > 1 else ""
    if kind == "NONE":
        if rest:
            raise WordError("NONE stands alone; remove what follows it")
        return ast.Healthcheck(line.location, None)
    if kind != "CMD":
        raise WordError(f"{parts[0][:40]!r} is unknown; expected NONE, or CMD and a command")
    command = _command(rest)
    if command in {ast.ShellForm(""), ast.ExecForm(())}:
        raise WordError("CMD has no command; write one, or HEALTHCHECK NONE")
    return ast.Healthcheck(
        line.location,
        command,
        interval=parse_duration(flags.text("interval")),
        timeout=parse_duration(flags.text("timeout")),
        start_period=parse_duration(flags.text("start-period")),
        start_interval=parse_duration(flags.text("start-interval")),
        retries=_retries(flags.text("retries")),
    )


def _retries(text: str) -> int:
    if not text:
        return 0
    if not _RETRIES.fullmatch(text) or int(text) > _RETRIES_MAX:
        raise WordError(f"--retries={text[:40]} must be a whole number, 0 or more")
    return int(text)


def _onbuild(line: LogicalLine, _: Flags, escape: str) -> Instruction:
    text = _required(line, "an instruction")
    inner = LogicalLine.of(text, escape, line.location, line.heredocs)
    if inner.keyword in _NO_TRIGGER:
        raise WordError(f"{inner.keyword} cannot be a trigger; write it in the other Dockerfile")
    # Space at the end stays, as in the configs that BuildKit writes.
    expression = line.text.lstrip(SPACE)[len(line.keyword) :].lstrip(SPACE)
    for heredoc in line.heredocs:
        expression += f"\n{heredoc.content}{heredoc.name}"
    return ast.OnBuild(line.location, expression, parse_line(inner, escape))


_MAKERS: dict[str, Callable[[LogicalLine, Flags, str], Instruction]] = {
    "ADD": parse_copying,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": parse_copying,
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
