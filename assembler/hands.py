"""What a builder is lent: hands for instructions that change files, and what holds for a build."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from assembler.copystep import Supplies, Times
from assembler.running import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from assembler.running import RunStep
    from layers.changes import Changes
    from layers.descriptor import Descriptor
    from layers.tree import Tree


@dataclass(frozen=True, slots=True)
class Replayed:
    """A step that was not done again, and the layer that it made, if any."""

    layer: Descriptor | None


class Hands(Supplies, Protocol):
    """What a builder needs for instructions that change files."""

    def begin(self, tree: Tree) -> Changes:
        """Begin a layer of changes to *tree*."""
        ...

    def commit(self, changes: Changes) -> Descriptor | None:
        """End a layer and keep it; `None` if there is nothing in it."""
        ...

    def remembers(self, key: str) -> bool:
        """Whether anything was remembered under *key*."""
        ...

    def replay(self, key: str, tree: Tree) -> Replayed | None:
        """Apply to *tree* what a step of that key did before; `None` if none is remembered."""
        ...

    def remember(self, key: str, layer: Descriptor | None) -> None:
        """Remember what a step of that key made."""
        ...

    def fidelity(self, place: str) -> str:
        """Return how exactly the sandbox keeps owners: what it made otherwise is another layer.

        *place* is that of the RUN that wants one, for the error where there is none.
        """
        ...

    def run(self, step: RunStep, tree: Tree) -> Descriptor:
        """Do a RUN upon *tree*, and apply to it what was changed; return the layer of that.

        There always is one, without entries if nothing was changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Manner:
    """What holds for a whole build: its times, the escape character, whom to warn."""

    times: Times
    escape: str
    warn: Callable[[str], None]
    tell_cached: Callable[[], None]
    """Tells that the instruction on its way was not done again."""
    machine: Machine = field(default_factory=Machine)
