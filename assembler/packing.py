"""The last steps of every build: tree and config in, a `.gvmi` under its name out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assembler import gvmi
from assembler.output import STDOUT, atomic
from assembler.squashfs import write_squashfs

if TYPE_CHECKING:
    from pathlib import Path

    from assembler.progress import Progress
    from assembler.squashfs import SquashfsOptions
    from layers.tree import Tree


@dataclass(frozen=True, slots=True)
class Packed:
    """A finished file. Sizes in bytes; *hash* is the SHA3-224 that SDKs name images by.

    What is no `.gvmi` has no hash; what went to the store alone has no path. *kind* is a type of
    `destination.SUFFIXES`.
    """

    path: Path | None
    size: int
    squashfs_size: int | None = None
    hash: str | None = None
    kind: str = "gvmi"

    @property
    def shown(self) -> str | None:
        """Its path for people and reports; `-` for standard output."""
        if self.path is None:
            return None
        return "-" if self.path == STDOUT else str(self.path)


def pack(
    tree: Tree,
    trailer: bytes | None,
    target: Path,
    options: SquashfsOptions,
    epoch: int,
    progress: Progress,
) -> Packed:
    """Write *tree* as a squashfs with *trailer* after it; nothing stays behind on failure."""
    with atomic(target) as part:
        with progress.step("squashfs"):
            write_squashfs(tree, part, options, epoch, progress.squashed, progress.warn)
        if trailer is None:
            size = os.fstat(part.fileno()).st_size
            return Packed(target, size, size, kind="squashfs")
        squashfs_size = _append(part.fileno(), trailer)
        with progress.step("hash"):
            digest = gvmi.image_hash(part.proc_path)
    return Packed(target, squashfs_size + len(trailer), squashfs_size, digest)


def _append(descriptor: int, trailer: bytes) -> int:
    """Pad the squashfs, add the trailer, and return where it begins."""
    end = os.fstat(descriptor).st_size
    size = end + gvmi.padding(end)
    data = bytes(size - end) + trailer
    while data:
        written = os.pwrite(descriptor, data, end)
        data, end = data[written:], end + written
    return size
