"""Running something as an ordinary user, where the tests run as root."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UID = 1000
AS_ORDINARY = (
    ()
    if os.geteuid()
    else (
        "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs",
        "--bounding-set=-all", "--inh-caps=-all",
    )
)  # fmt: skip
"""What to put before a command; nothing where the tests' own user is one."""


@contextmanager
def passable(path: Path) -> Iterator[None]:
    """Let others pass through the folders above *path*, as long as the context lasts."""
    modes = {parent: parent.stat().st_mode for parent in path.parents}
    closed = {parent: mode for parent, mode in modes.items() if not mode & 0o001}
    for parent, mode in closed.items():
        parent.chmod(mode | 0o011)
    try:
        yield
    finally:
        for parent, mode in closed.items():
            parent.chmod(mode)
