"""COPY, and the copying half of ADD: which files of a source go where in the image.

BuildKit's rules (its `fsutil` copier and `dockerfile2llb`): a directory means its contents; links
in what is copied stay links, links on the way to it and to the destination are followed, inside the
source and inside the image; the destination itself keeps its metadata where it exists, directories
below it get the source's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from assembler.copysource import resolve
from assembler.dockerfile.globs import GlobError, has_wildcards, match_path, unescape
from assembler.dockerfile.ignore import Rules
from assembler.errors import BuildError
from layers.changes import SizeChanged
from layers.kinds import Kind
from layers.tree import Node, TreeError, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from assembler.chmod import Chmod
    from assembler.copysource import Source
    from assembler.dockerfile.ignore import Matched
    from layers.changes import Changes
    from layers.tree import Tree


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What COPY's flags ask for. *latest*, if given, is the latest time that a file can have."""

    owner: tuple[int, int] | None = None
    mode: Chmod | None = None
    exclude: Rules = field(default_factory=Rules)
    latest: int | None = None
    made: int = 0
    """The time of directories that are made because they are missing."""
    replace: bool = False
    """Whether what is no directory gives way to one, as when an archive is unpacked."""
    implied: frozenset[Node] = frozenset()
    """Directories of an archive that it has no entry for: they change nothing that is there."""


class NoMatch(BuildError):
    """A pattern that nothing matches: no error where a COPY has other sources."""


class Found(NamedTuple):
    """Something that a COPY source means: its path with all links followed, and its own name.

    What a link leads to is copied under the name of the link.
    """

    path: bytes
    name: bytes


@dataclass(frozen=True, slots=True)
class Item:
    """One entry to be written: where it comes from and what it will be."""

    source: Source
    origin: bytes
    path: bytes
    node: Node
    original: Node

    @property
    def size(self) -> int:
        """The length of a file's data."""
        is_file = self.node.kind is Kind.FILE
        return self.source.size(self.origin, self.original) if is_file else 0


def matches(source: Source, pattern: str) -> list[Found]:
    """Return what a COPY source means, links on the way and at the end followed.

    Raises `BuildError` for a malformed pattern, and where there is nothing; `NoMatch` for a pattern
    with wildcards.
    """
    if ".." in _clean(pattern).split("/"):
        raise BuildError(f"{pattern} leads out of {source.name}; only what is in it can be copied")
    try:
        fixed, wild = _split(_clean(pattern))
        expression = match_path("/".join(wild)) if wild else None
    except GlobError as error:
        raise BuildError(f"pattern {pattern}: {error}") from None
    base, node = resolve(source, os.fsencode(unescape("/".join(fixed))))
    if expression is None:
        if node is None:
            raise BuildError(
                f"{pattern}: there is nothing of that name in {source.name}"
                f"{source.why_missing(base)}"
            )
        return [Found(base, os.fsencode(unescape("/".join(fixed))).rpartition(b"/")[2])]
    found = []
    if node is not None and node.is_directory:
        depth = len(wild)
        found = [
            path
            for path in _paths(source, base, depth)
            if expression.fullmatch(os.fsdecode(path[len(base) :].lstrip(b"/")))
        ]
    if not found:
        raise NoMatch(f"{pattern}: nothing in {source.name} matches")
    return [Found(resolve(source, path)[0], path.rpartition(b"/")[2]) for path in found]


def _paths(source: Source, base: bytes, depth: int) -> Iterator[bytes]:
    for name, node in source.names(base).items():
        path = join(base, name)
        if depth == 1:
            yield path
        elif node.is_directory:
            yield from _paths(source, path, depth - 1)


