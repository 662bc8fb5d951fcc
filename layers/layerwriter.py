"""A layer's tar on its way into a file: gathered, and then written and hashed beside the reading.

Both let go of the interpreter's lock, so that whoever makes the tar reads the next files meanwhile.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from layers.digest import Digest

if TYPE_CHECKING:
    from layers.spool import Spool

_GATHERED = 1 << 20
"""Bytes that are worth a thread's waking up."""
_WAITING = 4
"""Batches that may wait for the disk; more would only cost memory."""


class LayerWriter:
    """Appends to a spool that nobody else writes to. Close it before the spool is closed."""

    def __init__(self, spool: Spool) -> None:
        self.size = spool.size
        """Bytes appended; not all of them are in the spool before `finish`."""
        self._spool = spool
        self._hash = hashlib.sha256()
        self._gathered = bytearray()
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()

    def append(self, data: bytes) -> None:
        """Append *data*; raise `OSError` for what was appended before and cannot be written."""
        self.size += len(data)
        self._gathered += data
        if len(self._gathered) < _GATHERED:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "layer-writer")
        if len(self._waiting) == _WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._write, self._gathered))
        self._gathered = bytearray()

    def finish(self) -> Digest:
        """Write what is left; return the digest of everything."""
        while self._waiting:
            self._waiting.popleft().result()
        self._write(self._gathered)
        self._gathered = bytearray()
        return Digest("sha256", self._hash.hexdigest())

    def close(self) -> None:
        """End the thread; what it has not begun is not written."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _write(self, data: bytearray) -> None:
        self._spool.append(memoryview(data))
        self._hash.update(data)
