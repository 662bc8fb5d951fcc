"""What must not outlive this process, whatever moment a signal picks to end it.

A signal is an exception that may come between any two steps: after a file is made and before the
block is entered that removes it, or when that block has begun to end. So names are owed before
there is anything of the name, and what is still owed when Python ends is removed then.
"""

from __future__ import annotations

import atexit
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_owed: dict[Path, Callable[[], None]] = {}


def owe(path: Path, remove: Callable[[], None]) -> None:
    """Tell that *path* will be made, and how to *remove* it, which must be fit to be done twice."""
    _owed[path] = remove


def settle(path: Path) -> None:
    """Tell that *path* is no more, or is to stay."""
    _owed.pop(path, None)


@atexit.register
def remove_all() -> None:
    """Remove what is still owed; what cannot be removed is for the next run's sweep."""
    while _owed:
        _, remove = _owed.popitem()
        with suppress(OSError):
            remove()
