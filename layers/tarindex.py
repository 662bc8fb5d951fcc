"""One pass over a plain layer tar: headers in, `Entry` records out; file data are skipped.

This is the hot loop of reading an image: tens of thousands of entries, a few microseconds each.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from layers import tarheader
from layers.errors import MalformedLayer
from layers.kinds import Kind
from layers.limits import Limits
from layers.sparse import (
    MapReader,
    SparseFormat,
    SparseMap,
    hole_bytes,
    pax_0,
    sparse_format,
)
from layers.tarheader import BLOCK, MTIME_MAX, parse_header
from layers.tarnames import NAME_MAX, STARGZ_FILES, clean_path, is_clean, show_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layers.sparse import Segment

_ZEROS = bytes(BLOCK)


class Entry(NamedTuple):
    """One entry of a layer. Offsets count bytes of the plain tar."""

    path: bytes
    """Cleaned: no leading, doubled or trailing slash; empty for the root."""
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime: int
    """Whole seconds since 1970, cut towards the past."""
    size: int
    """Bytes of a regular file, holes included."""
    target: bytes
    """Of a symbolic link, as written; of a hard link, cleaned."""
    device: tuple[int, int]
    xattrs: dict[bytes, bytes] | None
    offset: int
    """Where the file's data begin."""
    start: int
    """Where the entry's headers begin, or -1 if headers, data and padding cannot be copied as they
    are."""
    segments: tuple[Segment, ...] | None
    """Of a sparse file: its runs of data, stored one after another at `offset`."""


class Reader(Protocol):
    """Random access to the plain tar."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to *length* bytes; fewer only at the end."""
        ...


_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_NO_NAMES = bytes(64)
_ROOT_NAMES = b"root".ljust(32, b"\0") * 2
# Mode (with or without the type of a regular file), uid, gid, size and mtime, all in octal.
_PLAIN_NUMBERS = re.compile(
    rb"(?:0[01]0[0-7]{4}|[01]0[0-7]{4} )[ \0](?:[0-7]{6}[0-7 ][ \0]){2}(?:[0-7]{11}[ \0]){2}"
)
_WARNINGS_MAX = 3
_EMPTY_PAX: dict[bytes, bytes] = {}


class _Pending:
    """What extension headers said about the entry that follows them."""

    __slots__ = ("copy_from", "linkname", "name", "pax", "records")

    def __init__(self, pax: dict[bytes, bytes], start: int) -> None:
        # Where the first of them stands, or -1 if one holds what cannot be copied as it is.
        self.copy_from = start
        self.name: bytes | None = None
        self.linkname: bytes | None = None
        self.pax = pax
        self.records: list[tuple[bytes, bytes]] = []


def index_layer(
    reader: Reader,
    layer: str,
    limits: Limits | None = None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Entry]:
    """Yield the entries of a layer in order; *layer* names it in errors.

    *warn* is told, a few times at most, of attributes that cannot be read and are left out. Raises
    `MalformedLayer` for anything a tar must not hold, `LimitExceeded` past *limits*.
    """
    return _Indexer(reader, layer, limits or Limits(), warn).entries()


