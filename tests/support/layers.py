"""Builders of layer tars, from plain data: `layer(file("a", b"x"), whiteout("b"))`."""

from __future__ import annotations

import gzip
import os
import tarfile
from dataclasses import dataclass, field, replace

import zstandard

PAX = tarfile.PAX_FORMAT
GNU = tarfile.GNU_FORMAT
USTAR = tarfile.USTAR_FORMAT

BLOCK = 512
END = bytes(2 * BLOCK)
MTIME = 1_700_000_000

Name = str | bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a layer. *device* is (major, minor); *pax* are further PAX records."""

    name: Name
    kind: bytes
    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = MTIME
    target: Name = ""
    device: tuple[int, int] = (0, 0)
    xattrs: dict[str, bytes] = field(default_factory=dict)
    pax: dict[str, str] = field(default_factory=dict)

    def at(self, **changes) -> Item:
        """The same entry with some fields changed: `file("a").at(uid=7, mtime=0)`."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes put into the tar as they are; what has no whole blocks is not padded."""

    data: bytes


def file(name: Name, data: bytes = b"", mode: int = 0o644, **fields) -> Item:
    return Item(name, tarfile.REGTYPE, data, mode, **fields)


def directory(name: Name, mode: int = 0o755, **fields) -> Item:
    return Item(name, tarfile.DIRTYPE, mode=mode, **fields)


def symlink(name: Name, target: Name, **fields) -> Item:
    return Item(name, tarfile.SYMTYPE, **{"mode": 0o777, "target": target, **fields})


def hardlink(name: Name, target: Name, **fields) -> Item:
    return Item(name, tarfile.LNKTYPE, **{"target": target, **fields})


def char(name: Name, major: int, minor: int, mode: int = 0o600, **fields) -> Item:
    return Item(name, tarfile.CHRTYPE, mode=mode, device=(major, minor), **fields)


def block(name: Name, major: int, minor: int, mode: int = 0o600, **fields) -> Item:
    return Item(name, tarfile.BLKTYPE, mode=mode, device=(major, minor), **fields)


def fifo(name: Name, mode: int = 0o644, **fields) -> Item:
    return Item(name, tarfile.FIFOTYPE, mode=mode, **fields)


def whiteout(name: Name, **fields) -> Item:
    """Hides *name* of the lower layers (layer.md, "Whiteouts")."""
    parent, _, last = _text(name).rstrip("/").rpartition("/")
    return file(f"{parent}/.wh.{last}" if parent else f".wh.{last}", **fields)


def opaque(name: Name = "", **fields) -> Item:
    """Hides what lower layers hold below *name* (layer.md, "Opaque Whiteout")."""
    parent = _text(name).rstrip("/")
    return file(f"{parent}/.wh..wh..opq" if parent else ".wh..wh..opq", **fields)


def raw(data: bytes) -> Raw:
    return Raw(data)


def layer(*items: Item | Raw, fmt: int = PAX, end: bytes = END) -> bytes:
    """A layer's tar; *fmt* is PAX, GNU or USTAR, *end* what follows the last entry."""
    return b"".join(entry(item, fmt) for item in items) + end


def entry(item: Item | Raw, fmt: int = PAX) -> bytes:
    """The blocks of one entry: header(s), then its data padded to whole blocks."""
    if isinstance(item, Raw):
        return item.data
    info = tarfile.TarInfo(_text(item.name))
    info.type = item.kind
    info.size = len(item.data)
    info.mode, info.uid, info.gid, info.mtime = item.mode, item.uid, item.gid, item.mtime
    info.linkname = _text(item.target)
    info.devmajor, info.devminor = item.device
    info.pax_headers = dict(item.pax)
    for key, value in item.xattrs.items():
        info.pax_headers[f"SCHILY.xattr.{key}"] = value.decode("utf-8", "surrogateescape")
    if info.pax_headers and fmt != PAX:
        raise ValueError(f"{info.name}: only the PAX format can hold {sorted(info.pax_headers)}")
    return info.tobuf(fmt, "utf-8", "surrogateescape") + padded(item.data)


def padded(data: bytes) -> bytes:
    """*data* with zeros up to the next whole block."""
    return data + bytes(-len(data) % BLOCK)


def raw_header(
    name: bytes = b"",
    *,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    size: int | bytes = 0,
    mtime: int | bytes = MTIME,
    kind: bytes = b"0",
    target: bytes = b"",
    magic: bytes = b"ustar\x0000",
    owner: bytes = b"",
    group: bytes = b"",
    major: int | bytes = 0,
    minor: int | bytes = 0,
    prefix: bytes = b"",
    checksum: int | bytes | None = None,
) -> bytes:
    """Any 512-byte header: numbers are written in octal, bytes as they are.

    *checksum* None is the right one; the GNU magic is `b"ustar  \\0"`, that of v7 eight zeros.
    """
    head = (
        _fixed(name, 100)
        + _number(mode, 8)
        + _number(uid, 8)
        + _number(gid, 8)
        + _number(size, 12)
        + _number(mtime, 12)
    )
    tail = (
        _fixed(kind, 1)
        + _fixed(target, 100)
        + _fixed(magic, 8)
        + _fixed(owner, 32)
        + _fixed(group, 32)
        + _number(major, 8)
        + _number(minor, 8)
        + _fixed(prefix, 155)
        + bytes(12)
    )
    if checksum is None:
        checksum = sum(head) + sum(b" " * 8) + sum(tail)
    stamp = checksum if isinstance(checksum, bytes) else b"%06o\x00 " % checksum
    return head + _fixed(stamp, 8) + tail


def pax_records(records: dict[bytes, bytes]) -> bytes:
    """The body of a PAX header: `LENGTH KEY=VALUE\\n` for each record."""
    return b"".join(_pax_record(key, value) for key, value in records.items())


def pax_header(records: dict[bytes, bytes], kind: bytes = b"x") -> Raw:
    """A PAX header of its own (kind `x` for the next entry, `g` for all that follow)."""
    body = pax_records(records)
    return Raw(raw_header(b"PaxHeader", kind=kind, size=len(body)) + padded(body))


def sparse_files(count: int, size: int) -> bytes:
    """A tar of *count* files, each a hole of *size* bytes and nothing else."""
    hole = pax_header({b"GNU.sparse.size": b"%d" % size, b"GNU.sparse.map": b""})
    return layer(*(item for n in range(count) for item in (hole, raw(raw_header(b"f%d" % n)))))


def gzipped(data: bytes, level: int = 6) -> bytes:
    return gzip.compress(data, level, mtime=0)


def zstd(data: bytes, level: int = 3) -> bytes:
    return zstandard.ZstdCompressor(level=level).compress(data)


def _pax_record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    # The length counts its own digits, so it is searched upwards from the rest alone.
    while length != len(rest) + len(b"%d" % length):
        length += 1
    return b"%d" % length + rest


def _text(name: Name) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else name


def _fixed(value: bytes, width: int) -> bytes:
    if len(value) > width:
        raise ValueError(f"{value!r} is longer than its field of {width} bytes")
    return value.ljust(width, b"\x00")


def _number(value: int | bytes, width: int) -> bytes:
    return _fixed(value if isinstance(value, bytes) else b"%0*o\x00" % (width - 1, value), width)
