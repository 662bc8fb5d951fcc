"""A layer's plain tar on disk: decompressed once, hashed while it is written, without a name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from layers.codec import CodecError, Compression, decompress
from layers.digest import Verifier
from layers.errors import MalformedLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from layers.descriptor import Descriptor
    from layers.digest import Digest
    from layers.limits import Limits
    from layers.tempfiles import TempArea, TempFile

_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)
_HOLE_MIN = 4096
_RATIO_FREE = 1 << 30
"""Plain bytes below which the compression ratio is nobody's concern."""


class Spool:
    """An anonymous file that can be read at any offset; closing it gives its disk space back."""

    def __init__(self, area: TempArea) -> None:
        self._descriptor = area.anonymous()
        self.size = 0
        self.stored = 0
        """Bytes that were written; the rest of `size` are holes."""

    def fileno(self) -> int:
        """Return the open descriptor."""
        return self._descriptor

    def append(self, chunk: bytes | memoryview) -> int:
        """Write *chunk* at the end; return the offset it has.

        Runs of zeros become holes, which cost no disk and are read as zeros.
        """
        start = self.size
        view = memoryview(chunk)
        for position in range(0, len(view), _PIECE):
            piece = view[position : position + _PIECE]
            # Ends at the first other byte, so it costs nothing where there are data.
            if len(piece) >= _HOLE_MIN and _ZEROS.startswith(piece):
                os.ftruncate(self._descriptor, self.size + len(piece))
                self.size += len(piece)
            else:
                self._write(piece)
        return start

    def _write(self, view: memoryview) -> None:
        while view:
            written = os.pwrite(self._descriptor, view, self.size)
            self.size += written
            self.stored += written
            view = view[written:]

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to *length* bytes at *offset*; fewer only at the end."""
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        """Close the descriptor; twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class NamedSpool(Spool):
    """A spool upon a temporary file, which can be published under its final name."""

    def __init__(self, temp: TempFile) -> None:
        """Write to *temp*, which stays the caller's to close."""
        self._temp = temp
        self._descriptor = temp.fileno()
        self.size = self.stored = 0

    def publish(self, target: Path) -> None:
        """Give the file its name; it can still be read here."""
        self._temp.publish(target)

    def close(self) -> None:
        """Do nothing: the file is closed by whoever made it."""


class StoredFile:
    """A plain layer that is a file of the store already: read where it is."""

    def __init__(self, descriptor: int) -> None:
        """Read an open file, which is closed with this."""
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def fileno(self) -> int:
        """Return the open descriptor."""
        return self._descriptor

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to *length* bytes at *offset*; fewer only at the end."""
        return os.pread(self._descriptor, length, offset)

    def verify(self, digest: Digest, what: str) -> None:
        """Raise `DigestMismatch` unless the file has that digest."""
        verifier = Verifier(digest, self.size, what)
        for position in range(0, self.size, _PIECE):
            verifier.update(self.read_at(position, _PIECE))
        verifier.finish()

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


def unpack(
    chunks: Iterable[bytes],
    descriptor: Descriptor,
    diff_id: Digest,
    area: TempArea,
    limits: Limits,
    advance: Callable[[int], None],
) -> tuple[Spool, Compression]:
    """Decompress a layer blob into a new `Spool`, which the caller closes; tell how it was packed.

    Raises `MalformedLayer` for a broken stream, `DigestMismatch` for a plain tar that is not
    *diff_id*'s, `LimitExceeded` for a bomb. *advance* is told of each step's plain bytes.
    """
    name = str(descriptor.digest)
    compression, plain = decompress(chunks)
    verifier = Verifier(diff_id, None, f"layer {name}: its plain tar (diff_id)")
    spool = Spool(area)
    try:
        for chunk in plain:
            spool.append(chunk)
            verifier.update(chunk)
            check_size(spool, descriptor.size, limits, f"layer {name}")
            advance(len(chunk))
        verifier.finish()
    except CodecError as error:
        spool.close()
        raise MalformedLayer(name, str(error)) from None
    except BaseException:
        spool.close()
        raise
    return spool, compression


def check_size(spool: Spool, packed: int, limits: Limits, what: str) -> None:
    """Raise `LimitExceeded` for what was unpacked of *packed* bytes of *what* and is a bomb."""
    limits.check("total_bytes", spool.size, f"{what}: its plain size")
    # Zeros are not counted: an honest `lastlog` of gigabytes is little else.
    if spool.stored > _RATIO_FREE and spool.stored > packed * limits.ratio:
        ratio = spool.stored // max(packed, 1)
        limits.check("ratio", ratio, f"{what}: the ratio of its plain to its compressed size")