class _Indexer:
    def __init__(
        self, reader: Reader, layer: str, limits: Limits, warn: Callable[[str], None] | None
    ) -> None:
        self._reader = reader
        self._warn = warn
        self._ignored = 0
        self._plain = reader.size
        self._layer = layer
        self._limits = limits
        self._short_name = min(NAME_MAX, limits.name_bytes)
        self._global_pax: dict[bytes, bytes] = _EMPTY_PAX

    def entries(self) -> Iterator[Entry]:
        read, size = self._reader.read_at, self._reader.size
        pending: _Pending | None = None
        position = 0
        while position < size:
            block = read(position, BLOCK)
            if block == _ZEROS:
                self._check_end(position)
                break
            if len(block) < BLOCK:
                raise self._error(f"the tar is cut off at byte {position}")
            name = block[:100].partition(b"\0")[0]
            try:
                header = parse_header(block)
                if header.typeflag in b"xgLK":
                    pending, position = self._extension(header, position, pending)
                    continue
                entry, position = self._entry(header, block, position, pending)
            except ValueError as error:
                shown = pending.name if pending and pending.name else name
                raise self._error(f"entry {show_name(shown)}: {error}") from None
            pending = None
            if entry is not None:
                yield entry
        if self._warn and self._ignored > _WARNINGS_MAX:
            more = self._ignored - _WARNINGS_MAX
            self._warn(f"layer {self._layer}: {more:,} more extended attributes are ignored")

    def _entry(
        self, header: tarheader.RawHeader, block: bytes, start: int, pending: _Pending | None
    ) -> tuple[Entry | None, int]:
        """Decode the entry at *start*; also return where the next header stands."""
        kind = _KINDS.get(header.typeflag)
        if kind is None:
            raise ValueError(_unknown_type(header.typeflag))
        plain = pending is None and not self._global_pax
        if plain and header.typeflag in b"01235":
            return self._plain_entry(
                header, kind, start if _is_copyable(header, block) else -1, start
            )
        return self._extended_entry(
            header, kind, block, start, pending or _Pending(self._global_pax, -1)
        )

    def _plain_entry(
        self, header: tarheader.RawHeader, kind: Kind, copy_from: int, start: int
    ) -> tuple[Entry | None, int]:
        name, mode, uid, gid, size, mtime, _, linkname, major, minor = header
        offset = start + BLOCK
        if kind is Kind.FILE and (name[-1:] != b"/" or not _is_old_directory(header, size)):
            following = self._after(offset, size)
            if following > self._reader.size:
                copy_from = -1  # `umoci insert` ends a tar with the last file's last byte
            if copy_from >= 0 and len(name) <= self._short_name and size <= self._limits.file_bytes:
                # Nearly every entry of nearly every layer: nothing about it needs a closer look.
                return Entry(
                    name, kind, mode, uid, gid, mtime, size, b"", (0, 0), None, offset, copy_from,
                    None,
                ), following  # fmt: skip
        else:
            if kind is Kind.FILE:
                kind = Kind.DIRECTORY
            # Some writers give links and directories a size without storing data.
            following, size = offset, 0
        return (
            self._make(name, kind, mode, uid, gid, mtime, size, linkname, (major, minor), None,
                       offset, copy_from, None),
            following,
        )  # fmt: skip

    def _extended_entry(
        self,
        header: tarheader.RawHeader,
        kind: Kind,
        block: bytes,
        start: int,
        pending: _Pending,
    ) -> tuple[Entry | None, int]:
        """Decode an entry that extension headers, or an uncommon type, say more about."""
        pax = pending.pax
        stored = tarheader.pax_number(pax[b"size"]) if pax.get(b"size") else header.size
        name = pax.get(b"path") or pending.name or header.name
        linkname = pax.get(b"linkpath") or pending.linkname or header.linkname
        begin = offset = start + BLOCK
        segments, size = None, stored
        if kind is Kind.FILE:
            form = sparse_format(header.typeflag, pax)
            if form:
                name = pax.get(b"GNU.sparse.name", name)
                segments, size, begin, offset = self._sparse(form, block, pending, offset, stored)
            following = self._after(begin, stored)
            if name.endswith(b"/") and _is_old_directory(header, stored):
                kind, following, size, segments = Kind.DIRECTORY, start + BLOCK, 0, None
        else:
            following, size = offset, 0
        is_padded = following <= self._reader.size
        entry = self._make(
            name,
            kind,
            header.mode,
            tarheader.pax_owner(pax[b"uid"]) if pax.get(b"uid") else header.uid,
            tarheader.pax_owner(pax[b"gid"]) if pax.get(b"gid") else header.gid,
            tarheader.pax_seconds(pax[b"mtime"]) if pax.get(b"mtime") else header.mtime,
            size,
            linkname,
            (header.major, header.minor),
            self._xattrs(pax, name),
            offset,
            self._copyable_from(header, block, pending, name) if is_padded else -1,
            segments,
        )
        return entry, following

    def _xattrs(self, pax: dict[bytes, bytes], name: bytes) -> dict[bytes, bytes] | None:
        def ignored(problem: str) -> None:
            self._ignored += 1
            if self._warn and self._ignored <= _WARNINGS_MAX:
                self._warn(f"layer {self._layer}: entry {show_name(name)}: {problem}")

        return tarheader.pax_xattrs(pax, ignored)

    def _copyable_from(
        self, header: tarheader.RawHeader, block: bytes, pending: _Pending, name: bytes
    ) -> int:
        """Return where the entry's headers begin if a long name is all that is special about it."""
        copyable = not self._global_pax and _is_copyable(header, block) and is_clean(name)
        return pending.copy_from if copyable else -1

    def _sparse(
        self, form: SparseFormat, block: bytes, pending: _Pending, offset: int, stored: int
    ) -> SparseMap:
        maps = MapReader(self._read, self._limits, f"layer {self._layer}: a sparse map")
        match form:
            case SparseFormat.OLD_GNU:
                found = maps.old_gnu(block, offset, stored)
            case SparseFormat.PAX_0:
                found = pax_0(pending.pax, pending.records, offset, stored)
            case SparseFormat.PAX_1:
                found = maps.pax_1(pending.pax, offset, stored)
        self._plain += hole_bytes(found.size, found.segments)
        what = f"layer {self._layer}: its plain size, holes included,"
        self._limits.check("total_bytes", self._plain, what)
        return found

    def _make(
        self,
        name: bytes,
        kind: Kind,
        mode: int,
        uid: int,
        gid: int,
        mtime: int,
        size: int,
        linkname: bytes,
        device: tuple[int, int],
        xattrs: dict[bytes, bytes] | None,
        offset: int,
        start: int,
        segments: tuple[Segment, ...] | None,
    ) -> Entry | None:
        path = clean_path(name)
        if path in STARGZ_FILES:
            return None
        if len(path) > self._limits.name_bytes:
            self._limits.check("name_bytes", len(path), f"layer {self._layer}: a path")
        if not path and kind is not Kind.DIRECTORY:
            raise ValueError("the image's root must be a directory")
        if kind is Kind.HARDLINK:
            linkname = clean_path(linkname)
        elif kind is Kind.SYMLINK:
            if not linkname or b"\0" in linkname:
                raise ValueError("it is a symbolic link to an empty name or one with a NUL")
            self._limits.check("name_bytes", len(linkname), f"layer {self._layer}: a link's target")
        elif kind is Kind.FILE and size > self._limits.file_bytes:
            what = f"layer {self._layer}: entry {show_name(path)} of {size:,} bytes"
            self._limits.check("file_bytes", size, what)
        return Entry(
            path,
            kind,
            mode,
            uid,
            gid,
            mtime,
            size,
            linkname,
            device,
            xattrs,
            offset,
            start,
            segments,
        )

    def _extension(
        self, header: tarheader.RawHeader, start: int, pending: _Pending | None
    ) -> tuple[_Pending | None, int]:
        """Read a PAX block or GNU long name; return what is pending and the next position."""
        what = f"layer {self._layer}: an extension header of {header.size:,} bytes"
        self._limits.check("header_bytes", header.size, what)
        data = self._read(start + BLOCK, header.size)
        following = self._after(start + BLOCK, header.size)
        if header.typeflag == b"g":
            merged = self._global_pax | tarheader.parse_pax(data)
            self._global_pax = {key: value for key, value in merged.items() if value}
            return pending, following
        if pending is None:
            pending = _Pending(self._global_pax, start)
        else:
            # Readers differ on which of several extension headers wins.
            pending.copy_from = -1
        if header.typeflag == b"x":
            pending.records = tarheader.pax_records(data)
            pending.pax = self._global_pax | dict(pending.records)
            if not _is_one_path(pending.records, data):
                pending.copy_from = -1
        elif header.typeflag == b"L":
            pending.name = data.partition(b"\0")[0]
            if not pending.name:
                pending.copy_from = -1
        else:
            pending.linkname = data.partition(b"\0")[0]
            pending.copy_from = -1
        return pending, following

    def _read(self, offset: int, length: int) -> bytes:
        data = self._reader.read_at(offset, length)
        if len(data) < length:
            raise self._error(f"the tar is cut off at byte {self._reader.size}")
        return data

    def _after(self, offset: int, size: int) -> int:
        """Return where the block after *size* bytes of data begins."""
        if offset + size > self._reader.size:
            raise self._error(f"the tar is cut off at byte {self._reader.size}")
        return offset + size + -size % BLOCK

    def _check_end(self, position: int) -> None:
        """Two blocks of zeros end a tar, whatever follows; one does where nothing follows."""
        following = self._reader.read_at(position + BLOCK, BLOCK)
        if following.strip(b"\0"):
            raise self._error(f"data follow a lone block of zeros, at byte {position}")

    def _error(self, problem: str) -> MalformedLayer:
        return MalformedLayer(self._layer, problem)


