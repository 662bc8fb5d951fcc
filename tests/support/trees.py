"""Snapshots of real directories, and what two of them differ in.

Nothing here shares a line with the code under test: the kernel's own lstat and listxattr are asked
about trees that `unsquashfs` and `umoci` wrote. Owners, device nodes and security.* attributes
need root.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = b"."

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One path. *links* are all names of its inode below the root, empty where it has but one.

    *size* and *sha256* are those of files alone, *mtime* is in whole seconds, *device* is
    (major, minor).
    """

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int | None = None
    sha256: str | None = None
    target: bytes | None = None
    device: tuple[int, int] | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()
    links: tuple[bytes, ...] = ()


Snapshot = dict[bytes, Entry]


def snapshot_directory(path: str | os.PathLike[str]) -> Snapshot:
    """Every path below *path*, relative to it; the directory itself is `ROOT`."""
    base = os.fsencode(path)
    names = sorted(_walk(base))
    inodes: dict[tuple[int, int], list[bytes]] = {}
    statuses = {}
    for name in names:
        status = statuses[name] = os.lstat(os.path.join(base, name))
        if not stat.S_ISDIR(status.st_mode):
            inodes.setdefault((status.st_dev, status.st_ino), []).append(name)
    groups = {name: tuple(group) for group in inodes.values() if len(group) > 1 for name in group}
    return {
        name: _entry(os.path.join(base, name), statuses[name], groups.get(name, ()))
        for name in names
    }


def snapshot_squashfs(image: str | os.PathLike[str]) -> Snapshot:
    """The tree in a squashfs (what follows it in the file does not matter), by unsquashfs."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        _run("unsquashfs", "-no-progress", "-quiet", "-dest", root, image)
        return snapshot_directory(root)


@contextmanager
def umoci_unpack(layout: str | os.PathLike[str], tag: str = "latest") -> Iterator[Path]:
    """The root directory that umoci unpacks an image of *layout* to; removed at the end.

    What umoci 0.4.7 does beside the specification: a directory that no layer has an entry for is
    0755, of the time of the run (the root: 0 or that). It refuses zstd and Docker's media types.
    """
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        mapping = [] if os.geteuid() == 0 else ["--rootless"]
        _run("umoci", "unpack", *mapping, "--image", f"{os.fspath(layout)}:{tag}", bundle)
        yield bundle / "rootfs"


def snapshot_umoci(layout: str | os.PathLike[str], tag: str = "latest") -> Snapshot:
    with umoci_unpack(layout, tag) as root:
        return snapshot_directory(root)


def differences(
    expected: Snapshot, found: Snapshot, *, ignore: frozenset[str] | set[str] = frozenset()
) -> list[str]:
    """A line for each difference; *ignore* names fields of Entry that may differ."""
    lines = [f"{_show(name)}: missing" for name in sorted(expected.keys() - found.keys())]
    lines += [f"{_show(name)}: unexpected" for name in sorted(found.keys() - expected.keys())]
    compared = [field.name for field in fields(Entry) if field.name not in ignore]
    for name in sorted(expected.keys() & found.keys()):
        for field in compared:
            want, have = getattr(expected[name], field), getattr(found[name], field)
            if want != have:
                lines.append(
                    f"{_show(name)}: {field} {_tell(field, have)}, not {_tell(field, want)}"
                )
    return lines


def _walk(base: bytes) -> Iterator[bytes]:
    yield ROOT
    waiting = [b""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(os.path.join(base, prefix)) as found:
            for item in found:
                name = prefix + item.name
                yield name
                if item.is_dir(follow_symlinks=False):
                    waiting.append(name + b"/")


def _entry(path: bytes, status: os.stat_result, links: tuple[bytes, ...]) -> Entry:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    is_device = kind in ("char", "block")
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=status.st_mtime_ns // 1_000_000_000,
        size=status.st_size if kind == "file" else None,
        sha256=_sha256(path) if kind == "file" else None,
        target=os.readlink(path) if kind == "symlink" else None,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else None,
        xattrs=_xattrs(path),
        links=links,
    )


def _sha256(path: bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _xattrs(path: bytes) -> tuple[tuple[str, bytes], ...]:
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)


def _show(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _tell(field: str, value: object) -> str:
    return oct(value) if field == "mode" and isinstance(value, int) else repr(value)


def _run(*command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} exited with {done.returncode}: {done.stderr.strip()}")
