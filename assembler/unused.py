"""Options that name something which no instruction asks for: most often a slip of the pen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from assembler.dockerfile import expand_instruction, run_mounts
from assembler.dockerfile import instructions as ast
from assembler.dockerfile.mounts import SecretMount
from assembler.errors import DockerfileError
from assembler.planning import context_for, named_origins

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from assembler.dockerfile import Dockerfile, Instruction
    from assembler.request import Request
    from assembler.scope import GlobalScope


def unused_options(
    dockerfile: Dockerfile, triggers: Iterable[Instruction], scope: GlobalScope, request: Request
) -> Iterator[str]:
    """Yield a sentence for each; stages that are not built count, and a base's *triggers*."""
    for name in scope.arguments.unused():
        yield f"--build-arg {name}: no ARG of that name is declared; check its spelling"
    instructions = [*triggers, *(one for stage in dockerfile.stages for one in stage.instructions)]
    named = set(_images(dockerfile, scope))
    named |= {origin for one in instructions for _, origin in named_origins(one)}
    for name, source in request.contexts.items():
        if not any(context_for(other, {name: source}) for other in named):
            yield f"--build-context {name}: no FROM, COPY or RUN names it; check its spelling"
    wanted = set(_secrets(instructions))
    for identity in request.secrets:
        if identity not in wanted and None not in wanted:
            yield (
                f"--secret id={identity}: no RUN --mount=type=secret names it; check its spelling"
            )


def _images(dockerfile: Dockerfile, scope: GlobalScope) -> Iterator[str]:
    for stage in dockerfile.stages:
        try:
            from_ = stage.from_
            yield expand_instruction(from_, scope.lookup, dockerfile.escape, scope.budget).image
        except DockerfileError:
            continue  # of a stage that is not built; planning tells of the others


def _secrets(instructions: Iterable[Instruction]) -> Iterator[str | None]:
    """Yield the ids that RUNs mount; `None` for what depends on variables."""
    for instruction in instructions:
        if isinstance(instruction, ast.Run):
            plain = tuple(mount for mount in instruction.mounts if not mount.variable)
            if len(plain) < len(instruction.mounts):
                yield None
            for mount in run_mounts(replace(instruction, mounts=plain)):
                if isinstance(mount, SecretMount):
                    yield mount.identity
