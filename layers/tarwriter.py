"""Tar headers, encoded: ustar where it suffices, GNU long links, PAX for the rest.

Written for readers such as mksquashfs 4.5, whose PAX reader fails on times with a fraction or a
minus sign, and strips every leading `/`, `./` and `../` from a `linkpath`. So times are whole
seconds, clamped to what squashfs holds (unsigned 32 bits), and long link targets go into a GNU `K`
entry, which every reader takes as it is.
"""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from layers.kinds import Kind
from layers.tarheader import BLOCK, MTIME_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layers.tree import Node

END = bytes(2 * BLOCK)

_TYPEFLAGS = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHAR: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777


def clamp_mtime(mtime: int) -> int:
    """Return the nearest time that squashfs can hold."""
    return min(max(mtime, 0), MTIME_MAX)


def header(path: bytes, node: Node) -> bytes:
    """Return all header blocks for *node* under the name *path*."""
    name = path + b"/" if node.kind is Kind.DIRECTORY else path
    size = node.data.size if node.data else 0
    return _header(name, node, _TYPEFLAGS[node.kind], node.target, size)


def link_header(path: bytes, target: bytes, node: Node) -> bytes:
    """Return the header blocks for one more name of a node that went before as *target*."""
    return _header(path, node, _TYPEFLAGS[Kind.HARDLINK], target, 0)


def sparse_header(path: bytes, node: Node) -> bytes:
    """Return all header blocks, and the map, of a file whose data have segments.

    GNU tar's PAX format 1.0: the segments' bytes follow, one after another, padded to whole blocks.
    """
    data = node.data
    if data is None or data.segments is None:
        raise ValueError(f"{path!r} has no segments")
    runs = [*data.segments, (data.size, 0)]  # the last one tells GNU tar where the file ends
    numbers = [len(runs)] + [number for run in runs for number in run]
    table = b"".join(b"%d\n" % number for number in numbers)
    table += bytes(-len(table) % BLOCK)
    size = len(table) + sum(length for _, length in runs)
    records = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", path),
        (b"GNU.sparse.realsize", b"%d" % data.size),
    ]
    # Readers that do not know the format unpack map and segments under this name.
    name = b"GNUSparseFile.0/" + path.rpartition(b"/")[2][:80]
    return _header(name, node, _TYPEFLAGS[Kind.FILE], b"", size, records) + table


def _header(
    name: bytes,
    node: Node,
    typeflag: bytes,
    linkname: bytes,
    size: int,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    records = list(more)
    uid, gid = node.uid, node.gid
    if len(name) > 100:
        records.append((b"path", name))
    if size > _OCTAL_11:
        records.append((b"size", b"%d" % size))
    if uid > _OCTAL_7:
        records.append((b"uid", b"%d" % uid))
        uid = 0
    if gid > _OCTAL_7:
        records.append((b"gid", b"%d" % gid))
        gid = 0
    if typeflag != b"1" and node.xattrs:
        records += [_attribute(*item) for item in sorted(node.xattrs.items())]
    block = _block(
        name, node.mode, uid, gid, size if size <= _OCTAL_11 else 0, clamp_mtime(node.mtime),
        typeflag, linkname, node.device,
    )  # fmt: skip
    extensions = pax(records) if records else b""
    return _long_link(linkname) + extensions + block if len(linkname) > 100 else extensions + block


def _attribute(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return the record of an extended attribute.

    A record's key ends at its first `=`; libarchive's form escapes that in names.
    """
    if b"=" in name:
        return b"LIBARCHIVE.xattr." + quote_from_bytes(name).encode(), base64.b64encode(value)
    return b"SCHILY.xattr." + name, value


def _long_link(target: bytes) -> bytes:
    """Return the GNU entry that carries a link target of more than 100 bytes."""
    data = target + b"\0"
    block = _block(b"././@LongLink", 0o644, 0, 0, len(data), 0, b"K", b"", (0, 0))
    return block + data + bytes(-len(data) % BLOCK)


def pax(records: list[tuple[bytes, bytes]]) -> bytes:
    """Return a PAX extension header with its data, padded to whole blocks."""
    body = b"".join(_record(key, value) for key, value in records)
    block = _block(b"././@PaxHeader", 0o644, 0, 0, len(body), 0, b"x", b"", (0, 0))
    return block + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    r"""Return `length key=value\\n`, where the length counts its own digits."""
    bare = len(key) + len(value) + 3
    length = bare + len(str(bare))
    length = bare + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    typeflag: bytes,
    linkname: bytes,
    device: tuple[int, int],
) -> bytes:
    front = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name[:100].ljust(100, b"\0"), mode, uid, gid, size, mtime,
    )  # fmt: skip
    back = b"%s%s%s%s%07o\0%07o\0" % (
        typeflag,
        linkname[:100].ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        *device,
    )
    total = _byte_sum(front) + _byte_sum(back) + 8 * 32
    return (front + b"%06o\0 " % total + back).ljust(BLOCK, b"\0")


def _byte_sum(data: bytes) -> int:
    """Return the sum of at most 512 bytes.

    Adler-32's low half is that sum plus one, modulo 65521, which 256 bytes cannot reach.
    """
    return (zlib.adler32(data[:256]) & 0xFFFF) + (zlib.adler32(data[256:]) & 0xFFFF) - 2
