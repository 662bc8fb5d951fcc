"""What an entry of a layer, or a node of a tree, is."""

from __future__ import annotations

import enum
import stat


class Kind(enum.Enum):
    """What an entry or node is; the values are `ls`'s letters."""

    FILE = "-"
    DIRECTORY = "d"
    SYMLINK = "l"
    HARDLINK = "h"
    CHAR = "c"
    BLOCK = "b"
    FIFO = "p"


FORMATS = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHAR: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}
"""What `st_mode` says of each kind. A hard link is no kind of inode, so it has none."""
OF_FORMAT = {value: kind for kind, value in FORMATS.items()}
"""The kind of an inode, by `stat.S_IFMT(st_mode)`; there is none for sockets."""
