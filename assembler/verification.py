"""`verify`: whether a provider could boot a `.gvmi`, checked point by point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assembler import gvmi, squashlist
from assembler.errors import GuestError, GvmiError
from assembler.guest import clean_volumes
from layers.abridged import abridged
from layers.kinds import Kind
from layers.tree import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from assembler.gvmi import GvmiFile
    from layers.tree import Node, Tree

_MOUNT_POINTS = ("proc", "sys", "dev", "tmp")
_ETC_FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")


def verify(path: Path) -> list[str]:
    """Return a line for each point that holds; raise `GvmiError` naming all that do not.

    That includes a squashfs that cannot be unpacked to its last byte.
    """
    file = gvmi.GvmiFile.read(path)
    tree, _ = squashlist.read_tree(path, file.superblock.inodes)
    squashlist.check_contents(path)
    checks: tuple[tuple[str, Callable[[], Iterator[str]]], ...] = (
        ("JSON types", lambda: iter(gvmi.type_problems(file.config))),
        ("compression", lambda: _compression_problems(file)),
        ("mount points and /etc", lambda: _root_problems(tree)),
        ("volumes", lambda: _volume_problems(tree, file)),
        ("working directory", lambda: _workdir_problems(tree, file)),
    )
    good = [f"ok  trailer and CRC-32 ({file.size - file.squashfs_size} bytes)"]
    good.append(f"ok  squashfs superblock and size ({file.superblock.bytes_used:,} bytes)")
    good.append("ok  contents of all files")
    problems: list[str] = []
    for name, check in checks:
        found = list(check())
        problems += found
        if not found:
            good.append(f"ok  {name}")
    if problems:
        raise GvmiError(f"{path} will not work on a provider: {abridged(problems, '; ')}")
    return good


def _compression_problems(file: GvmiFile) -> Iterator[str]:
    if file.superblock.compression in {"zstd", "lzma"}:
        yield f"providers cannot mount a {file.superblock.compression} squashfs"


def _root_problems(tree: Tree) -> Iterator[str]:
    for name in _MOUNT_POINTS:
        node = tree.root.children.get(name.encode())
        if node is None or not node.is_directory:
            yield f"/{name} is not a directory"
    for name in _ETC_FILES:
        node = _find(tree, name, follow=False)
        if node is not None and node.kind is not Kind.FILE:
            yield f"/{name} is no plain file"
    if _kind(tree, "etc") is not Kind.DIRECTORY:
        yield "/etc is not a directory"


def _volume_problems(tree: Tree, file: GvmiFile) -> Iterator[str]:
    volumes = file.config.get("Volumes") or {}
    if not isinstance(volumes, dict):
        return
    for volume in volumes:
        try:
            cleaned = clean_volumes([volume])
        except GuestError as error:
            yield str(error)
            continue
        if cleaned != [volume]:
            yield f"volume {volume!r} is not a clean path (no doubled or trailing /, no . or ..)"
            continue
        parts = volume.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            prefix = "/".join(parts[:count])
            if _kind(tree, prefix) not in {Kind.DIRECTORY, None}:
                yield f"volume {volume}: /{prefix} is not a directory"


def _workdir_problems(tree: Tree, file: GvmiFile) -> Iterator[str]:
    path = file.config.get("WorkingDir")
    if not isinstance(path, str) or not path.strip():
        return
    volumes = file.config.get("Volumes")
    if isinstance(volumes, dict) and path in volumes:
        return
    node = _find(tree, path, follow=True)
    if node is None or not node.is_directory:
        yield f"the working directory {path} is not a directory in the image"


def _kind(tree: Tree, path: str) -> Kind | None:
    node = _find(tree, path, follow=False)
    return node.kind if node else None


def _find(tree: Tree, path: str, *, follow: bool) -> Node | None:
    try:
        return tree.find(path.encode("utf-8", "surrogateescape"), follow=follow)
    except TreeError:
        return None