def plan(
    source: Source, found: Iterable[Found], destination: str, tree: Tree, options: CopyOptions
) -> Iterator[Item]:
    """Yield what copying *found* of *source* to the absolute *destination* writes, in order.

    The items must be written as they come: what is yielded next depends on the tree. Raises
    `BuildError`, or `TreeError`, for a destination that cannot be.
    """
    for path, name in found:
        node = resolve(source, path)[1]
        if node is None:
            raise BuildError(f"{show(path)}: it is not in {source.name} any more")
        target = _target(tree, destination, name, node)
        yield from _missing(source, tree, target if node.is_directory else _up(target), options)
        copier = _Copier(source, tree, options)
        if node.is_directory:
            _check_directory(tree, target)
            yield from copier.children(path, target)
        else:
            yield copier.entry(path, node, target)


def _target(tree: Tree, destination: str, name: bytes, node: Node) -> bytes:
    """Return where *node* goes: into the destination if that is a directory, else to it."""
    names = tree.resolve(os.fsencode(destination))
    there = tree.find(b"/".join(names), follow=False)
    into = destination.endswith(("/", "/.")) or (there is not None and there.is_directory)
    if into and not node.is_directory:
        names = (*names, name)
    return b"/".join(names)


def _up(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _missing(source: Source, tree: Tree, path: bytes, options: CopyOptions) -> Iterator[Item]:
    """Yield the directories that are missing on the way to *path*, itself included."""
    names = path.split(b"/") if path else []
    for count in range(1, len(names) + 1):
        partial = b"/".join(names[:count])
        there = tree.find(partial, follow=False)
        if there is None:
            mode = options.mode.made if options.mode else 0o755
            made = Node(Kind.DIRECTORY, mode, *(options.owner or (0, 0)), options.made)
            yield Item(source, b"", partial, made, made)
        elif not there.is_directory:
            raise BuildError(f"/{os.fsdecode(partial)} is not a directory in the image")


def _check_directory(tree: Tree, target: bytes) -> None:
    there = tree.find(target, follow=False)
    if there is not None and not there.is_directory:
        raise BuildError(
            f"a directory cannot be copied to /{os.fsdecode(target)}, which is none; name another "
            "destination"
        )


def below(
    source: Source, origin: bytes, exclude: Rules, inner: bytes = b"", matched: Matched = ()
) -> Iterator[tuple[bytes, Node]]:
    """Yield what is below the directory at *origin* and not excluded, parents first.

    Its path comes with each node: from where the walk began, in which *inner* is *origin*. What
    *matched* says of the rules is handed down.
    """
    for name, node in source.names(origin).items():
        within = join(inner, name)
        excluded, state = exclude.match(os.fsdecode(within), matched)
        if not node.is_directory:
            if not excluded:
                yield within, node
            continue
        inside = below(source, join(origin, name), exclude, within, state)
        if excluded:
            # Only what is taken back inside makes the directory come along.
            first = next(inside, None) if exclude.takes_back else None
            if first is None:
                continue
            inside = chain([first], inside)
        yield within, node
        yield from inside


def join(folder: bytes, name: bytes) -> bytes:
    """Return the path of *name* in *folder*, which is empty for the root."""
    return folder + b"/" + name if folder else name


class _Copier:
    """Turns what is copied into items; hard links among it stay hard links."""

    def __init__(self, source: Source, tree: Tree, options: CopyOptions) -> None:
        self._source = source
        self._tree = tree
        self._options = options
        self._copies: dict[Node, Node] = {}
        self._folder: tuple[bytes, Node | None] = (b"", tree.root)
        # Where directories of the source are in the image, if not under the same names.
        self._moved: dict[bytes, bytes] = {}

    def children(self, origin: bytes, target: bytes) -> Iterator[Item]:
        """Yield what is in the directory at *origin*."""
        for inner, node in below(self._source, origin, self._options.exclude):
            path = self._place(inner, node, target)
            if node not in self._options.implied:
                yield self.entry(join(origin, inner), node, path)
            elif not self._is_there(inner, path):
                made = Node(Kind.DIRECTORY, 0o755, mtime=self._options.made)
                yield Item(self._source, b"", path, made, made)

    def _place(self, inner: bytes, node: Node, target: bytes) -> bytes:
        """Return where *inner* goes."""
        if not self._moved:
            return join(target, inner)
        folder, _, name = inner.rpartition(b"/")
        moved = self._moved.get(folder)
        if moved is None:
            return join(target, inner)
        path = join(moved, name)
        if node.is_directory:
            self._moved[inner] = path
        return path

    def _is_there(self, inner: bytes, path: bytes) -> bool:
        """Whether a directory is at *path*, or where a link there leads: the place of *inner*."""
        try:
            names = self._tree.resolve(path)
        except TreeError:
            return False  # a loop, which gives way
        there = self._tree.find(b"/".join(names), follow=False)
        if there is None or not there.is_directory:
            return False
        if b"/".join(names) != path:
            self._moved[inner] = b"/".join(names)
        return True

    def entry(self, origin: bytes, node: Node, path: bytes) -> Item:
        """Return one item, checked against what is at *path*."""
        self._check(path, node)
        return self._item(origin, node, path)

    def _there(self, path: bytes) -> Node | None:
        """Return what is at *path*. Most of the time the folder is the one that was looked up last.

        It is looked up when the first of its entries comes, and has been written by then.
        """
        folder, _, name = path.rpartition(b"/")
        if folder != self._folder[0]:
            self._folder = (folder, self._tree.find(folder, follow=False))
        parent = self._folder[1]
        return parent.children.get(name) if parent is not None else None

    def _check(self, path: bytes, node: Node) -> None:
        there = self._there(path)
        if there is None or there.is_directory == node.is_directory or self._options.replace:
            return
        if there.is_directory:
            raise BuildError(
                f"/{os.fsdecode(path)} is a directory in the image, and no file can take its place"
            )
        raise BuildError(
            f"/{os.fsdecode(path)} is not a directory in the image (a link, perhaps), and a "
            "directory cannot be copied over it; copy its contents to where it leads"
        )

    def _item(self, origin: bytes, node: Node, path: bytes) -> Item:
        copy = self._copies.get(node)
        if copy is None:
            copy = self._copies[node] = self._copied(node)
        return Item(self._source, origin, path, copy, node)

    def _copied(self, node: Node) -> Node:
        options = self._options
        uid, gid = options.owner or (node.uid, node.gid)
        mtime = node.mtime if options.latest is None else min(node.mtime, options.latest)
        mode = node.mode
        if options.mode is not None and node.kind is not Kind.SYMLINK:
            mode = options.mode.apply(mode, directory=node.is_directory)
        copy = Node(node.kind, mode, uid, gid, mtime)
        copy.target, copy.device = node.target, node.device
        copy.xattrs = dict(node.xattrs) if node.xattrs else None
        return copy


def write(items: Iterable[Item], changes: Changes) -> None:
    """Write *items*; raise `BuildError` for a file that is not as long as it was."""
    written: set[Node] = set()
    for item in items:
        if item.node in written:
            changes.link(item.path, item.node)
            continue
        if not item.node.is_directory:
            written.add(item.node)
        size = item.size
        chunks = item.source.read(item.origin, item.original) if size else ()
        try:
            changes.put(item.path, item.node, chunks, size)
        except SizeChanged:
            raise BuildError(
                f"{os.fsdecode(item.origin)}: its size changed while the build read it; build again"
            ) from None


def _clean(pattern: str) -> str:
    """Return a pattern without `.`, doubled slashes, and `x/..`; a leading slash means nothing."""
    names: list[str] = []
    for name in pattern.split("/"):
        if name == ".." and names and names[-1] != "..":
            names.pop()
        elif name not in {"", "."}:
            names.append(name)
    return "/".join(names)


def _split(pattern: str) -> tuple[list[str], list[str]]:
    """Return the names before the first one with a wildcard, and the rest."""
    names = pattern.split("/") if pattern else []
    for index, name in enumerate(names):
        if has_wildcards(name):
            return names[:index], names[index:]
    return names, []
