"""Directories that outlive builds, for `RUN --mount=type=cache`: in the store, locked while used.

Each lies in `caches/DIGEST` beside the blobs: `data` is what a RUN sees, `lock` is held by who
uses it (its time is when that was last), `info.json` tells people what it is. Whoever opens one is
`in_use` of the store, so that `prune`, which is alone, removes none that somebody has.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from assembler.diskusage import folder_size
from layers.errors import StoreError
from layers.store import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from assembler.dockerfile.mounts import CacheMount

_FOLDER = "caches"
_MODE = 0o755


@dataclass(frozen=True, slots=True)
class CacheName:
    """What makes a cache another one: as in BuildKit, its owner and mode too.

    *fidelity* is the sandbox's, because ids in a cache mean what they mean in that sandbox.
    """

    identity: str
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    fidelity: str = ""

    @classmethod
    def of(cls, mount: CacheMount, fidelity: str) -> CacheName:
        """Return the name of the cache that *mount* wants."""
        return cls(mount.identity, mount.mode, mount.uid, mount.gid, fidelity)

    @property
    def digest(self) -> str:
        """The name of its folder."""
        return hashlib.sha256(json.dumps(astuple(self)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache that is there: bytes on the disk, and when it was last used, in seconds."""

    identity: str
    folder: Path
    size: int
    used: float

    @property
    def name(self) -> str:
        """What is shown of it."""
        return f"cache {self.identity}"


@contextmanager
def open_cache(root: Path, name: CacheName, sharing: str = "shared") -> Iterator[Path]:
    """Open a cache of the store at *root*, made where it is missing; give its directory.

    `shared` is used by many at once, `locked` by one, for which the others wait; `private` is
    another, numbered directory while the first is used. A new directory gets the mode, and the
    owner if this process may give it; where it may not, the sandbox must.
    """
    number = 0
    while True:
        folder = root / _FOLDER / (f"{name.digest}.{number}" if number else name.digest)
        with explained(root):
            descriptor = _open_lock(folder)
        try:
            if not _lock(descriptor, sharing):
                number += 1
                continue
            with explained(root):
                os.utime(descriptor)
                data = _made(folder, name)
            yield data
            return
        finally:
            os.close(descriptor)


def caches(root: Path) -> list[Cache]:
    """Return the caches of the store at *root*, those first that were not used for longest."""
    try:
        folders = sorted((root / _FOLDER).iterdir())
    except FileNotFoundError:
        return []
    found = []
    for folder in folders:
        with suppress(FileNotFoundError):
            used = (folder / "lock").stat().st_mtime
            found.append(Cache(_identity(folder), folder, folder_size(folder), used))
    return sorted(found, key=lambda cache: (cache.used, cache.folder))


def remove_cache(cache: Cache, remove: Callable[[Path], None]) -> None:
    """Remove a cache by *remove*, which takes a folder away whoever its files belong to.

    Whoever does must be alone in the store (`ContentStore.alone`).
    """
    try:
        remove(cache.folder)
    except OSError as error:
        raise StoreError(
            f"{cache.folder}: the cache {cache.identity} cannot be removed ({error.strerror}); "
            "remove it as root"
        ) from None


def _open_lock(folder: Path) -> int:
    # Nobody else passes: a command may have left set-user-ID programs there.
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(exist_ok=True)
    return os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _lock(descriptor: int, sharing: str) -> bool:
    """Lock as *sharing* asks, and wait unless it is private; return whether that is done."""
    if sharing != "private":
        fcntl.flock(descriptor, fcntl.LOCK_EX if sharing == "locked" else fcntl.LOCK_SH)
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _made(folder: Path, name: CacheName) -> Path:
    """Return the cache's directory; a new one appears only when it is as it is to be."""
    data, new = folder / "data", folder / "new"
    # Of several who share a cache, one makes it.
    descriptor = os.open(folder / "making", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if data.is_dir() and not data.is_symlink():
            return data
        (folder / "info.json").write_text(json.dumps({"id": name.identity}))
        new.mkdir(exist_ok=True)
        with suppress(PermissionError):
            os.chown(new, name.uid or 0, name.gid or 0)
        new.chmod(_MODE if name.mode is None else name.mode & 0o7777)
        new.rename(data)
        return data
    finally:
        os.close(descriptor)


def _identity(folder: Path) -> str:
    try:
        return str(json.loads((folder / "info.json").read_bytes())["id"])
    except (OSError, ValueError, LookupError, TypeError):
        return folder.name
