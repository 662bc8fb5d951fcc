"""Finding and ending processes where no PID namespace does it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

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


def kill_descendants(proc: int) -> None:
    """Kill all descendants, those too that are born meanwhile; they must become our children."""
    for _ in range(_PASSES):
        for process in descendants(proc):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_PAUSE)


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