def _is_old_directory(header: tarheader.RawHeader, size: int) -> bool:
    """Whether a regular file whose name ends with a slash is a directory, as before POSIX.

    Where one of the later types has data, it is a file to umoci and buildah.
    """
    return header.typeflag == b"\0" or size == 0


def _is_copyable(header: tarheader.RawHeader, block: bytes) -> bool:
    """Whether mksquashfs will take this file's header block as we did.

    Not so for names that need cleaning, times outside squashfs's range, old or odd blocks, and
    owners' names, which it looks up in this machine's passwd and group and prefers to numbers.
    """
    names = block[265:329]
    return (
        header.typeflag == b"0"
        and block[257:262] == b"ustar"
        and (block[262:265] == b"\x0000" or block[345] == 0)
        and (names == _NO_NAMES or (names == _ROOT_NAMES and header.uid == header.gid == 0))
        and _PLAIN_NUMBERS.match(block, 100) is not None
        and 0 <= header.mtime <= MTIME_MAX
        and is_clean(header.name)
    )


def _is_one_path(records: list[tuple[bytes, bytes]], data: bytes) -> bool:
    """Whether a PAX block says nothing but a name, in a form that no reader takes otherwise."""
    return (
        len(records) == 1
        and records[0][0] == b"path"
        and data.endswith(b"\n")
        and (len(records[0][1]) > 0)
    )


def _unknown_type(typeflag: bytes) -> str:
    named = {
        b"s": " (socket)",
        b"D": " (GNU directory dump)",
        b"M": " (multi-volume)",
        b"V": " (volume)",
    }
    return f"its type {typeflag!r}{named.get(typeflag, '')} is none that an image can hold"
