"""Places in an image for what is not the image's, made where they are missing, and remembered.

To be used by a process whose root the image is: so links lead nowhere else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assembler.sandbox.command import SecretFile


class ViewError(Exception):
    """The image, or this machine, does not let the root be set up; the text says what and why."""


class Places:
    """Mount points; *made* are those that were not there before."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def find(self, target: str, *, folder: bool) -> str:
        """Return where *target* is, links followed; what is missing on the way is made."""
        path = os.path.realpath(target)
        missing = []
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for above in reversed(missing[1:]):
            self.make(above, above, folder=True)
        if missing:
            self.make(missing[0], missing[0], folder=folder)
            return missing[0]
        if os.path.isdir(path) != folder:
            kind = "a directory" if folder else "a file"
            raise ViewError(f"{target} is not {kind} in the image, but {kind} is mounted there")
        return path

    def make(self, path: str, shown: str, *, folder: bool) -> None:
        """Make a mount point; its folder keeps its time, as nobody asked for a change there."""
        above = os.path.dirname(path) or "/"
        try:
            times = os.stat(above)
            if folder:
                os.mkdir(path, 0o755)
            else:
                write_new(path, b"")
            os.utime(above, ns=(times.st_atime_ns, times.st_mtime_ns))
        except OSError as error:
            raise ViewError(f"nothing can be mounted at {shown}: {error.strerror}") from None
        self.made.append(shown)


def write_new(path: str, data: bytes) -> None:
    """Write a file that must not be there yet."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def write_private(path: str, file: SecretFile) -> None:
    """Write a file with its mode, and its owner where that id exists."""
    write_new(path, file.data)
    try:
        os.chown(path, file.uid, file.gid)
    except OSError:
        if os.geteuid() == 0 and (file.uid, file.gid) == (0, 0):
            raise
    os.chmod(path, file.mode)
