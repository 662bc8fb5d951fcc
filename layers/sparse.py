"""The maps of sparse files: which parts of a file a tar holds, in the four forms there are.

Old GNU headers and PAX formats 0.0, 0.1 and 1.0, as the GNU tar manual's "Storing Sparse Files" has
them. Every problem is a `ValueError` whose text completes the sentence "entry ...: ".
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from layers.tarheader import BLOCK, number, pax_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from layers.limits import Limits

_SEGMENTS_MAX = 1_000_000
_FIRST_READ = 4096


class Segment(NamedTuple):
    """A run of a sparse file's data: where it stands in the file, its length in bytes."""

    offset: int
    length: int


class SparseFormat(enum.Enum):
    """How an entry says where its holes are."""

    OLD_GNU = "old GNU"
    PAX_0 = "0.0 or 0.1"
    PAX_1 = "1.0"


class SparseMap(NamedTuple):
    """What a map says. Offsets count bytes of the tar."""

    segments: tuple[Segment, ...]
    size: int
    """Bytes of the file, holes included."""
    start: int
    """Where that begins whose length the header tells: in format 1.0 the map is part of it."""
    offset: int
    """Where the data begin."""


def sparse_format(typeflag: bytes, pax: Mapping[bytes, bytes]) -> SparseFormat | None:
    """Return the form of an entry's map, `None` for a file without one."""
    if typeflag == b"S":
        return SparseFormat.OLD_GNU
    if pax.get(b"GNU.sparse.major") == b"1":
        return SparseFormat.PAX_1
    if b"GNU.sparse.size" in pax:
        return SparseFormat.PAX_0
    return None


class MapReader:
    """Reads maps out of a tar; *read* takes an offset and a length and returns all of that.

    *limits* bound the bytes of a map that is not in the header itself; *what* names it in errors.
    """

    def __init__(self, read: Callable[[int, int], bytes], limits: Limits, what: str) -> None:
        self._read = read
        self._limits = limits
        self._what = what

    def old_gnu(self, block: bytes, offset: int, stored: int) -> SparseMap:
        """Read the map in a header *block*, and in the blocks from *offset* on that continue it."""
        segments, size, more = gnu_map(block)
        start = offset
        while more:
            found, more = gnu_extension(self._read(start, BLOCK))
            segments += found
            start += BLOCK
            self._limits.check("header_bytes", start - offset, self._what)
        return _checked(segments, size, stored, start, start)

    def pax_1(self, pax: Mapping[bytes, bytes], offset: int, stored: int) -> SparseMap:
        """Read the map before a file's data, both of *stored* bytes from *offset* on."""
        segments, used = self._lines(offset, stored)
        self._limits.check("header_bytes", used, self._what)
        return _checked(segments, _real_size(pax), stored - used, offset, offset + used)

    def _lines(self, offset: int, stored: int) -> tuple[list[Segment], int]:
        most = min(stored, self._limits.header_bytes)
        length = min(stored, _FIRST_READ)
        while True:
            found = pax_lines(self._read(offset, length))
            if found:
                return found
            if length >= most:
                raise ValueError("its sparse map is incomplete")
            length = min(length * 8, most)


def pax_0(
    pax: Mapping[bytes, bytes], records: Sequence[tuple[bytes, bytes]], offset: int, stored: int
) -> SparseMap:
    """Read a map that stands in PAX records; *records* may name a key more than once."""
    return _checked(pax_map(records), _real_size(pax), stored, offset, offset)


def gnu_map(block: bytes) -> tuple[list[Segment], int, bool]:
    """Decode an old GNU header: its segments, the real size, whether more blocks follow."""
    return _segments(block, 386, 4), number(block[483:495]), block[482] != 0


def gnu_extension(block: bytes) -> tuple[list[Segment], bool]:
    """Decode one extension block: its segments, and whether another follows."""
    return _segments(block, 0, 21), block[504] != 0


def pax_map(records: Sequence[tuple[bytes, bytes]]) -> list[Segment]:
    """Decode the map of PAX formats 0.0 (repeated records) and 0.1 (one record)."""
    flat: list[int] = []
    for key, value in records:
        if key == b"GNU.sparse.map":
            flat = [pax_number(item) for item in value.split(b",")] if value else []
        elif key in {b"GNU.sparse.offset", b"GNU.sparse.numbytes"}:
            flat.append(pax_number(value))
    if len(flat) % 2:
        raise ValueError("its sparse map is incomplete")
    return [Segment(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)]


def pax_lines(data: bytes) -> tuple[list[Segment], int] | None:
    """Decode a 1.0 map at the head of a file's data; `None` when *data* ends inside it.

    Returns the segments and the map's own length, padded to whole blocks.
    """
    lines = data.split(b"\n", 1)
    if len(lines) < 2:
        return None
    count = pax_number(lines[0])
    if count > _SEGMENTS_MAX:
        raise ValueError(f"its sparse map has {count} segments, more than {_SEGMENTS_MAX}")
    parts = lines[1].split(b"\n", 2 * count)
    if len(parts) <= 2 * count:
        return None
    values = [pax_number(item) for item in parts[: 2 * count]]
    used = len(data) - len(parts[2 * count])
    segments = [Segment(*pair) for pair in zip(values[::2], values[1::2], strict=True)]
    return segments, used + -used % BLOCK


def hole_bytes(size: int, segments: Iterable[Segment]) -> int:
    """Return how many bytes of a file of *size* no segment holds."""
    return size - sum(length for _, length in segments)


def check_segments(segments: Sequence[Segment], size: int, stored: int) -> None:
    """Raise unless they are in order, inside a file of *size*, and no longer than is *stored*."""
    position = total = 0
    for offset, length in segments:
        if offset < position:
            raise ValueError("its sparse map is out of order")
        position = offset + length
        total += length
    if position > size or total > stored:
        raise ValueError("its sparse map does not fit its size")


def _checked(
    segments: Sequence[Segment], size: int, stored: int, start: int, offset: int
) -> SparseMap:
    check_segments(segments, size, stored)
    return SparseMap(tuple(s for s in segments if s.length), size, start, offset)


def _real_size(pax: Mapping[bytes, bytes]) -> int:
    return pax_number(pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b"")


def _segments(block: bytes, start: int, count: int) -> list[Segment]:
    found = []
    for position in range(start, start + 24 * count, 24):
        if block[position] == 0:
            break
        offset, length = block[position : position + 12], block[position + 12 : position + 24]
        found.append(Segment(number(offset), number(length)))
    return found
