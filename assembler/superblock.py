"""The squashfs 4.0 superblock, read and checked.

Layout after the Linux kernel's `fs/squashfs/squashfs_fs.h`; all numbers are little endian.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Self

_FORMAT = struct.Struct("<5I6H8Q")
SIZE = _FORMAT.size
MAGIC = 0x73717368
_COMPRESSIONS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
ABSENT = 0xFFFFFFFFFFFFFFFF
"""Where a table's offset would be, if there is no such table."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What this project needs of a superblock; offsets and sizes in bytes."""

    inodes: int
    mkfs_time: int
    block_size: int
    compression: str
    version: tuple[int, int]
    root_inode: int
    bytes_used: int
    id_count: int
    id_table: int
    xattr_table: int
    inode_table: int

    @classmethod
    def parse(cls, raw: bytes, available: int) -> Self:
        """Read a superblock of a file that has *available* bytes for the file system.

        Raises `ValueError` whose text says what is wrong with the squashfs.
        """
        if len(raw) < SIZE:
            raise ValueError("it is too short to hold a squashfs")
        fields = _FORMAT.unpack(raw[:SIZE])
        magic, inodes, mkfs_time, block_size, _, compression, block_log = fields[:7]
        version, root_inode, bytes_used = (fields[9], fields[10]), fields[11], fields[12]
        tables = fields[13:19]
        if magic != MAGIC:
            raise ValueError("it does not begin with a squashfs superblock")
        if version != (4, 0):
            raise ValueError(f"squashfs version {version[0]}.{version[1]} is not 4.0")
        if not 4096 <= block_size <= 1 << 20 or block_size != 1 << block_log:
            raise ValueError(f"a block size of {block_size} is not possible")
        if compression not in _COMPRESSIONS:
            raise ValueError(f"compression number {compression} is unknown")
        if bytes_used > available:
            raise ValueError(f"the squashfs needs {bytes_used} bytes, but there are {available}")
        if any(table > bytes_used for table in tables if table != ABSENT):
            raise ValueError("a table of the squashfs lies behind its end")
        return cls(
            inodes, mkfs_time, block_size, _COMPRESSIONS[compression], version, root_inode,
            bytes_used, fields[8], tables[0], tables[1], tables[2],
        )  # fmt: skip


def read_superblock(descriptor: int, available: int) -> Superblock:
    """Read the superblock of an open file; see `Superblock.parse`."""
    return Superblock.parse(os.pread(descriptor, SIZE, 0), available)
