"""Writing an output so that it appears complete under its name, or not at all.

A link is followed: what it leads to is replaced, the link stays. What is no plain file (a device, a
FIFO, a descriptor as /dev/stdout) is written into, from a temporary file that is complete.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.errors import OutputError
from layers.tempfiles import TempArea

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layers.tempfiles import TempFile

STDOUT = Path("/proc/self/fd/1")
"""What `-` means as an output: a path like any other, so that a file may be called `-`, too."""
_DESCRIPTOR = re.compile(r"/proc/(self|thread-self|\d+)(?:/task/\d+)?/fd/(\d+)")
_LINKS = 40
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENXIO, errno.ETXTBSY}
_CHUNK = 1 << 20


def output_path(text: str) -> Path:
    """Return the path that an option's value means; `-` is standard output."""
    return STDOUT if text == "-" else Path(text)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an output ends up. *shown* is what errors call it, *option* what named it."""

    path: Path
    shown: str
    option: str

    @classmethod
    def of(cls, target: Path, option: str = "-o") -> Place:
        """Follow links, but not through an open descriptor."""
        shown = "standard output" if target == STDOUT else str(target)
        path = os.path.join(os.getcwd(), target)
        for _ in range(_LINKS):
            folder, name = os.path.split(path)
            path = os.path.join(os.path.realpath(folder), name)
            if _DESCRIPTOR.fullmatch(path) or not os.path.islink(path):
                return cls(Path(path), shown, option)
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        raise OutputError(f"{shown}: its symbolic links lead nowhere; choose another by {option}")

    @property
    def descriptor(self) -> int | None:
        """The descriptor of this process that the path stands for."""
        match = _DESCRIPTOR.fullmatch(str(self.path))
        own = match is not None and match[1] in {"self", "thread-self", str(os.getpid())}
        return int(match[2]) if match is not None and own else None

    @property
    def is_stdout(self) -> bool:
        """Whether it is this process's standard output."""
        return self.descriptor == 1

    @property
    def is_stream(self) -> bool:
        """Whether it is written into, rather than replaced."""
        if _DESCRIPTOR.fullmatch(str(self.path)):
            return True
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            return False
        return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)

    def check(self, *, binary: bool) -> None:
        """Raise `OutputError` if it cannot be written, or is a terminal and *binary* is to come."""
        try:
            if self.descriptor is not None:
                self._check_descriptor(self.descriptor, binary=binary)
            elif self.is_stream:
                self._check_special(binary=binary)
            else:
                self._check_file()
        except OSError as error:
            raise self._error(f"cannot be written ({error.strerror})") from None

    def _check_descriptor(self, number: int, *, binary: bool) -> None:
        # What this process opened itself is not inheritable, and nobody's output.
        try:
            given = os.get_inheritable(number)
        except OSError:
            given = False
        if not given or fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise self._error("is not open for writing")
        if binary and os.isatty(number):
            raise self._terminal()

    def _check_special(self, *, binary: bool) -> None:
        mode = self.path.stat().st_mode
        if stat.S_ISSOCK(mode):
            raise self._error("is a socket")
        if not os.access(self.path, os.W_OK):
            raise self._error("cannot be written (Permission denied)")
        if binary and stat.S_ISCHR(mode):
            with suppress(OSError):
                flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(self.path, flags)
                try:
                    if os.isatty(descriptor):
                        raise self._terminal()
                finally:
                    os.close(descriptor)

    def _check_file(self) -> None:
        folder = self.path.parent
        if not folder.is_dir():
            raise OutputError(
                f"{self.shown}: the folder {folder} does not exist; make it, or choose another by "
                f"{self.option}"
            )
        if self.path.is_dir():
            raise OutputError(f"{self.shown} is a folder; name a file by {self.option}")
        if self.path.exists() and not os.access(self.path, os.W_OK):
            raise self._error("cannot be written (it is read-only)")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(
                f"{self.shown}: the folder {folder} cannot be written; choose another by "
                f"{self.option}"
            )

    def _error(self, problem: str) -> OutputError:
        return OutputError(f"{self.shown} {problem}; choose another place by {self.option}")

    def _terminal(self) -> OutputError:
        return OutputError(
            f"{self.shown} is a terminal, no place for an image; redirect it, or name a file by "
            f"{self.option}"
        )


