"""Names of stages that were probably mistyped: found before an image of that name is looked for."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from assembler.planning import context_for, find_origin, named_origins
from layers.errors import InvalidReference
from layers.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from assembler.dockerfile import Dockerfile
    from assembler.planning import Plan
    from layers.store import ContentStore

_ALIKE = 0.8
"""Of difflib's ratio: one letter of five, as in `build` and `builder`."""


def check_stage_names(
    plan: Plan,
    dockerfile: Dockerfile,
    contexts: Mapping[str, str],
    is_stored: Callable[[str], bool],
) -> None:
    """Raise `DockerfileError` for the first `--from=NAME` that seems to mean a stage, and is none.

    It is an image's if *is_stored* knows it, if a FROM of the file has it, or if it has a tag or a
    slash.
    """
    known = _bases(dockerfile)
    for planned in plan.stages:
        stage = planned.stage
        for instruction in stage.instructions:
            for flag, name in named_origins(instruction):
                found = find_origin(dockerfile, name, stage.index, contexts, flag)
                if found or name in known or context_for(name, contexts) is not None:
                    continue
                meant = similar_stage(dockerfile, name)
                if meant and not is_stored(name):
                    raise instruction.location.error(
                        f"{instruction.keyword}: {flag}={name}: there is no stage {name}; did you "
                        f"mean {meant}? (if it is an image, write {name}:latest)"
                    )


def is_stored(store: ContentStore, name: str) -> bool:
    """Whether *store* has an image that *name* means."""
    return store.resolve(str(Reference.parse(name))) is not None


def similar_stage(dockerfile: Dockerfile, name: str) -> str | None:
    """Return the stage that *name* is nearly the name of, unless it has an image's tag or slash."""
    if not name.replace("-", "").replace("_", "").isalnum():
        return None
    names = [stage.name for stage in dockerfile.stages if stage.name]
    found = difflib.get_close_matches(name.lower(), names, n=1, cutoff=_ALIKE)
    return found[0] if found else None


def _bases(dockerfile: Dockerfile) -> set[str]:
    """Return the names of the images that stages begin with, without their tags."""
    found = set()
    for stage in dockerfile.stages:
        if dockerfile.stage_before(stage.from_.image, stage.index) is None:
            try:
                found.add(Reference.parse(stage.from_.image).familiar)
            except InvalidReference:
                continue  # a variable, or a place on this machine
    return found
