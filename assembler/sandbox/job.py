"""What the builder asks of a sandbox's own program, and how that crosses to another process."""

from __future__ import annotations

import dataclasses
import marshal
from dataclasses import dataclass, field
from typing import Any

from assembler.sandbox.command import Command, Mount, SecretFile

IdLine = tuple[int, int, int]
"""First id inside, first id outside, how many (user_namespaces(7))."""


@dataclass(frozen=True, slots=True)
class UserNamespace:
    """The maps of a new user namespace, and who may write them."""

    uids: tuple[IdLine, ...]
    gids: tuple[IdLine, ...]
    writer: str = "self"
    """`self`, for one's own id alone; `parent`, with capabilities; `helpers`: newuidmap(1)."""


@dataclass(frozen=True, slots=True)
class Root:
    """The root directory: *lowers* beneath an overlay in *step*, or, without, the only one."""

    lowers: tuple[str, ...]
    """The uppermost first."""
    step: str
    """A folder of this run's own: `upper`, `work`, `root` and `lower` are in it."""
    overlay: bool
    user_xattrs: bool
    """Whether overlayfs keeps its notes in `user.` rather than `trusted.` attributes."""

    @property
    def plain(self) -> str:
        """The root itself, where there is no overlay."""
        return self.lowers[0]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the command and all that it starts."""

    processes: int = 4096
    files: int = 65536


@dataclass(frozen=True, slots=True)
class Run:
    """One command in its sandbox. One without words is not run: a probe."""

    command: Command
    root: Root
    isolation: str
    """`namespaces`, `chroot` or `proot`."""
    fixed_identity: bool = False
    """Whether there is one id alone, which the command has already."""
    seccomp: bytes = b""
    listener: bool = False
    """Whether the filter has a listener, which records changes of owners."""
    capabilities: int = 0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Unpack:
    """Make files of packed records (`records.pack`) in the new folder *target*."""

    target: str
    records: bytes
    files: tuple[int, ...]
    """Descriptors that the records' sources are numbers of."""
    uids: tuple[tuple[int, int], ...]
    gids: tuple[tuple[int, int], ...]
    devices: bool
    overlay: bytes = b""
    """How the names of an overlay's own attributes begin, where *target* will be beneath one."""
    beneath: tuple[str, ...] = ()
    """Folders that will be beneath *target*."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A folder that is to belong to somebody in the user namespace."""

    path: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Harvest:
    """Write what the run changed as a layer's tar to the descriptor *out*."""

    out: int
    latest: int | None
    one_id: bool
    """Whether all files belong to one id, and owners are what was recorded."""
    hidden: dict[bytes, tuple[int, int]]
    default: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Job:
    """All that one process does, in this order, in one user namespace."""

    namespace: UserNamespace | None = None
    remove: tuple[str, ...] = ()
    unpack: tuple[Unpack, ...] = ()
    owned: tuple[Owned, ...] = ()
    run: Run | None = None
    harvest: Harvest | None = None


_TYPES = {
    kind.__name__: kind
    for kind in (
        UserNamespace, Mount, SecretFile, Command, Root, Limits, Run, Unpack, Owned, Harvest, Job,
    )
}  # fmt: skip


def pack(job: Job) -> bytes:
    """Return *job* as bytes, for a process of the same Python."""
    return marshal.dumps(_plain(job))


def unpack(data: bytes) -> Job:
    """Return the job that `pack` made bytes of."""
    job = _typed(marshal.loads(data))  # noqa: S302 - our own parent wrote it
    if not isinstance(job, Job):
        raise TypeError(f"expected a job, not {type(job).__name__}")
    return job


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [_plain(getattr(value, f.name)) for f in dataclasses.fields(value)]
        return ["", type(value).__name__, *fields]
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return _TYPES[value[1]](*map(_typed, value[2:]))
    if isinstance(value, tuple):
        return tuple(map(_typed, value))
    return value