def check_target(target: Path, option: str = "-o", *, binary: bool = True) -> Place:
    """Raise `OutputError` now rather than after the work, if *target* cannot be written."""
    try:
        place = Place.of(target, option)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written ({error.strerror}); choose another place by {option}"
        ) from None
    place.check(binary=binary)
    return place


def check_folder(folder: Path, option: str = "-o") -> None:
    """Raise `OutputError` if *folder* is not there and cannot be made."""
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror}); choose another place by {option}"
        ) from None
    if not there.is_dir():
        raise OutputError(f"{folder}: {there} is not a folder; choose another place by {option}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(
            f"{folder}: the folder {there} cannot be written; choose another by {option}"
        )


def make_folder(folder: Path, option: str = "-o") -> None:
    """Make *folder* and what is missing on the way."""
    with _explained(str(folder), f"choose another place by {option}", str(folder)):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def atomic(target: Path, option: str = "-o", *, binary: bool = True) -> Iterator[TempFile]:
    """Yield a file that takes *target*'s name, or is copied into it, when the block has succeeded.

    What a killed run left beside the same target is removed first. Of two runs that write the same
    target at once, the later one's file stays, whole.
    """
    place = check_target(target, option, binary=binary)
    if place.is_stream:
        with _spooled() as temp:
            yield temp
            _copy(temp, place)
        return
    path, remedy = place.path, f"choose another place by {option}"
    with _explained(str(path.parent), remedy, place.shown):
        area = TempArea(path.parent, path.name)
        area.sweep()
        with area.file() as temp:
            yield temp
            _take_over(temp, path)
            os.fsync(temp.fileno())
            temp.publish(path)
            _sync_folder(path.parent)


def write_text(path: Path, option: str, text: str) -> None:
    """Write a text as `atomic` does."""
    with atomic(path, option, binary=False) as temp:
        temp.write(text.encode())


@contextmanager
def _spooled() -> Iterator[TempFile]:
    """Yield a temporary file, for what is written into rather than replaced."""
    folder = temporary_folder()
    with _explained(folder, "set TMPDIR to another folder", folder):
        area = TempArea(Path(folder), "golem-assemble", mode=0o600)  # the folder is everybody's
        area.sweep()
        with area.file() as temp:
            yield temp


def temporary_folder() -> str:
    """Return the folder for temporary files (TMPDIR); raise `OutputError` if there is none."""
    try:
        return tempfile.gettempdir()
    except OSError:
        where = os.environ.get("TMPDIR") or "the machine's folders for temporary files"
        raise OutputError(
            f"{where}: no temporary file can be written there, or in any other usual place (is the "
            "disk full?); make room, or set TMPDIR to another folder"
        ) from None


def _copy(temp: TempFile, place: Place) -> None:
    remedy = f"choose another place by {place.option}"
    with _explained(place.shown, remedy, place.shown), _opened(place) as descriptor:
        position = 0
        while chunk := os.pread(temp.fileno(), _CHUNK, position):
            position += len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[_write(descriptor, view, place) :]


def _write(descriptor: int, view: memoryview, place: Place) -> int:
    try:
        return os.write(descriptor, view)
    except BrokenPipeError:
        if place.is_stdout:
            raise
        raise OutputError(f"{place.shown}: its reader went before everything was written") from None


@contextmanager
def _opened(place: Place) -> Iterator[int]:
    """Open what is written into; a descriptor of this process is used as it is, at its offset."""
    if place.descriptor is not None:
        yield place.descriptor
        return
    descriptor = os.open(place.path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _take_over(temp: TempFile, path: Path) -> None:
    """Give the new file the permissions, and where that is allowed the owner, of the old one."""
    with suppress(FileNotFoundError):
        old = path.stat()
        with suppress(PermissionError):
            os.fchown(temp.fileno(), old.st_uid, old.st_gid)
        os.fchmod(temp.fileno(), old.st_mode & 0o777)


@contextmanager
def _explained(where: str, remedy: str, shown: str) -> Iterator[None]:
    """Turn the operating system's refusals inside the block into sentences."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutputError(
                f"{where}: {(error.strerror or '').lower()}; make room there, or {remedy}"
            ) from None
        if error.errno in _REFUSALS:
            raise OutputError(f"{shown} cannot be written ({error.strerror}); {remedy}") from None
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
