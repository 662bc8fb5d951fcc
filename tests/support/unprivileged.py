"""Running a command as an ordinary user, also where the tests are run by root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_DROP = ("--reuid=1000", "--regid=1000", "--clear-groups", "--bounding-set=-all")


def unprivileged(folder: Path) -> list[str]:
    """What goes before a command so that it runs as uid 1000 and may write into *folder*."""
    if os.geteuid() != 0:
        return []
    for parent in [folder, *folder.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o755)
    folder.chmod(0o777)
    return ["setpriv", *_DROP]
