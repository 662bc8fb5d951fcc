"""Which stages a build needs, and what it cannot do: settled before anything is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.dockerfile import ExpansionError, expand, expand_instruction
from assembler.dockerfile import instructions as ast
from assembler.errors import DockerfileError
from layers.descriptor import Platform
from layers.errors import InvalidReference
from layers.reference import Reference, parse_source
from layers.sources import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assembler.dockerfile import Dockerfile, Instruction, Stage
    from assembler.scope import GlobalScope
    from layers.reference import LocalReference

SCRATCH = "scratch"
SUPPORTED = (
    ast.Arg, ast.Cmd, ast.Entrypoint, ast.Env, ast.Expose, ast.Label, ast.User, ast.Volume,
    ast.Workdir,
)  # fmt: skip
_WAYS_OUT = {
    "RUN": "build the image up to here elsewhere and use it in FROM (oci-archive:FILE works)",
    "COPY": "put the files into the base image, or send them to a volume when the task starts",
    "ADD": "put the files into the base image, or send them to a volume when the task starts",
}
_REMOVE = "remove the line; providers do not use it"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done: the base (none for `scratch`), then the instructions of each stage."""

    base: Reference | LocalReference | None
    base_name: str
    wanted: Wanted
    stages: tuple[Stage, ...]
    """From the base upwards; each stands on the one before."""


def plan(
    dockerfile: Dockerfile, scope: GlobalScope, contexts: Mapping[str, str], wanted: Wanted
) -> Plan:
    """Return the plan for the last stage; raise `DockerfileError` for what cannot be done."""
    for arg in dockerfile.global_args:
        for name, default in arg.arguments:
            scope.declare(name, _expand_default(arg, default, scope, dockerfile.escape))
    chain: list[Stage] = []
    stage: Stage | None = dockerfile.last
    from_ = dockerfile.last.from_
    while stage is not None:
        chain.append(stage)
        check_supported(stage.instructions)
        from_ = _expanded_from(stage.from_, scope, dockerfile.escape)
        wanted = _platform(from_, wanted)
        overridden = context_for(from_.image, contexts) is not None
        stage = None if overridden else dockerfile.stage_before(from_.image, stage.index)
    base = None
    if from_.image != SCRATCH:
        base = _base(from_, contexts)
    return Plan(base, from_.image, wanted, tuple(reversed(chain)))


def check_supported(instructions: tuple[Instruction, ...]) -> None:
    """Raise `DockerfileError` for the first instruction that cannot be done."""
    for instruction in instructions:
        if not isinstance(instruction, SUPPORTED):
            way_out = _WAYS_OUT.get(instruction.keyword, _REMOVE)
            raise instruction.location.error(
                f"{instruction.keyword} is not supported yet; {way_out}"
            )


def context_for(image: str, contexts: Mapping[str, str]) -> str | None:
    """Return the source that `--build-context` gives for an image, however either is written."""
    if image in contexts:
        return contexts[image]
    for name, source in contexts.items():
        if _normal(name) == _normal(image):
            return source
    return None


def _normal(name: str) -> str:
    try:
        return str(Reference.parse(name))
    except InvalidReference:
        return name


def _expand_default(
    arg: ast.Arg, default: str | None, scope: GlobalScope, escape: str
) -> str | None:
    if default is None:
        return None
    try:
        return expand(default, scope.lookup, escape)
    except ExpansionError as error:
        raise arg.location.error(f"ARG: {error}") from None


def _expanded_from(from_: ast.From, scope: GlobalScope, escape: str) -> ast.From:
    expanded = expand_instruction(from_, scope.lookup, escape)
    if not isinstance(expanded, ast.From) or not expanded.image:
        raise from_.location.error(
            f"FROM: {from_.image!r} is empty after expansion; give the ARG a default before the "
            "first FROM, or use --build-arg"
        )
    return expanded


def _platform(from_: ast.From, wanted: Wanted) -> Wanted:
    if not from_.platform:
        return wanted
    try:
        return Wanted(Platform.parse(from_.platform), explicit=True)
    except ValueError as error:
        raise from_.location.error(f"FROM: --platform: {error}") from None


def _base(from_: ast.From, contexts: Mapping[str, str]) -> Reference | LocalReference:
    source = context_for(from_.image, contexts)
    try:
        return parse_source(source or from_.image)
    except InvalidReference as error:
        raise DockerfileError(from_.location.name, from_.location.start, f"FROM: {error}") from None
