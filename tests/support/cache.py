"""What is dear to make is made once, kept in a folder, and shared by all test workers."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).resolve().parents[2]


def cache_root() -> Path:
    """`$GOLEM_TEST_CACHE`, else `build/test-cache` of the repository."""
    return Path(os.environ.get("GOLEM_TEST_CACHE") or REPOSITORY / "build" / "test-cache")


def made_once(place: Path, make: Callable[[Path], None]) -> Path:
    """*place*, a file or a folder; where it is missing, `make(draft)` makes it.

    It appears whole or not at all. Processes that want it at the same time wait for the first.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    drafts = f".{place.name}.making-"
    with place.with_name(f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left_by_a_killed_process in place.parent.glob(f"{drafts}*"):
            shutil.rmtree(left_by_a_killed_process)
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=drafts) as folder:
                draft = Path(folder) / place.name
                make(draft)
                draft.rename(place)
    return place
