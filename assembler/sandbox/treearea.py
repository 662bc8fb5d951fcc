"""Folders of unpacked images in the store: some kept, the others gone with their process.

Files in them may belong to ids that only a user namespace can touch, and have modes that keep even
their owner out; so removing them is a piece of work by itself.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.sandbox.job import Job
from assembler.sandbox.placing import make_folder, spread
from assembler.sandbox.removal import remove_tree
from assembler.sandbox.rungs import Rung, all_rungs
from assembler.sandbox.runner import perform
from layers.leftovers import owe, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from assembler.sandbox.job import UserNamespace

_DRAFT = ".tmp."
_RECENT = 24 * 3600
"""Seconds since the last use within which a folder is let be."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class TreeArea:
    """The folder `trees` of a store."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "trees"

    @contextmanager
    def folder(self, namespace: UserNamespace | None = None) -> Iterator[Path]:
        """Make a folder that is removed on leaving, with files that belong to *namespace*'s ids."""
        path, lock = self._locked(namespace)
        try:
            yield path
        finally:
            try:
                self._remove(path, namespace)
                settle(path)
            finally:
                os.close(lock)

    def _locked(self, namespace: UserNamespace | None) -> tuple[Path, int]:
        def named() -> Path:
            path = self._folder / f"{_DRAFT}{secrets.token_hex(8)}"
            owe(path, lambda: self._remove(path, namespace))
            return path

        while True:
            self._make()
            # Any of this fails where another build sweeps the folder away before it is locked.
            with suppress(FileNotFoundError):
                path = make_folder(named)
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if os.fstat(lock).st_nlink:
                    return path, lock
                os.close(lock)

    def _make(self) -> None:
        if not self._folder.is_dir():
            # Nobody else passes: there are others' set-user-ID programs and device nodes in it.
            self._folder.mkdir(mode=0o700, exist_ok=True)
            spread(self._folder)

    def kept(self, name: str) -> Path:
        """Return where the folder called *name* is, or would be.

        Nothing of it was synced to the disk, so it is good until the machine starts anew.
        """
        boot = _BOOT_ID.read_text().strip()[:8] if _BOOT_ID.exists() else "0"
        return self._folder / f"{name}.{boot}"

    def keep(self, draft: Path, target: Path) -> None:
        """Give *draft*, below a `folder`, its name; another one's, if it was first, stays."""
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():
                raise

    def sweep(self) -> None:
        """Remove what nobody holds any more, and what is of another start of the machine."""
        if not self._folder.is_dir():
            return
        for path in list(self._folder.iterdir()):
            if path.name.startswith(_DRAFT):
                self._remove_orphan(path)
            elif self._is_of_another_start(path):
                self._remove(path, None)

    def _is_of_another_start(self, path: Path) -> bool:
        # Another machine, with a start of its own, may share the store and be using it just now.
        recent = path.stat().st_atime > time.time() - _RECENT
        return not recent and path != self.kept(path.name.rpartition(".")[0])

    def folders(self) -> list[Path]:
        """Return the kept folders."""
        if not self._folder.is_dir():
            return []
        return [p for p in sorted(self._folder.iterdir()) if not p.name.startswith(_DRAFT)]

    def remove(self, path: Path) -> None:
        """Remove a kept folder; whoever does must be alone with the store."""
        self._remove(path, None)

    def _remove_orphan(self, path: Path) -> None:
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return  # gone already, or not ours
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._remove(path, None)
        except BlockingIOError:
            return
        finally:
            os.close(lock)

    def _remove(self, path: Path, namespace: UserNamespace | None) -> None:
        if namespace is None:
            try:
                remove_tree(os.fsencode(path))
            except PermissionError:
                namespace = _widest_namespace()
            else:
                return
        perform(lambda _: Job(namespace, remove=(str(path),)))


def _widest_namespace() -> UserNamespace | None:
    """Return the namespace whose ids other users' files of ours may belong to."""
    rungs = [rung for rung in all_rungs() if isinstance(rung, Rung) and rung.name == "ranges"]
    return rungs[0].namespace if rungs else None
