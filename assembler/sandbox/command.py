"""What is to be run: a program, what it sees, and as whom. Nothing here knows how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Mount:
    """Something shown at the absolute path *target* of the image while the command runs.

    *source* is a file or directory of this machine; `None` is a new tmpfs of at most *size* bytes.
    """

    target: str
    source: str | None
    readonly: bool = False
    size: int | None = None


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file shown at the absolute path *target*, which is never on a disk."""

    target: str
    data: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """A program and its arguments, and all that it is given.

    *environment* is the whole of it: nothing of ours comes in. *directory* is absolute; where it
    is missing it is made with its parents before the command begins, 0755 and 0:0, and is part of
    what the command changed. *groups* are those that the process has, its own among them. Mounts
    are made in the order of their targets' depth, so that one can lie in another.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    directory: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    network: bool
    mounts: tuple[Mount, ...] = ()
    secrets: tuple[SecretFile, ...] = ()
