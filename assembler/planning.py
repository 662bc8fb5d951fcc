"""Which stages a build needs, and what it cannot do: settled before anything is fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.dockerfile import ExpansionError, expand, expand_instruction, run_mounts
from assembler.dockerfile import instructions as ast
from assembler.dockerfile.mounts import SecretMount
from assembler.downloads import OFFLINE
from assembler.errors import BuildError, DockerfileError
from assembler.runmounts import NO_CACHE_SOURCE, NO_SSH, missing_secret
from layers.abridged import abridged
from layers.descriptor import Platform
from layers.errors import InvalidReference
from layers.reference import Reference, parse_source
from layers.sources import Wanted

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from assembler.dockerfile import Dockerfile, Instruction, Stage
    from assembler.scope import GlobalScope
    from layers.reference import LocalReference

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage to be built, and what it begins with: another one, an image, or nothing."""

    stage: Stage
    parent: Stage | None
    base: Reference | LocalReference | None
    base_name: str
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done: the stages that the target needs, in the order of the file."""

    stages: tuple[StagePlan, ...]

    @property
    def target(self) -> StagePlan:
        """The stage whose image is wanted; all the others are before it."""
        return self.stages[-1]


def plan(
    dockerfile: Dockerfile,
    scope: GlobalScope,
    contexts: Mapping[str, str],
    wanted: Wanted,
    target: str | None = None,
) -> Plan:
    """Return the plan for *target*, or the last stage; raise for what cannot be done.

    `DockerfileError` has the line; an unknown target is a `BuildError`.
    """
    for arg in dockerfile.global_args:
        for name, default in arg.arguments:
            scope.declare(name, _expand_default(arg, default, scope, dockerfile.escape))
    needed = {_target(dockerfile, target).index}
    planned: list[StagePlan] = []
    for stage in reversed(dockerfile.stages):
        if stage.index not in needed:
            continue
        check_supported(stage.instructions)
        one = _plan_stage(dockerfile, stage, scope, contexts, wanted)
        planned.append(one)
        if one.parent is not None:
            needed.add(one.parent.index)
        needed |= {found.index for found in _origins(dockerfile, stage, contexts)}
    return Plan(tuple(reversed(planned)))


def check_supported(instructions: Iterable[Instruction]) -> None:
    """Raise `DockerfileError` for the first instruction that cannot be done."""
    for instruction in instructions:
        if isinstance(instruction, ast.Run):
            _check_run(instruction)
        if isinstance(instruction, ast.Add) and any(map(_is_git, instruction.sources)):
            raise instruction.location.error(
                "ADD: git sources are not supported; clone it first and COPY the folder, or ADD an "
                "https:// archive of it"
            )


def runs(instructions: Iterable[Instruction]) -> list[ast.Run]:
    """Return what a sandbox is needed for."""
    return [instruction for instruction in instructions if isinstance(instruction, ast.Run)]


def _check_run(run: ast.Run) -> None:
    if run.security != "sandbox":
        raise run.location.error(
            f"RUN: --security={run.security} is not supported, no RUN gets privileges here; build "
            "the image up to here elsewhere and use it in FROM (oci-archive:FILE works)"
        )
    if run.devices:
        raise run.location.error(
            f"RUN: --device={run.devices[0]} is not supported, no RUN gets devices here; leave it "
            "out, or build the image up to here elsewhere and use it in FROM"
        )
    for mount in run.mounts:
        kind = mount.text("type").lower()
        if kind == "ssh":
            raise run.location.error(f"RUN: {NO_SSH}")
        if kind == "cache" and (mount.text("from") or mount.text("source")):
            raise run.location.error(f"RUN: {NO_CACHE_SOURCE}")


def check_secrets(instructions: Iterable[Instruction], given: Container[str]) -> None:
    """Raise `DockerfileError` for the first RUN that requires a secret that was not *given*."""
    for instruction in instructions:
        if isinstance(instruction, ast.Run):
            # One with variables is understood, and checked again, where it is done.
            plain = [mount for mount in instruction.mounts if not mount.variable]
            for mount in run_mounts(replace(instruction, mounts=tuple(plain))):
                if (
                    isinstance(mount, SecretMount)
                    and mount.required
                    and mount.identity not in given
                ):
                    raise instruction.location.error(f"RUN: {missing_secret(mount.identity)}")


def check_offline(instructions: Iterable[Instruction]) -> None:
    """Raise `DockerfileError` for the first ADD that would fetch something."""
    for instruction in instructions:
        if isinstance(instruction, ast.Add):
            for source in instruction.sources:
                if source.startswith(("http://", "https://")):
                    raise instruction.location.error(f"ADD: {source}: {OFFLINE}")


def find_origin(
    dockerfile: Dockerfile,
    name: str,
    index: int,
    contexts: Mapping[str, str],
    flag: str = "--from",
) -> Stage | None:
    """Return the stage that *flag*`=NAME` in stage *index* means; `None` for an image or context.

    Raises `BuildError` for a stage that is not before it.
    """
    if context_for(name, contexts) is not None:
        return None
    found = dockerfile.stage_before(name, index)
    here = dockerfile.stages[index]
    if found is None and name.lower() in {here.name, str(index)} - {""}:
        raise BuildError(f"{flag}={name}: a stage has nothing from itself; name an earlier one")
    if found is None and name.isascii() and name.isdigit():
        found = dockerfile.find(name)
        if found is None or found.index >= index:
            raise BuildError(f"{flag}={name}: there is no stage of that number before this one")
    if found is None and any(stage.name == name.lower() for stage in dockerfile.stages[index:]):
        raise BuildError(f"{flag}={name}: that stage does not come before this one; move it up")
    return found


def _origins(dockerfile: Dockerfile, stage: Stage, contexts: Mapping[str, str]) -> Iterator[Stage]:
    for instruction in stage.instructions:
        for flag, origin in named_origins(instruction):
            try:
                found = find_origin(dockerfile, origin, stage.index, contexts, flag)
                if found is None:
                    origin_reference(origin, contexts)
            except (BuildError, InvalidReference) as error:
                raise instruction.location.error(f"{instruction.keyword}: {error}") from None
            if found is not None:
                yield found


def named_origins(instruction: Instruction) -> Iterator[tuple[str, str]]:
    """Yield the stages and images that an instruction reads, each with the flag that names it."""
    if isinstance(instruction, ast.Copy) and instruction.origin:
        yield "--from", instruction.origin
    if isinstance(instruction, ast.Run):
        for mount in instruction.mounts:
            if mount.text("from"):
                yield "--mount: from", mount.text("from")


def origin_reference(name: str, contexts: Mapping[str, str]) -> Reference | LocalReference | Path:
    """Return the image, or the folder, that `--from=NAME` means if it is no stage."""
    source = context_for(name, contexts) or name
    if source != name and Path(source).is_dir():
        return Path(source)
    return parse_source(source)


def _target(dockerfile: Dockerfile, name: str | None) -> Stage:
    if name is None:
        return dockerfile.last
    found = dockerfile.find(name)
    if found is None:
        names = abridged([stage.name or str(stage.index) for stage in dockerfile.stages])
        raise BuildError(f"--target {name}: there is no such stage; there are {names}")
    return found


def _plan_stage(
    dockerfile: Dockerfile,
    stage: Stage,
    scope: GlobalScope,
    contexts: Mapping[str, str],
    wanted: Wanted,
) -> StagePlan:
    from_ = _expanded_from(stage.from_, scope, dockerfile.escape)
    wanted = _platform(from_, wanted)
    parent = None
    if context_for(from_.image, contexts) is None:
        parent = dockerfile.stage_before(from_.image, stage.index)
    base = None
    if parent is None and from_.image != SCRATCH:
        base = _base(from_, contexts)
    return StagePlan(stage, parent, base, from_.image, wanted)


def _is_git(source: str) -> bool:
    return source.startswith(("git@", "git://", "ssh://")) or (
        source.startswith(("http://", "https://"))
        and source.partition("#")[0].removesuffix("/").endswith(".git")
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
        return expand(default, scope.lookup, escape, scope.budget)
    except ExpansionError as error:
        raise arg.location.error(f"ARG: {error}") from None


def _expanded_from(from_: ast.From, scope: GlobalScope, escape: str) -> ast.From:
    expanded = expand_instruction(from_, scope.lookup, escape, scope.budget)
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
        if source is not None and os.path.isdir(source):
            raise InvalidReference(
                f"--build-context {from_.image}={source} is a folder, which COPY --from reads; if "
                f"it is an OCI image layout, name it oci:{source}"
            )
        return parse_source(source or from_.image)
    except InvalidReference as error:
        raise DockerfileError(from_.location.name, from_.location.start, f"FROM: {error}") from None
