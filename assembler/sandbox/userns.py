"""Entering a new user namespace, with whatever ids its maker may use (user_namespaces(7))."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from assembler.sandbox import linux

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assembler.sandbox.job import IdLine, UserNamespace

_HELPERS = {"uid": "newuidmap", "gid": "newgidmap"}


class MapError(OSError):
    """The ids of a user namespace could not be set."""


def enter(namespace: UserNamespace) -> None:
    """Leave this process's user namespace for a new one; it has all capabilities there."""
    if namespace.writer == "self":
        linux.unshare(linux.CLONE_NEWUSER)
        _write("setgroups", "deny")
        _write("uid_map", _lines(namespace.uids))
        _write("gid_map", _lines(namespace.gids))
        return
    ready, told = os.pipe()
    writer = os.fork()
    if writer == 0:
        # Stays outside, where the capabilities (or the helpers' privileges) are.
        os.close(told)
        os.read(ready, 1)
        os._exit(_write_from_outside(os.getppid(), namespace))
    os.close(ready)
    try:
        linux.unshare(linux.CLONE_NEWUSER)
    finally:
        os.close(told)
        _, status = os.waitpid(writer, 0)
    if status:
        raise MapError(f"{namespace.writer} could not map the ids (status {status >> 8})")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _write_from_outside(process: int, namespace: UserNamespace) -> int:
    try:
        for kind, lines in (("uid", namespace.uids), ("gid", namespace.gids)):
            if namespace.writer == "parent":
                with open(f"/proc/{process}/{kind}_map", "w", encoding="ascii") as file:
                    file.write(_lines(lines))
            else:
                words = [str(number) for line in lines for number in line]
                subprocess.run([_HELPERS[kind], str(process), *words], check=True)
    except (OSError, subprocess.CalledProcessError):
        return 1
    return 0


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
        file.write(text)


def _lines(lines: Sequence[IdLine]) -> str:
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in lines)
