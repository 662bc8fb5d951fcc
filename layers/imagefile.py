"""Open files of an image, as `io` has them."""

from __future__ import annotations

import errno
import io
import os
from typing import TYPE_CHECKING, BinaryIO, cast

from layers.scratch import Contents

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer
    from fs.mode import Mode

    from layers.scratch import Scratch
    from layers.tree import Node

_BUFFER = 1 << 16


class ImageFile(io.RawIOBase):
    """One opening of a file: a position, and what its mode allows.

    Whatever is written shows at once in every opening and under every name of the file.
    """

    def __init__(self, scratch: Scratch, node: Node, mode: Mode, name: str) -> None:
        super().__init__()
        self.name = name
        self.mode = mode.to_platform_bin()
        self._scratch = scratch
        self._node = node
        self._mode = mode
        self._contents = Contents(node.data)
        self._position = self._contents.size if mode.appending else 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.mode!r}>"

    def readable(self) -> bool:
        """Whether the mode allows reading."""
        return self._mode.reading

    def writable(self) -> bool:
        """Whether the mode allows writing."""
        return self._mode.writing

    def seekable(self) -> bool:
        """Return true: every file of an image can be read from anywhere."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill *buffer* from the position on; return how many bytes there were."""
        with memoryview(buffer).cast("B") as view:
            chunk = self._read(len(view))
            view[: len(chunk)] = chunk
        return len(chunk)

    def readall(self) -> bytes:
        """Return everything from the position to the end."""
        return self._read(None)

    def write(self, chunk: ReadableBuffer, /) -> int:
        """Write all of *chunk* at the position, or at the end where the mode appends."""
        self._check(allowed=self.writable())
        with memoryview(chunk).cast("B") as view, self._scratch.edit(self._node) as draft:
            if self._mode.appending:
                self._position = draft.size
            draft.write_at(self._position, view)
            self._position += len(view)
            return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file, or lengthen it by zeros, to *size* (the position, if not given)."""
        self._check(allowed=self.writable())
        size = self._position if size is None else size
        if size < 0:
            raise OSError(errno.EINVAL, "a file cannot have a negative size")
        with self._scratch.edit(self._node) as draft:
            draft.resize(size)
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, past the end if need be; return it."""
        self._check(allowed=True)
        with self._scratch.lock:
            bases = {
                os.SEEK_SET: 0,
                os.SEEK_CUR: self._position,
                os.SEEK_END: self._node.size,
            }
            if whence not in bases:
                raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
            position = bases[whence] + offset
            if position < 0:
                raise OSError(errno.EINVAL, "a position cannot be negative")
            self._position = position
            return position

    def tell(self) -> int:
        """Return the position in bytes."""
        self._check(allowed=True)
        return self._position

    def close(self) -> None:
        """Close; what was written moves to where it stays."""
        if self.closed:
            return
        super().close()
        if self.writable():
            self._scratch.settle(self._node)

    def _read(self, length: int | None) -> bytes:
        self._check(allowed=self.readable())
        with self._scratch.lock:
            self._scratch.check()
            if self._contents.data is not self._node.data:
                self._contents = Contents(self._node.data)
            wanted = self._contents.size - self._position if length is None else length
            chunk = self._contents.read(self._position, wanted)
            self._position += len(chunk)
            return chunk

    def _check(self, *, allowed: bool) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if not allowed:
            raise io.UnsupportedOperation(f"{self.name}: not open for this (mode {self.mode!r})")


def open_stream(file: ImageFile, buffering: int) -> BinaryIO:
    """Return *file* with the buffer that `open` would give it; 0 for none."""
    if buffering == 0:
        return cast("BinaryIO", file)
    size = buffering if buffering > 1 else _BUFFER
    if not file.writable():
        return io.BufferedReader(file, size)
    if not file.readable():
        return io.BufferedWriter(file, size)
    return io.BufferedRandom(file, size)
