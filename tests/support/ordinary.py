"""Running something as an ordinary user, where the tests run as root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

UID = 1000
AS_ORDINARY = (
    ()
    if os.geteuid()
    else (
        "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs",
        "--bounding-set=-all", "--inh-caps=-all",
        # What is covered is written where only the tests' own user may.
        "env", "-u", "COVERAGE_PROCESS_CONFIG", "-u", "COVERAGE_PROCESS_START",
    )
)  # fmt: skip
"""What to put before a command; nothing where the tests' own user is one."""


def open_way(path: Path) -> None:
    """Let others pass through the folders above *path*.

    That stays so: tests that run beside this one may need it a moment later.
    """
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o011)


def ordinary(folder: Path) -> list[str]:
    """What goes before a command so that an ordinary user runs it, and may write into *folder*."""
    if AS_ORDINARY:
        open_way(folder)
        folder.chmod(0o777)
    return list(AS_ORDINARY)
