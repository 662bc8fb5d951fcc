"""How much memory this process may use: the machine's, or less by its control groups or `ulimit`.

A container sees the memory of the whole machine; its limit is in the files of its control group and
of the groups above that one (cgroups(7); kernel: admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
"""

from __future__ import annotations

import os
import re
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_V1 = ("memory.limit_in_bytes",)
# Past memory.high a group is not killed, but slowed down until it hardly moves.
_V2 = ("memory.max", "memory.high")
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where a hierarchy is mounted, and which of its groups is at the mount point."""

    root: PurePosixPath
    mount: PurePosixPath
    is_v2: bool


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The smallest limit there is, in bytes, and what sets it."""

    size: int
    source: str


def parse_groups(text: str) -> dict[bool, PurePosixPath]:
    """Return the groups in `/proc/self/cgroup`: that of v2 at `True`, v1's of memory at `False`."""
    groups = {}
    for line in text.splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            groups[True] = PurePosixPath(path)
        elif "memory" in controllers.split(","):
            groups[False] = PurePosixPath(path)
    return groups


def parse_mounts(text: str) -> list[Hierarchy]:
    """Return the hierarchies that may limit memory, by `/proc/self/mountinfo`."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        is_v2 = kind[0] == "cgroup2"
        if is_v2 or (kind[0] == "cgroup" and "memory" in kind[2].split(",")):
            root, mount = (PurePosixPath(_unescaped(field)) for field in fields[3:5])
            found.append(Hierarchy(root, mount, is_v2))
    return found


def limit_files(group: PurePosixPath, hierarchy: Hierarchy) -> Iterator[PurePosixPath]:
    """Yield the files with limits for *group*, of its own and of the groups above, up to the mount.

    What is above the mount point cannot be seen; where the group itself is, the mount point counts.
    """
    within = PurePosixPath()
    if ".." not in group.parts and group.is_relative_to(hierarchy.root):
        within = group.relative_to(hierarchy.root)
    for folder in (within, *within.parents):
        for name in _V2 if hierarchy.is_v2 else _V1:
            yield hierarchy.mount / folder / name


def parse_limit(text: str) -> int | None:
    """Return the bytes that such a file allows; `None` for no limit, or what is none."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() else None


def smallest(limits: Sequence[MemoryLimit]) -> MemoryLimit:
    """Return the limit that holds; of equal ones, the first."""
    return min(limits, key=lambda limit: limit.size)


def memory_limit(root: Path = Path("/")) -> MemoryLimit:
    """Return the limit for this process; *root* is where /proc and /sys are."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [MemoryLimit(machine, "the machine's memory")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(MemoryLimit(soft, "ulimit -v, which counts what is only reserved, too"))
    return smallest([*limits, *_of_groups(root)])


def own_memory() -> int:
    """Return the bytes that this process has in memory now."""
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _of_groups(root: Path) -> Iterator[MemoryLimit]:
    process = root / "proc" / "self"
    # Without /proc, or in a kernel without control groups, there is nothing to find.
    with suppress(OSError):
        groups = parse_groups((process / "cgroup").read_text("utf-8", "surrogateescape"))
        mounts = parse_mounts((process / "mountinfo").read_text("utf-8", "surrogateescape"))
        for hierarchy in mounts:
            for file in limit_files(groups.get(hierarchy.is_v2, PurePosixPath("/")), hierarchy):
                with suppress(OSError):
                    size = parse_limit((root / file.relative_to("/")).read_text("ascii", "replace"))
                    if size is not None:
                        yield MemoryLimit(size, str(file))


def _unescaped(field: str) -> str:
    """Return a field of mountinfo with its spaces and tabs."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), field)
