"""A whole Dockerfile: global arguments, stages, and the instructions in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.dockerfile import instructions as ast
from assembler.dockerfile import lexer
from assembler.dockerfile.parser import parse_line
from assembler.errors import DockerfileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assembler.dockerfile.instructions import Arg, From, Instruction


@dataclass(frozen=True, slots=True)
class Stage:
    """One `FROM` and what follows it."""

    index: int
    from_: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The name after AS; empty if there is none."""
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

    def stage_before(self, name: str, index: int) -> Stage | None:
        """Return the last stage called *name* among those before number *index*."""
        for stage in reversed(self.stages[:index]):
            if stage.name and stage.name == name.lower():
                return stage
        return None


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
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, ast.Arg):
            global_args.append(instruction)
        else:
            raise line.location.error(f"{line.keyword}: before the first FROM only ARG can stand")
    if not stages:
        raise DockerfileError(name, text.lines[-1].location.end, "there is no FROM")
    return Dockerfile(
        name=name,
        directives=text.directives,
        global_args=tuple(global_args),
        stages=tuple(Stage(n, from_, tuple(rest)) for n, (from_, rest) in enumerate(stages)),
        warnings=(*text.warnings, *_warnings(name, text, [from_ for from_, _ in stages])),
    )


def _warnings(name: str, text: lexer.Text, froms: list[From]) -> list[str]:
    found: list[str] = []
    syntax = text.directives.get("syntax", "docker/dockerfile:1")
    if not syntax.startswith("docker/dockerfile:1"):
        found.append(
            f"{name}: syntax={syntax} is not docker/dockerfile:1; it is read as that all the same"
        )
    seen: set[str] = set()
    for from_ in froms:
        if from_.name and from_.name in seen:
            place = f"{name}:{from_.location.start}"
            found.append(
                f"{place}: there is an earlier stage called {from_.name!r}; give it another name"
            )
        seen.add(from_.name)
    return found
