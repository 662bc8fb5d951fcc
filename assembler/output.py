"""Writing a file so that it appears complete under its name, or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assembler.errors import OutputError
from layers.tempfiles import TempArea

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from layers.tempfiles import TempFile

_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS}


def check_target(target: Path) -> None:
    """Raise `OutputError` now rather than after the work, if *target* cannot be written."""
    folder = target.parent
    if not folder.is_dir():
        raise OutputError(
            f"{target}: the folder {folder} does not exist; make it, or choose another by -o"
        )
    if target.is_dir():
        raise OutputError(f"{target} is a folder; name a file by -o")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{target}: the folder {folder} cannot be written; choose another by -o")


@contextmanager
def atomic(target: Path) -> Iterator[TempFile]:
    """Yield a file beside *target* that takes its name when the block ends without an error.

    What a killed run left beside the same target is removed first. Of two runs that write the same
    target at once, the later one's file stays, whole.
    """
    check_target(target)
    area = TempArea(target.parent, target.name)
    try:
        area.sweep()
        with area.file() as temp:
            yield temp
            os.fsync(temp.fileno())
            temp.publish(target)
            _sync_folder(target.parent)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise OutputError(
                f"{target.parent}: {(error.strerror or '').lower()}; make room there, or choose "
                "another place by -o"
            ) from None
        if error.errno in _REFUSALS:
            raise OutputError(
                f"{target} cannot be written ({error.strerror}); choose another place by -o"
            ) from None
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
