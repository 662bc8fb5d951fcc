"""The root directory's owner and times, set in a squashfs that mksquashfs has just written.

mksquashfs ignores a tar's entry for the root: its inode gets the caller's uid and gid, and the time
of the run (4.5 takes `-root-uid` and `-root-time`, but does not use them then). So that everybody
gets the same bytes, the inode is mended in place and the table of ids, which the caller's ids were
added to, is written anew. Layout after the Linux kernel's `fs/squashfs/squashfs_fs.h`; the inode
table and the id table must not be compressed (`-noI`). Everything is little endian.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from assembler.gvmi import padding
from assembler.superblock import ABSENT, Superblock, read_superblock

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from layers.tree import Node

_METADATA = 8192
_UNCOMPRESSED = 0x8000
_IDS_PER_BLOCK = _METADATA // 4
# Offsets in the superblock of what changes, and in an inode of what follows its mode.
_SB_MKFS_TIME, _SB_ID_COUNT, _SB_BYTES_USED = 8, 26, 40
_INODE_OWNER = 4


def settle(descriptor: int, root: Node, ids: AbstractSet[int], epoch: int) -> None:
    """Give the root directory its owner, and it and the file system the time *epoch*.

    *ids* are all uids and gids in the tree below the root. Raises `ValueError` where the squashfs
    is not as mksquashfs writes it.
    """
    superblock = read_superblock(descriptor, os.fstat(descriptor).st_size)
    table = _read_ids(descriptor, superblock)
    # mksquashfs enters ids as it meets them, the root's last: what the tree needs comes first.
    kept = table[: len(ids)]
    if set(kept) != set(ids):
        raise ValueError("its table of ids is not what the tree needs")
    kept += [owner for owner in dict.fromkeys((root.uid, root.gid)) if owner not in ids]
    owner = struct.pack("<HHI", kept.index(root.uid), kept.index(root.gid), epoch)
    _write_root(descriptor, superblock, owner)
    os.pwrite(descriptor, struct.pack("<I", epoch), _SB_MKFS_TIME)
    _replace_ids(descriptor, superblock, kept)


def _write_root(descriptor: int, superblock: Superblock, owner: bytes) -> None:
    """Write uid index, gid index and time into the root's inode, which may lie in two blocks."""
    position = superblock.inode_table + (superblock.root_inode >> 16)
    offset = (superblock.root_inode & 0xFFFF) + _INODE_OWNER
    size = _block_size(descriptor, position)
    for byte in owner:
        if offset >= size:
            position, offset = position + 2 + size, offset - size
            size = _block_size(descriptor, position)
        os.pwrite(descriptor, bytes((byte,)), position + 2 + offset)
        offset += 1


def _block_size(descriptor: int, position: int) -> int:
    """Return the length of the uncompressed metadata block whose header is at *position*."""
    (head,) = struct.unpack("<H", _read(descriptor, position, 2))
    size: int = head & ~_UNCOMPRESSED
    if not head & _UNCOMPRESSED or not 0 < size <= _METADATA:
        raise ValueError("its inode or id table is compressed or damaged")
    return size


def _read_ids(descriptor: int, superblock: Superblock) -> list[int]:
    raw = b""
    for start in _id_blocks(descriptor, superblock):
        raw += _read(descriptor, start + 2, _block_size(descriptor, start))
    return list(struct.unpack(f"<{superblock.id_count}I", raw[: 4 * superblock.id_count]))


def _id_blocks(descriptor: int, superblock: Superblock) -> tuple[int, ...]:
    """Return where the blocks of the id table begin; their index is what the superblock names."""
    count = -(-superblock.id_count // _IDS_PER_BLOCK)
    return struct.unpack(f"<{count}Q", _read(descriptor, superblock.id_table, 8 * count))


def _replace_ids(descriptor: int, superblock: Superblock, ids: list[int]) -> None:
    """Write the id table anew, and behind it the table of xattrs, the only one that follows."""
    begin = _id_blocks(descriptor, superblock)[0]
    old_end = superblock.id_table + 8 * -(-superblock.id_count // _IDS_PER_BLOCK)
    table, index_at = _encode_ids(ids, begin)
    shift = begin + len(table) - old_end
    xattrs = _read(descriptor, old_end, superblock.bytes_used - old_end)
    if superblock.xattr_table != ABSENT:
        xattrs = _shift_xattrs(xattrs, superblock.xattr_table - old_end, shift)
    end = superblock.bytes_used + shift
    xattr_table = superblock.xattr_table
    if xattr_table != ABSENT:
        xattr_table += shift
    os.pwrite(descriptor, table + xattrs + bytes(padding(end)), begin)
    os.ftruncate(descriptor, end + padding(end))
    os.pwrite(descriptor, struct.pack("<H", len(ids)), _SB_ID_COUNT)
    os.pwrite(descriptor, struct.pack("<QQQ", end, index_at, xattr_table), _SB_BYTES_USED)


def _encode_ids(ids: list[int], begin: int) -> tuple[bytes, int]:
    """Return the table for offset *begin*, and where its index will be."""
    blocks: list[bytes] = []
    starts: list[int] = []
    position = begin
    for first in range(0, len(ids), _IDS_PER_BLOCK):
        chunk = ids[first : first + _IDS_PER_BLOCK]
        block = struct.pack(f"<H{len(chunk)}I", 4 * len(chunk) | _UNCOMPRESSED, *chunk)
        starts.append(position)
        blocks.append(block)
        position += len(block)
    return b"".join(blocks) + struct.pack(f"<{len(starts)}Q", *starts), position


def _shift_xattrs(tables: bytes, header: int, shift: int) -> bytes:
    """Return the xattr tables with their absolute offsets moved; *header* is where theirs stands.

    The header: offset of the key-value blocks, number of ids, unused; then the id blocks' offsets.
    """
    start, count, unused = struct.unpack_from("<QII", tables, header)
    blocks = -(-count * 16 // _METADATA)
    index = struct.unpack_from(f"<{blocks}Q", tables, header + 16)
    moved = struct.pack(
        f"<QII{blocks}Q", start + shift, count, unused, *(at + shift for at in index)
    )
    return tables[:header] + moved + tables[header + len(moved) :]


def _read(descriptor: int, position: int, length: int) -> bytes:
    data = os.pread(descriptor, length, position)
    if len(data) < length:
        raise ValueError("one of its tables is cut off")
    return data
