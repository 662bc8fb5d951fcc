"""Finding and ending processes where no PID namespace does it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PASSES = 500
_PAUSE = 0.01


def descendants(proc: int) -> list[int]:
    """Return the process ids of all descendants; *proc* is a descriptor of /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir(proc):
        if name.isdigit():
            parent = _parent(proc, name)
            children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def count_threads(proc: int, processes: Iterable[int]) -> int:
    """Return how many threads *processes* have together; each has one at least."""
    count = 0
    for process in processes:
        with suppress(OSError):
            # A directory's links: one for each thread's, and two of its own.
            count += os.stat(f"{process}/task", dir_fd=proc).st_nlink - 2
    return count


def kill_descendants(proc: int) -> None:
    """Kill all descendants, those too that are born meanwhile; they must become our children.

    Raises `OSError` where that has no end.
    """
    for _ in range(_PASSES):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for process in descendants(proc):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_PAUSE)
    raise OSError("processes of the command do not end")


def _parent(proc: int, name: str) -> int:
    try:
        descriptor = os.open(f"{name}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return 0
    try:
        # The program's name, in parentheses, may hold anything.
        return int(os.read(descriptor, 4096).rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    finally:
        os.close(descriptor)
