"""Subtrees brought from one directory of an image into another, by copying or by moving nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs import errors

from layers.kinds import Kind
from layers.tree import Node

if TYPE_CHECKING:
    from collections.abc import Callable

    from layers.scratch import Scratch

# Whoever copies owns the copy; setuid and setgid were meant for the owner of before.
_KEPT_BITS = 0o1777


class Copier:
    """Makes copies that share their data's place with the original.

    As with `cp -R`, copies belong to 0:0 and have no xattrs; hard links among what one copier
    copies stay hard links.
    """

    def __init__(self, scratch: Scratch, *, preserve_time: bool) -> None:
        self._scratch = scratch
        self._preserve_time = preserve_time
        self._copies: dict[Node, Node] = {}

    def copy(self, node: Node) -> Node:
        """Return the copy of *node*, a directory's without what is in it."""
        copied = self._copies.get(node)
        if copied is None:
            mtime = node.mtime if self._preserve_time else self._scratch.mtime
            copied = self._copies[node] = Node(node.kind, node.mode & _KEPT_BITS, mtime=mtime)
            copied.target, copied.device = node.target, node.device
            if node.kind is Kind.FILE:
                copied.data = self._scratch.settle(node)
        return copied


def merge_directories(
    source: Node, target: Node, transfer: Callable[[Node], Node], path: str
) -> None:
    """Put what *transfer* makes of everything in *source* into *target*, or change nothing.

    Directories that both have are merged; other things replace what has their name. *path* names
    *target* in errors, for a directory that would replace something else or the reverse.
    """
    _check_mergeable(source, target, path)
    stack = [(source, target)]
    while stack:
        here, there = stack.pop()
        for name, child in list(here.children.items()):
            placed = there.children.get(name)
            if placed is None or not child.is_directory:
                placed = there.children[name] = transfer(child)
            if child.is_directory and placed is not child:
                stack.append((child, placed))


def _check_mergeable(source: Node, target: Node, path: str) -> None:
    stack = [(source, target)]
    while stack:
        here, there = stack.pop()
        for name in here.children.keys() & there.children.keys():
            child, existing = here.children[name], there.children[name]
            if child.is_directory and existing.is_directory:
                stack.append((child, existing))
            elif child.is_directory:
                raise errors.DirectoryExpected(path)
            elif existing.is_directory:
                raise errors.FileExpected(path)
