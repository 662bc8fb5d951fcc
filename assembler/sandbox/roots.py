"""Roots for commands: an image's tree as files on disk, unpacked once, and only what changed since.

What a base image unpacks to is kept in the store. An overlay shows it beneath what earlier commands
of the build wrote, and beneath small folders of what other instructions changed in between; those
are gone after the build.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assembler.errors import SandboxError
from assembler.sandbox import attributes, records
from assembler.sandbox.job import Job, Root, Unpack
from assembler.sandbox.runner import perform
from assembler.sandbox.touched import Touched, delta

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from assembler.sandbox.records import Record
    from assembler.sandbox.rungs import Rung
    from assembler.sandbox.treearea import TreeArea
    from layers.tree import DataFile, Tree

_LOWERS_MAX = 100
"""Folders beneath one overlay, of the 500 that Linux allows; their names share one page."""


OVERLAY = {False: attributes.TRUSTED_OVERLAY, True: attributes.USER_OVERLAY}
"""How an overlay's own attributes begin, outside and in a user namespace."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a stage begins with: the image's tree, never changed, and what names it."""

    name: str
    tree: Tree


@dataclass(slots=True)
class Standing:
    """What a stage's tree is on disk: *lowers*, the uppermost first, and what changed since."""

    base: Base | None = None
    lowers: tuple[str, ...] = ()
    touched: Touched = field(default_factory=Touched)

    def copy(self) -> Standing:
        """Return what a copy of the tree stands on."""
        return Standing(self.base, self.lowers, self.touched.copy())


@dataclass(frozen=True, slots=True)
class Prepared:
    """A root for one command. *files* are descriptors that *unpack* refers to."""

    root: Root
    unpack: tuple[Unpack, ...]
    files: tuple[int, ...]


class Roots:
    """The roots of one build, all for one rung."""

    def __init__(self, area: TreeArea, rung: Rung, stack: ExitStack) -> None:
        """Make roots in *area*; what is not kept there is removed with *stack*."""
        self._area = area
        self._rung = rung
        self._stack = stack

    def prepare(self, tree: Tree, standing: Standing, stack: ExitStack) -> Prepared:
        """Return a root for a command upon *tree*; to be used once, and `changed` called then.

        *stack* lasts until what the command changed is known.
        """
        if not self._rung.overlay:
            # The command changes the files themselves: so they are no one else's, and of no use
            # to the next one.
            step = stack.enter_context(self._area.folder(self._rung.namespace))
            return self._prepared((), step, *records.records_of(tree))
        step = self._stack.enter_context(self._area.folder(self._rung.namespace))
        for name in ("upper", "work", "root", "lower"):
            (step / name).mkdir(mode=0o755)
        lowers, touched = standing.lowers, standing.touched
        if not lowers and standing.base is not None:
            lowers = (self._kept(standing.base),)
        if not lowers or len(lowers) >= _LOWERS_MAX:
            return self._prepared((), step, *records.records_of(tree))
        if touched:
            return self._prepared(lowers, step, *delta(tree, touched))
        return self._prepared(lowers, step, [], [])

    def changed(self, standing: Standing, root: Root, left: Sequence[bytes] | None) -> None:
        """Tell that a command has changed the tree upon *root*, and nothing else has since.

        What it *left* on disk is not in the tree: the next command must not see it, or its layer
        would depend on which commands were remembered. `None` is too much to be told.
        """
        standing.touched = Touched()
        if left is None:
            standing.lowers, standing.base = (), None
            return
        standing.lowers = (f"{root.step}/upper", *root.lowers)
        standing.touched.add(left, left)

    def _kept(self, base: Base) -> str:
        """Return where the base is unpacked, which is done now if it was never done."""
        target = self._area.kept(f"{base.name}-{self._rung.manner}")
        if not target.is_dir():
            with self._area.folder(self._rung.namespace) as draft:
                prepared = self._prepared((), draft, *records.records_of(base.tree))
                job = Job(self._rung.namespace_for(0, 0), unpack=prepared.unpack)
                outcome = perform(lambda _: job, files=prepared.files)
                outcome.check_room()
                if outcome.failed:
                    raise SandboxError(f"the image could not be unpacked: {outcome.failed}")
                self._area.keep(draft / "tree", target)
        os.utime(target, ns=(time.time_ns(), target.stat().st_mtime_ns))  # for prune
        return str(target)

    def _prepared(
        self,
        lowers: tuple[str, ...],
        step: Path,
        unpacked: list[Record],
        sources: Sequence[DataFile],
    ) -> Prepared:
        """Return a root of *lowers* with what is *unpacked*, if anything, above them."""
        in_userns = self._rung.namespace_for(0, 0) is not None
        target = str(step / "tree")
        orders: tuple[Unpack, ...] = ()
        descriptors: tuple[int, ...] = ()
        if unpacked:
            descriptors = tuple(source.fileno() for source in sources)
            ids = self._rung.ids
            order = Unpack(
                target, records.pack(unpacked), descriptors, ids.uids, ids.gids,
                self._rung.devices, OVERLAY[in_userns], lowers,
            )  # fmt: skip
            orders, lowers = (order,), (target, *lowers)
        root = Root(lowers, str(step), self._rung.overlay, user_xattrs=in_userns)
        return Prepared(root, orders, descriptors)
