"""Roots for commands: an image's tree as files on disk, unpacked once, and linked from then on.

What a base image unpacks to is kept in the store. Each later state of the tree is a folder of its
own that shares the unchanged files with earlier ones, as hard links; it is gone after the build.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler.errors import SandboxError
from assembler.sandbox import records
from assembler.sandbox.job import Job, Root, Unpack
from assembler.sandbox.runner import perform
from layers.tarindex import Kind

if TYPE_CHECKING:
    from collections.abc import Hashable
    from contextlib import ExitStack
    from pathlib import Path

    from assembler.sandbox.rungs import Rung
    from assembler.sandbox.treearea import TreeArea
    from layers.tree import Node, Tree


@dataclass(frozen=True, slots=True)
class Base:
    """What a stage begins with: the image's tree, never changed, and what names it."""

    name: str
    tree: Tree


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
        self._on_disk: dict[Hashable, bytes] = {}
        """Where a file of these contents and metadata is, to be linked."""
        self._bases: dict[str, str] = {}

    def prepare(self, tree: Tree, base: Base | None, *, pristine: bool) -> Prepared:
        """Return a root for a command upon *tree*; *pristine* says that the tree is *base*'s.

        It is to be used once, and `changed` to be called afterwards.
        """
        step = self._stack.enter_context(self._area.folder(self._rung.namespace))
        for name in ("upper", "work", "root"):
            (step / name).mkdir(mode=0o755)
        if not self._rung.overlay:
            # The command changes the files themselves: so they are no one else's.
            return self._unpacked(tree, step, step / "lower", {})
        if base is not None:
            kept = self._kept(base)
            if pristine:
                return self._upon(kept, step)
        twins = {
            node: self._on_disk[key]
            for _, node in tree.walk()
            if node.kind is Kind.FILE and (key := _identity(node)) in self._on_disk
        }
        return self._unpacked(tree, step, step / "lower", twins)

    def changed(self, tree: Tree, root: Root) -> None:
        """Remember where the files of *tree* are, after a command has changed it upon *root*."""
        if not self._rung.overlay:
            return
        upper, lower = os.fsencode(f"{root.step}/upper/"), os.fsencode(f"{root.lower}/")
        for path, node in tree.walk():
            if node.kind is Kind.FILE and node.data is not None:
                key = _identity(node)
                if key not in self._on_disk:
                    place = upper + path
                    self._on_disk[key] = place if os.path.lexists(place) else lower + path

    def _kept(self, base: Base) -> str:
        """Return where the base is unpacked, which is done now if it was never done."""
        if base.name in self._bases:
            return self._bases[base.name]
        target = self._area.kept(f"{base.name}-{self._rung.manner}")
        if not target.is_dir():
            with self._area.folder(self._rung.namespace) as draft:
                prepared = self._unpacked(base.tree, draft, draft / "lower", {})
                job = Job(self._rung.namespace_for(0, 0), unpack=prepared.unpack)
                outcome = perform(lambda _: job, files=prepared.files)
                outcome.check_room()
                if outcome.failed:
                    raise SandboxError(f"the image could not be unpacked: {outcome.failed}")
                self._area.keep(draft / "lower", target)
        os.utime(target, ns=(time.time_ns(), target.stat().st_mtime_ns))  # for prune
        root = os.fsencode(f"{target}/")
        for path, node in base.tree.walk():
            if node.kind is Kind.FILE and node.data is not None:
                self._on_disk.setdefault(_identity(node), root + path)
        self._bases[base.name] = str(target)
        return str(target)

    def _upon(self, lower: str, step: Path) -> Prepared:
        (step / "lower").symlink_to(lower)
        return Prepared(self._root(lower, step), (), ())

    def _unpacked(self, tree: Tree, step: Path, target: Path, twins: dict[Node, bytes]) -> Prepared:
        packed, files = records.records_of(tree, twins)
        descriptors = tuple(file.fileno() for file in files)
        ids = self._rung.ids
        order = Unpack(
            str(target), records.pack(packed), descriptors, ids.uids, ids.gids, self._rung.devices
        )
        return Prepared(self._root(str(target), step), (order,), descriptors)

    def _root(self, lower: str, step: Path) -> Root:
        in_userns = self._rung.namespace_for(0, 0) is not None
        return Root(lower, str(step), self._rung.overlay, user_xattrs=in_userns)


def _identity(node: Node) -> Hashable:
    """Return what two names of files must have in common to be one inode on disk."""
    data = node.data
    place = (id(data.file), data.offset, data.size) if data is not None else None
    xattrs = tuple(sorted(node.xattrs.items())) if node.xattrs else ()
    return place, node.mode, node.uid, node.gid, node.mtime, xattrs
