"""Contents of files: read where the layers lie, written into scratch space, copy on write."""

from __future__ import annotations

import errno
import os
import threading
from bisect import bisect_right
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING

from fs.errors import FilesystemClosed

from layers.spool import Spool
from layers.tree import Data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from layers.tempfiles import TempArea
    from layers.tree import DataFile, Node

_CHUNK = 1 << 20
_IN_MEMORY = 1 << 20
"""Bytes that a file may have while it is written before it takes a descriptor."""


class Contents:
    """A file's bytes as its `Data` place them; holes read as zeros."""

    def __init__(self, data: Data | None) -> None:
        self.data = data
        self.size = data.size if data else 0
        segments = data.segments if data and data.segments is not None else ()
        self._starts = [segment.offset for segment in segments]
        self._lengths = [segment.length for segment in segments]
        self._stored = list(accumulate(self._lengths, initial=0))

    def read(self, position: int, length: int) -> bytes:
        """Return *length* bytes at *position*; fewer only at the end."""
        length = min(length, self.size - position)
        data = self.data
        if data is None or length <= 0:
            return b""
        if data.segments is None:
            return _exactly(data.file, data.offset + position, length)
        return b"".join(self._pieces(data, position, position + length))

    def chunks(self) -> Iterator[bytes]:
        """Yield everything in order, in pieces that fit into memory."""
        for position in range(0, self.size, _CHUNK):
            yield self.read(position, _CHUNK)

    def _pieces(self, data: Data, position: int, end: int) -> Iterator[bytes]:
        first = max(bisect_right(self._starts, position) - 1, 0)
        for index in range(first, len(self._starts)):
            start = self._starts[index]
            if start >= end:
                break
            if position < start:
                yield bytes(start - position)
                position = start
            count = min(start + self._lengths[index], end) - position
            if count > 0:
                stored = data.offset + self._stored[index] + position - start
                yield _exactly(data.file, stored, count)
                position += count
        yield bytes(end - position)


def _exactly(file: DataFile, offset: int, length: int) -> bytes:
    # One read may give less than was asked for: Linux stops at 2 GiB.
    chunk = file.read_at(offset, length)
    if len(chunk) == length:
        return chunk
    parts = [chunk]
    while chunk and (length := length - len(chunk)):
        offset += len(chunk)
        chunk = file.read_at(offset, length)
        parts.append(chunk)
    if length:
        raise OSError(errno.EIO, "a layer's spool or the scratch file ends too early")
    return b"".join(parts)


class Draft:
    """Contents that are being written: in memory while they are small, then in a nameless file."""

    def __init__(self, area: TempArea) -> None:
        self.size = 0
        self._area = area
        self._memory = bytearray()
        self._descriptor = -1

    def fileno(self) -> int:
        """Return a descriptor; what was in memory goes into a file for it."""
        if self._descriptor < 0:
            self._descriptor = self._area.anonymous()
            _write_at(self._descriptor, 0, self._memory)
            self._memory = bytearray()
        return self._descriptor

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to *length* bytes at *offset*."""
        if self._descriptor < 0:
            return bytes(self._memory[offset : offset + length])
        return os.pread(self._descriptor, length, offset)

    def write_at(self, offset: int, chunk: memoryview) -> None:
        """Write *chunk* at *offset*; what lies between the old end and it reads as zeros."""
        end = offset + len(chunk)
        if end > _IN_MEMORY:
            self.fileno()
        if self._descriptor >= 0:
            _write_at(self._descriptor, offset, chunk)
        else:
            self._memory.extend(bytes(max(offset - self.size, 0)))
            self._memory[offset:end] = chunk
        self.size = max(self.size, end)

    def resize(self, size: int) -> None:
        """Cut the contents, or lengthen them by zeros."""
        if size > _IN_MEMORY:
            self.fileno()
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, size)
        elif size < self.size:
            del self._memory[size:]
        else:
            self._memory.extend(bytes(size - self.size))
        self.size = size

    def close(self) -> None:
        """Give the space back; twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._memory = bytearray()


def _write_at(descriptor: int, offset: int, chunk: bytearray | memoryview) -> None:
    with memoryview(chunk) as view:
        done = 0
        while done < len(view):
            done += os.pwrite(descriptor, view[done:], offset + done)


class Scratch:
    """Where the written files of one image are: drafts while they are open, then one `Spool`.

    A node that is changed gets *mtime* and loses its `origin`. `lock` guards the contents of nodes
    and whatever is here. It is not the file system's own lock, which PyFilesystem holds while it
    waits for threads that read and write open files.
    """

    def __init__(self, area: TempArea, mtime: int) -> None:
        self.lock = threading.RLock()
        self.mtime = mtime
        self._area = area
        self._drafts: dict[Node, Draft] = {}
        self._spool: Spool | None = None
        self._closed = False

    def check(self) -> None:
        """Raise `FilesystemClosed` once the scratch space is gone."""
        if self._closed:
            raise FilesystemClosed

    @contextmanager
    def edit(self, node: Node) -> Iterator[Draft]:
        """Give out the contents of *node* to be changed; at first, copied from where they are."""
        with self.lock:
            self.check()
            draft = self._drafts.get(node)
            if draft is None:
                draft = self._drafts[node] = self._copied(node)
            try:
                yield draft
            finally:
                self._show(node, Data(draft, 0, draft.size))

    def settle(self, node: Node) -> Data | None:
        """Move a draft's contents to where they stay; return them, whether drafted or not."""
        with self.lock:
            draft = self._drafts.get(node)
            if draft is not None:
                node.data = self.store(Contents(node.data).chunks())
                # Only now: where the disk is full, the draft is still the node's contents.
                del self._drafts[node]
                draft.close()
            return node.data

    def replace(self, node: Node, data: Data | None) -> None:
        """Give *node* other contents; `None` for no bytes."""
        with self.lock:
            draft = self._drafts.pop(node, None)
            if draft is not None:
                draft.close()
            self._show(node, data)

    def store(self, chunks: Iterable[bytes]) -> Data | None:
        """Write *chunks* to the end of the spool; `None` where there are no bytes."""
        with self.lock:
            if self._spool is None:
                self._spool = Spool(self._area)
            spool, start = self._spool, self._spool.size
            for chunk in chunks:
                spool.append(chunk)
            size = spool.size - start
            return Data(spool, start, size) if size else None

    def close(self) -> None:
        """Give all space back; nothing that was written can be read any more."""
        with self.lock:
            self._closed = True
            for draft in self._drafts.values():
                draft.close()
            self._drafts.clear()
            if self._spool is not None:
                self._spool.close()

    def _copied(self, node: Node) -> Draft:
        draft = Draft(self._area)
        try:
            for chunk in Contents(node.data).chunks():
                draft.write_at(draft.size, memoryview(chunk))
        except BaseException:
            draft.close()
            raise
        return draft

    def _show(self, node: Node, data: Data | None) -> None:
        node.data, node.mtime, node.origin = data, self.mtime, None
