"""What a command changed, as a layer's tar. Runs in the child, once the command's processes ended.

Inside the namespaces of the command: there, owners and capabilities mean what it meant by them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from assembler.sandbox.changes import without_mount_points
from assembler.sandbox.original import LowerDirectory, Unpacked
from assembler.sandbox.plain import changes_in_place
from assembler.sandbox.tarpipe import OpenFile, TarPipe
from assembler.sandbox.upper import changes_in_upper
from assembler.sandbox.walking import Walk
from layers import tarwriter
from layers.kinds import Kind

if TYPE_CHECKING:
    from assembler.sandbox.changes import Change
    from assembler.sandbox.manner import Manner


OWN_FOLDERS = frozenset({b"dev", b"proc", b"sys"})
"""Where every command has mounts of the sandbox's own: nobody sees what is below them."""


class Harvested(NamedTuple):
    """A layer, written."""

    entries: int
    """Whiteouts and marks included; 0 is the empty layer."""
    size: int
    """Bytes of the tar."""
    skipped: list[tuple[bytes, str]]
    """Paths that no layer can hold, and why."""
    left: list[bytes]
    """Paths on disk that are not as the layer has them: mount points left empty, what it skips."""


def harvest(
    upper: bytes | str, original: LowerDirectory | Unpacked, out: int, manner: Manner
) -> Harvested:
    """Write what differs below *upper* from *original* to the descriptor *out*, a pipe or a file.

    *upper* is an overlay's upper directory if *original* is its lower one, else the tree that was
    unpacked. Times of directories in which the sandbox made mount points are its own to restore,
    before the command. The working directory is another one meanwhile.
    """
    pipe = TarPipe(out)
    with Walk(upper) as walk:
        if isinstance(original, LowerDirectory):
            found = changes_in_upper(walk, original, manner)
        else:
            found = changes_in_place(walk, original, manner)
        changes = without_mount_points(found, manner.made)
        kept = {change.path for change in changes}
        left = [path for path in sorted(manner.made - OWN_FOLDERS) if path not in kept]
        for change in changes:
            _append(pipe, walk, change)
        pipe.finish()
        left += [path for path, _ in walk.skipped]
        return Harvested(len(changes), pipe.size, walk.skipped, left)


def _append(pipe: TarPipe, walk: Walk, change: Change) -> None:
    path, node, status = change.path, change.node, change.status
    if change.link is not None:
        pipe.append(tarwriter.link_header(path, change.link, node))
    elif node.kind is Kind.FILE and status is not None and status.st_size:
        descriptor = walk.open(path, status)
        try:
            file = OpenFile(descriptor, status.st_size)
            pipe.append_file(path, node, file, status.st_blocks * 512)
        finally:
            os.close(descriptor)
    else:
        # The root, too, has a name in a tar.
        pipe.append(tarwriter.header(path or b".", node))
