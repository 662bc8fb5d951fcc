"""The instructions as types. Text in them is as written: `expand_instruction` expands it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assembler.dockerfile.heredocs import Heredoc
    from assembler.dockerfile.lexer import Location
    from assembler.dockerfile.mounttext import MountText

PATH_MAX = 4095
"""Characters of a path, as Linux has it: nobody could open what has a longer one."""

Pairs = tuple[tuple[str, str], ...]


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
    platform: str = ""
    name: str = ""
    """Lower case, whatever was written."""


@dataclass(frozen=True, slots=True)
class Arg(Instruction):
    """`ARG NAME[=DEFAULT] ...`; a default is unexpanded, and `None` where there is none."""

    arguments: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Env(Instruction):
    """`ENV NAME=VALUE ...`, or `ENV NAME VALUE`, which is *legacy*."""

    pairs: Pairs
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Label(Instruction):
    """`LABEL NAME=VALUE ...`, or `LABEL NAME VALUE`, which is *legacy*."""

    pairs: Pairs
    legacy: bool = False


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
    """`EXPOSE PORT[-PORT][/PROTOCOL] ...`, sorted as BuildKit sorts them."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopSignal(Instruction):
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
class Inline:
    """A here-document that COPY or ADD writes to a file called *name*."""

    name: str
    text: str
    expand: bool


@dataclass(frozen=True, slots=True)
class _Copying(Instruction):
    sources: tuple[str, ...]
    """Paths and patterns; here-documents are in *inline*."""
    destination: str
    inline: tuple[Inline, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy(_Copying):
    """`COPY [flags] SOURCE ... DESTINATION`; *origin* is the stage or image of `--from`."""

    origin: str = ""
    parents: bool = False


@dataclass(frozen=True, slots=True)
class Add(_Copying):
    """`ADD [flags] SOURCE ... DESTINATION`; `None` is for a switch that was not given."""

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    """`RUN [flags] COMMAND`; mounts are cut up, what they mean is told by `run_mounts`."""

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[MountText, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OnBuild(Instruction):
    """`ONBUILD INSTRUCTION`: *expression* is the text that goes into the image's config."""

    expression: str
    trigger: Instruction
    """What the text is; it is expanded where it is triggered, not here."""
