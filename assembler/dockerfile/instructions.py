"""The instructions as types. Text in them is as written: `expand_instruction` expands it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assembler.dockerfile.lexer import Heredoc, Location

Pairs = tuple[tuple[str, str], ...]
Flags = tuple[tuple[str, str], ...]
"""`--name=value` as (name, value), in order; a flag without a value has an empty one."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """What all instructions have: where they stand."""

    location: Location

    @property
    def keyword(self) -> str:
        """The instruction's name, upper case."""
        return type(self).__name__.upper()


@dataclass(frozen=True, slots=True)
class ShellForm:
    """A command line for the shell."""

    text: str


@dataclass(frozen=True, slots=True)
class ExecForm:
    """A JSON array: the program and its arguments."""

    words: tuple[str, ...]


Command = ShellForm | ExecForm


@dataclass(frozen=True, slots=True)
class From(Instruction):
    """`FROM [--platform=P] IMAGE [AS NAME]`."""

    image: str
    platform: str
    name: str


@dataclass(frozen=True, slots=True)
class Arg(Instruction):
    """`ARG NAME[=DEFAULT] ...`."""

    arguments: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Env(Instruction):
    """`ENV NAME=VALUE ...` or `ENV NAME VALUE`."""

    pairs: Pairs


@dataclass(frozen=True, slots=True)
class Label(Instruction):
    """`LABEL NAME=VALUE ...` or `LABEL NAME VALUE`."""

    pairs: Pairs


@dataclass(frozen=True, slots=True)
class Workdir(Instruction):
    """`WORKDIR PATH`."""

    path: str


@dataclass(frozen=True, slots=True)
class Volume(Instruction):
    """`VOLUME PATH ...` or a JSON array."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User(Instruction):
    """`USER NAME[:GROUP]`."""

    user: str


@dataclass(frozen=True, slots=True)
class Cmd(Instruction):
    """`CMD` in shell or exec form."""

    command: Command


@dataclass(frozen=True, slots=True)
class Entrypoint(Instruction):
    """`ENTRYPOINT` in shell or exec form."""

    command: Command


@dataclass(frozen=True, slots=True)
class Expose(Instruction):
    """`EXPOSE PORT[-PORT][/PROTOCOL] ...`."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopsignal(Instruction):
    """`STOPSIGNAL NAME-OR-NUMBER`."""

    signal: str


@dataclass(frozen=True, slots=True)
class Healthcheck(Instruction):
    """`HEALTHCHECK [flags] CMD ...` or `NONE` (then *command* is `None`). Times in nanoseconds."""

    command: Command | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Shell(Instruction):
    """`SHELL` and its JSON array."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Maintainer(Instruction):
    """`MAINTAINER NAME`, deprecated."""

    name: str


@dataclass(frozen=True, slots=True)
class Copy(Instruction):
    """`COPY [flags] SOURCE ... DESTINATION`."""

    sources: tuple[str, ...]
    destination: str
    flags: Flags = ()
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class Add(Copy):
    """`ADD [flags] SOURCE ... DESTINATION`."""


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    """`RUN [flags] COMMAND`."""

    command: Command
    flags: Flags = ()
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class Onbuild(Instruction):
    """`ONBUILD INSTRUCTION`: kept as text, and parsed once to see that it is one."""

    expression: str
    trigger: Instruction
