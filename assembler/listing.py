"""`ls`: the merged tree of an image or a `.gvmi`, as lines of text."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assembler import gvmi, squashlist
from assembler.assembling import open_tree
from assembler.errors import BuildError
from assembler.inspection import gvmi_path
from assembler.printable import printable
from layers.kinds import Kind
from layers.naming import find_source
from layers.tree import Tree, TreeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from assembler.progress import Progress
    from layers.session import Session
    from layers.sources import Wanted
    from layers.tree import Node


@dataclass(frozen=True, slots=True)
class Listing:
    """A tree, and the sizes of files whose data are not at hand."""

    tree: Tree
    sizes: Mapping[Node, int]


@contextmanager
def open_listing(
    subject: str, wanted: Wanted, session: Session, progress: Progress
) -> Iterator[Listing]:
    """Read the tree of an image or of a .gvmi."""
    path = gvmi_path(subject)
    if path is not None:
        file = gvmi.GvmiFile.read(path)
        yield Listing(*squashlist.read_tree(path, file.superblock.inodes))
        return
    source = find_source(subject, session.store)
    with open_tree(source, wanted, session, progress) as (_, tree):
        yield Listing(tree, {})


def lines(listing: Listing, path: str, *, long: bool, recursive: bool) -> Iterator[str]:
    """Return one line for each entry at or below *path*; names are relative to it, as in `ls`.

    Raises `BuildError` for a path that is not there.
    """
    raw = path.encode("utf-8", "surrogateescape")
    try:
        node = listing.tree.find(raw)
    except TreeError as error:
        raise BuildError(f"{path}: {error}") from None
    if node is None:
        raise BuildError(f"{path}: there is no such path in the image")
    if not node.is_directory:
        yield _line(raw, node, listing, long=long)
    elif recursive:
        for name, child in Tree(node).walk():
            yield _line(name, child, listing, long=long)
    else:
        for name in sorted(node.children):
            yield _line(name, node.children[name], listing, long=long)


def _line(name: bytes, node: Node, listing: Listing, *, long: bool) -> str:
    text = _printable(name)
    if not long:
        return text
    moment = datetime.fromtimestamp(min(max(node.mtime, 0), 0xFFFFFFFF), UTC)
    size = listing.sizes.get(node, node.size)
    number = f"{node.device[0]},{node.device[1]}" if node.kind in (Kind.CHAR, Kind.BLOCK) else size
    target = f" -> {_printable(node.target)}" if node.kind is Kind.SYMLINK else ""
    owner = f"{node.uid}:{node.gid}"
    return f"{mode_string(node)} {owner:>11} {number:>12} {moment:%Y-%m-%d %H:%M} {text}{target}"


def mode_string(node: Node) -> str:
    """Return kind and permissions as `ls -l` shows them."""
    letters = [
        letter if node.mode & 1 << (8 - position) else "-"
        for position, letter in enumerate("rwxrwxrwx")
    ]
    for bit, position, letter in ((0o4000, 2, "s"), (0o2000, 5, "s"), (0o1000, 8, "t")):
        if node.mode & bit:
            letters[position] = letter if letters[position] == "x" else letter.upper()
    return node.kind.value + "".join(letters)


def _printable(name: bytes) -> str:
    """Return a name as one line of text; what is not UTF-8 is escaped, too."""
    return printable(name.decode("utf-8", "backslashreplace"))
