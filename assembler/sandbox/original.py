"""What was there before the command, for telling what it changed. Runs in the child."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from assembler.sandbox import attributes
from assembler.sandbox.records import HARD_LINK
from assembler.sandbox.walking import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from assembler.sandbox.attributes import Attributes
    from assembler.sandbox.records import Record

_PIECE = 1 << 20
_SECOND = 1_000_000_000
_COARSE_CLOCK = 5  # CLOCK_REALTIME_COARSE, which file systems take their times from


class Original(Protocol):
    """The tree before the command. Paths are relative and run through directories alone."""

    def look(self, path: bytes) -> os.stat_result | None:
        """Return what `lstat` says of *path* there; `None` if there is no such thing."""
        ...

    def target(self, path: bytes) -> bytes:
        """Return where the symbolic link at *path* points."""
        ...

    def attributes(self, path: bytes) -> Attributes | None:
        """Return the extended attributes that a layer would hold of *path*."""
        ...

    def has_contents(self, path: bytes, descriptor: int, size: int) -> bool:
        """Whether the file at *path*, which is of *size*, holds the same as *descriptor*."""
        ...


class LowerDirectory:
    """The lower side of an overlay; asked only about what the upper directory names."""

    def __init__(self, path: bytes | str, prefix: bytes = attributes.USER_OVERLAY) -> None:
        """Look below *path*; *prefix* begins the names of the overlay's own attributes."""
        self.prefix = prefix
        self._path = os.fsencode(path).rstrip(b"/") + b"/"

    def look(self, path: bytes) -> os.stat_result | None:
        """Return what `lstat` says of *path* there; `None` if there is no such thing."""
        try:
            return os.lstat(self._path + path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None
            raise

    def target(self, path: bytes) -> bytes:
        """Return where the symbolic link at *path* points."""
        return os.readlink(self._path + path)

    def attributes(self, path: bytes) -> Attributes | None:
        """Return the extended attributes that a layer would hold of *path*."""
        return attributes.read(self._path + path)[0]

    def has_contents(self, path: bytes, descriptor: int, size: int) -> bool:
        """Whether the file at *path*, which is of *size*, holds the same as *descriptor*."""
        own = os.open(self._path + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return _same(own, 0, descriptor, 0, size)
        finally:
            os.close(own)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A real directory at one moment: `lstat` of each path, and attributes where there are any."""

    statuses: dict[bytes, os.stat_result]
    attributes: dict[bytes, Attributes]


def take_snapshot(root: bytes | str) -> Snapshot:
    """Look at everything below *root*; what changes after the return has a later ctime."""
    statuses: dict[bytes, os.stat_result] = {}
    found: dict[bytes, Attributes] = {}
    with Walk(root) as walk:
        for path, status in walk:
            statuses[path] = status
            own = attributes.read(path or b".")[0]
            if own:
                found[path] = own
    _outwait(max(status.st_ctime_ns for status in statuses.values()))
    return Snapshot(statuses, found)


def _outwait(moment: int) -> None:
    """Wait until a change gets another ctime than *moment*: the kernel's clock has coarse ticks.

    Kernels that give finer times to files that were looked at are ahead of that clock, and have
    been seen to give the same time twice.
    """
    # Some file systems keep whole seconds only.
    tick = _SECOND if moment % _SECOND == 0 else 1
    # A time from the future is no reason to wait for it.
    while -_SECOND < time.clock_gettime_ns(_COARSE_CLOCK) - moment < tick:
        time.sleep(0.001)


class Unpacked:
    """A tree that was unpacked, and is changed in place."""

    def __init__(self, records: Iterable[Record], files: Sequence[int], snapshot: Snapshot) -> None:
        """Take what *records* say and *snapshot* saw; contents are read from *files*."""
        self._snapshot = snapshot
        self._files = files
        # What could not be made was not there for the command either: so it was not removed.
        self._records = {r.path: r for r in records if r.path in snapshot.statuses}

    def __iter__(self) -> Iterator[bytes]:
        """Yield all paths, parents first."""
        return iter(self._records)

    def look(self, path: bytes) -> os.stat_result | None:
        """Return what `lstat` said of *path*; `None` if there was no such thing."""
        return self._snapshot.statuses[path] if path in self._records else None

    def target(self, path: bytes) -> bytes:
        """Return where the symbolic link at *path* pointed."""
        return self._record(path).target

    def attributes(self, path: bytes) -> Attributes | None:
        """Return the extended attributes that a layer would hold of *path*."""
        return self._snapshot.attributes.get(path)

    def has_contents(self, path: bytes, descriptor: int, size: int) -> bool:
        """Whether the file at *path*, which is of *size*, holds the same as *descriptor*."""
        source = self._record(path).source
        if source is None:
            return size == 0
        index, offset, whole, segments = source
        file, position = self._files[index], 0
        for start, length in ((0, whole),) if segments is None else segments:
            if not (
                _is_zero(descriptor, position, start - position)
                and _same(file, offset, descriptor, start, length)
            ):
                return False
            offset, position = offset + length, start + length
        return _is_zero(descriptor, position, size - position)

    def _record(self, path: bytes) -> Record:
        record = self._records[path]
        return self._records[record.target] if record.kind == HARD_LINK else record


def _same(one: int, start: int, other: int, position: int, length: int) -> bool:
    return _every(
        length,
        lambda done, count: os.pread(one, count, start + done),
        lambda done, count: os.pread(other, count, position + done),
    )


def _is_zero(descriptor: int, position: int, length: int) -> bool:
    return _every(
        length,
        lambda _, count: bytes(count),
        lambda done, count: os.pread(descriptor, count, position + done),
    )


def _every(
    length: int, expected: Callable[[int, int], bytes], found: Callable[[int, int], bytes]
) -> bool:
    """Whether both give the same bytes; local files give whole pieces."""
    for done in range(0, length, _PIECE):
        count = min(_PIECE, length - done)
        if expected(done, count) != found(done, count):
            return False
    return True
