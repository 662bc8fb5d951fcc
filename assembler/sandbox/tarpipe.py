"""A layer's tar on its way down a pipe, in few and large writes. Runs in the child."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from layers import tarwriter
from layers.sparse import Segment
from layers.tarheader import BLOCK
from layers.tree import Data

if TYPE_CHECKING:
    from layers.tree import Node

_SMALL = 1 << 16
"""Bytes of a file that are read, to be written with their neighbours; more are sent."""
_GATHERED = 1 << 18
_SEND_MAX = 1 << 24
_HOLES = 1 << 20
"""Bytes of holes that are worth a sparse entry."""
_SEGMENTS_MAX = 10_000
"""Runs of data that a sparse map may have; readers bound the map's length."""
_ZEROS = bytes(BLOCK)


class OpenFile:
    """A file of the upper directory, as a node's data."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    def fileno(self) -> int:
        """Return the open descriptor."""
        return self._descriptor

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to *length* bytes at *offset*; fewer only at the end."""
        return os.pread(self._descriptor, length, offset)


class TarPipe:
    """Writes to a descriptor, which stays the caller's. Whoever is done calls `finish`."""

    def __init__(self, out: int) -> None:
        self.size = 0
        """Bytes written, or about to be."""
        self._out = out
        self._gathered = bytearray()

    def append(self, data: bytes) -> None:
        """Write *data*, soon."""
        self._gathered += data
        self.size += len(data)
        if len(self._gathered) >= _GATHERED:
            self._flush()

    def append_file(self, path: bytes, node: Node, file: OpenFile, allocated: int) -> None:
        """Write headers and data of a file that takes *allocated* bytes of its disk."""
        segments = _segments(file) if file.size - allocated >= _HOLES else None
        node.data = Data(file, 0, file.size, segments)
        if segments is None:
            self.append(tarwriter.header(path, node))
            self._send(file, 0, file.size)
            self.append(_ZEROS[: -file.size % BLOCK])
            return
        self.append(tarwriter.sparse_header(path, node))
        for offset, length in segments:
            self._send(file, offset, length)
        self.append(_ZEROS[: -sum(length for _, length in segments) % BLOCK])

    def finish(self) -> None:
        """End the tar."""
        self.append(tarwriter.END)
        self._flush()

    def _send(self, file: OpenFile, offset: int, length: int) -> None:
        if length <= _SMALL:
            data = file.read_at(offset, length)
            if len(data) != length:
                raise _shrunk()
            self.append(data)
            return
        self._flush()
        self.size += length
        source = file.fileno()
        while length:
            count = os.sendfile(self._out, source, offset, min(length, _SEND_MAX))
            if not count:
                raise _shrunk()
            offset += count
            length -= count

    def _flush(self) -> None:
        with memoryview(self._gathered) as view:
            done = 0
            while done < len(view):
                done += os.write(self._out, view[done:])
        self._gathered.clear()


def _segments(file: OpenFile) -> tuple[Segment, ...] | None:
    """Return a file's runs of data; `None` if it is not worth it to tell of its holes."""
    found: list[Segment] = []
    position = stored = 0
    while position < file.size and len(found) < _SEGMENTS_MAX:
        try:
            start = os.lseek(file.fileno(), position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no more data
                raise
            position = file.size
            break
        position = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        found.append(Segment(start, position - start))
        stored += position - start
    worth_it = position >= file.size and file.size - stored >= _HOLES
    return tuple(found) if worth_it else None


def _shrunk() -> OSError:
    return OSError(errno.EIO, "a file became shorter while it was read")
