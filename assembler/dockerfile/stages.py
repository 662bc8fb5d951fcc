"""A whole Dockerfile: global arguments, stages, and the instructions in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.dockerfile import instructions as ast
from assembler.dockerfile import lexer
from assembler.dockerfile.parser import parse_line
from assembler.errors import DockerfileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from assembler.dockerfile.instructions import Arg, From, Instruction

_STAGES = 1_000
"""No honest file comes near; each may begin with all that another one holds."""
_SYNTAX = "docker/dockerfile:1"


@dataclass(frozen=True, slots=True)
class Stage:
    """One `FROM` and what follows it."""

    index: int
    from_: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The name after AS, lower case; empty if there is none."""
        return self.from_.name


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A Dockerfile, read."""

    name: str
    directives: Mapping[str, str]
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[str, ...]

    @property
    def escape(self) -> str:
        """The escape character."""
        return self.directives.get("escape", "\\")

    @property
    def last(self) -> Stage:
        """The stage that is built when none is asked for."""
        return self.stages[-1]

    def stage_before(self, name: str, index: int) -> Stage | None:
        """Return what `FROM name` means in stage *index*: an earlier stage, or `None` (an image).

        Of several of the same name the last one is meant. The case does not matter; BuildKit
        would refuse a name in upper case here, as no image can have one.
        """
        for stage in reversed(self.stages[:index]):
            if stage.name and stage.name == name.lower():
                return stage
        return None

    def find(self, name: str) -> Stage | None:
        """Return the stage that `--target` or `--from` means: a name in any case, or a number."""
        if name.isascii() and name.isdigit():
            return next((stage for stage in self.stages if str(stage.index) == name), None)
        return self.stage_before(name, len(self.stages))


def parse(data: bytes | str, name: str = "Dockerfile") -> Dockerfile:
    """Read a Dockerfile; *name* is what errors call it. Raises nothing but `DockerfileError`."""
    text = lexer.read(data, name)
    if not text.lines:
        raise DockerfileError(name, 1, "the file has no instructions; begin with FROM")
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for line in text.lines:
        instruction = parse_line(line, text.escape)
        if isinstance(instruction, ast.From):
            if len(stages) == _STAGES:
                raise line.error(f"more than {_STAGES:,} stages; divide the file")
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, ast.Arg):
            global_args.append(instruction)
        else:
            raise line.error("before the first FROM only ARG can stand; write FROM IMAGE first")
    if not stages:
        last = text.lines[-1].location.end
        raise DockerfileError(name, last, "there is no FROM; name the image to begin with")
    froms = [from_ for from_, _ in stages]
    return Dockerfile(
        name=name,
        directives=text.directives,
        global_args=tuple(global_args),
        stages=tuple(Stage(n, from_, tuple(rest)) for n, (from_, rest) in enumerate(stages)),
        warnings=(*_syntax_warnings(name, text), *text.warnings, *_stage_warnings(froms)),
    )


def parse_trigger(text: str, name: str) -> Instruction:
    """Read one ONBUILD trigger of an image's config; *name* is what errors call it.

    It has no directives of its own that matter: its escape character is the backslash.
    """
    lines = lexer.read(text, name).lines
    if len(lines) != 1:
        raise DockerfileError(name, 1, f"a trigger is one instruction, this is {len(lines)}")
    return parse_line(lines[0])


def _syntax_warnings(name: str, text: lexer.Text) -> Iterator[str]:
    syntax = text.directives.get("syntax", _SYNTAX).split()[0]
    if not syntax.removeprefix("docker.io/").startswith(_SYNTAX):
        line = list(text.directives).index("syntax") + 1
        yield (
            f"{name}:{line}: syntax={syntax} is not {_SYNTAX}; the file is read as that all the "
            "same"
        )


def _stage_warnings(froms: Sequence[From]) -> Iterator[str]:
    seen: set[str] = set()
    last = {from_.name: number for number, from_ in enumerate(froms)}
    for number, from_ in enumerate(froms):
        name = from_.image.lower()
        if name not in seen and last.get(name, 0) > number:
            yield (
                f"{from_.location.name}:{from_.location.start}: FROM {from_.image} means an image, "
                "as the stage of that name comes later; move that stage up if you mean it"
            )
        if from_.name in seen:
            yield (
                f"{from_.location.name}:{from_.location.start}: there is an earlier stage called "
                f"{from_.name!r}; give one of them another name"
            )
        seen.update({from_.name} - {""})
