"""PyFilesystem's paths in a `Tree`: what they lead to, and its errors for where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fs import errors
from fs.path import normpath

from layers.tree import LinkLoop, Node, TreeError

if TYPE_CHECKING:
    from layers.tree import Tree

NAME_MAX = 255
"""Bytes of one name, as Linux has it; mksquashfs cuts longer ones without a word."""

_TARGET_MAX = 4095


class Place(NamedTuple):
    """Where a path ends: the directory, the name in it (none for the root), and its node if any."""

    parent: Node
    name: bytes
    node: Node | None


def encode(name: str) -> bytes:
    """Return a name's bytes, whatever the locale; `UnicodeEncodeError` where it has none."""
    return name.encode("utf-8", "surrogateescape")


def decode(name: bytes) -> str:
    """Return a name as text; bytes that are no UTF-8 become surrogates (PEP 383)."""
    return name.decode("utf-8", "surrogateescape")


def check_names(path: str) -> None:
    """Raise `InvalidPath` for names that no Linux file system could hold."""
    raw = _encoded(path)
    if len(raw) > NAME_MAX and max(map(len, raw.split(b"/"))) > NAME_MAX:
        raise errors.InvalidPath(path, msg=f"path '{{path}}' has a name of over {NAME_MAX} bytes")


def check_target(target: str) -> None:
    """Raise `InvalidPath` for what Linux would not take as a symbolic link's target."""
    if not target or "\0" in target or len(_encoded(target)) > _TARGET_MAX:
        raise errors.InvalidPath(target, msg="'{path}' cannot be the target of a symbolic link")


def find(tree: Tree, path: str, *, follow: bool = True) -> Node:
    """Return the node at *path*; with *follow* false, a link at its end itself."""
    try:
        node = tree.find(_raw(path), follow=follow)
    except TreeError as error:
        raise _translated(error, path) from None
    if node is None:
        raise errors.ResourceNotFound(path)
    return node


def find_directory(tree: Tree, path: str) -> Node:
    """Return the directory that *path* leads to."""
    node = find(tree, path)
    if not node.is_directory:
        raise errors.DirectoryExpected(path)
    return node


def resolve(tree: Tree, path: str, *, follow: bool = True) -> tuple[bytes, ...]:
    """Return the names that lead to where *path* points, links followed."""
    try:
        return tree.resolve(_raw(path), follow=follow)
    except TreeError as error:
        raise _translated(error, path) from None


def locate(tree: Tree, path: str, *, follow: bool) -> Place:
    """Return the place of *path*, where something is or may be put."""
    names = resolve(tree, path, follow=follow)
    parent = tree.root
    if not names:
        return Place(parent, b"", parent)
    for name in names[:-1]:
        child = parent.children.get(name)
        if child is None:
            raise errors.ResourceNotFound(path)
        parent = child
    return Place(parent, names[-1], parent.children.get(names[-1]))


def locate_existing(tree: Tree, path: str) -> tuple[Place, Node]:
    """Return the place of a name, links not followed, and what it stands for."""
    place = locate(tree, path, follow=False)
    if place.node is None:
        raise errors.ResourceNotFound(path)
    return place, place.node


def _raw(path: str) -> bytes:
    return encode(normpath(path))


def _encoded(path: str) -> bytes:
    try:
        return encode(path)
    except UnicodeEncodeError as error:
        raise errors.InvalidCharsInPath(path) from error


def _translated(error: TreeError, path: str) -> errors.FSError:
    if isinstance(error, LinkLoop):
        return errors.OperationFailed(path, error, "'{path}': {details}")
    return errors.ResourceNotFound(path)
