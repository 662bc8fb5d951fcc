"""Layers upon one another (OCI image-spec v1.1, layer.md, "Applying Changesets").

Pure: entries and a tree in, the tree changed in place. No file is read here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layers.errors import MalformedLayer
from layers.kinds import Kind
from layers.limits import Limits
from layers.tree import Data, Node, NotADirectory, Origin, Tree, TreeError, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layers.tarindex import Entry
    from layers.tree import DataFile

_PREFIX = b".wh."
_META_PREFIX = b".wh..wh."
_WAYS = (Kind.DIRECTORY, Kind.SYMLINK)
_META_NAMES = frozenset({b".wh..wh.aufs", b".wh..wh.plnk", b".wh..wh.orph"})


class Mark(enum.Enum):
    """What a name that begins with `.wh.` asks for."""

    REMOVE = enum.auto()
    OPAQUE = enum.auto()
    DROP = enum.auto()


def parse_whiteout(name: bytes) -> tuple[Mark, bytes] | None:
    """Tell a whiteout's meaning and the name it removes; `None` for an ordinary name.

    Raises `ValueError` for a whiteout of nothing (layer.md, "Whiteouts").
    """
    if not name.startswith(_PREFIX):
        return None
    if name == b".wh..wh..opq":
        return Mark.OPAQUE, b""
    if name.startswith(_META_PREFIX) and name in _META_NAMES:
        return Mark.DROP, b""
    target = name[len(_PREFIX) :]
    if target in (b"", b".", b".."):
        raise ValueError("a whiteout must name what it removes")
    return Mark.REMOVE, target


@dataclass(frozen=True, slots=True)
class LayerIndex:
    """One layer, read: its name for errors, its entries in order, the file their data are in."""

    name: str
    entries: Sequence[Entry]
    file: DataFile


def merge(layers: Iterable[LayerIndex], limits: Limits | None = None) -> Tree:
    """Apply layers, bottom first, to an empty root.

    Raises `MalformedLayer` for what cannot be applied, `LimitExceeded` past *limits*.
    """
    limits = limits or Limits()
    tree = Tree()
    entries = total = 0
    for layer in layers:
        entries += len(layer.entries)
        total += layer.file.size
        limits.check("entries", entries, f"layer {layer.name}: the image's number of entries")
        limits.check("total_bytes", total, f"layer {layer.name}: the image's plain size")
        apply_layer(tree, layer, limits)
    return tree


def apply_layer(tree: Tree, layer: LayerIndex, limits: Limits | None = None) -> None:
    """Apply one layer to *tree* in place."""
    _Application(tree, layer, limits or Limits()).run()


class _Application:
    """One layer being applied: whiteouts act on what was there before, then entries in order."""

    def __init__(self, tree: Tree, layer: LayerIndex, limits: Limits) -> None:
        self._tree = tree
        self._layer = layer
        self._limits = limits
        # Hard links whose target has not come yet, by the path they will have.
        self._deferred: dict[bytes, Entry] = {}
        # The directory of the last entry: neighbours in a tar are neighbours in the tree.
        self._last_path = b""
        self._last_parent = tree.root

    def run(self) -> None:
        ordinary: list[Entry] = []
        for entry in self._layer.entries:
            try:
                if not self._white_out(entry):
                    ordinary.append(entry)
            except (TreeError, ValueError) as error:
                raise self._error(entry, str(error)) from None
        for entry in ordinary:
            try:
                self._apply(entry)
            except TreeError as error:
                raise self._error(entry, str(error)) from None
        self._link_deferred()

    def _white_out(self, entry: Entry) -> bool:
        """Act on a whiteout; return whether *entry* was one."""
        if _PREFIX not in entry.path:
            return False
        parent_path, _, name = entry.path.rpartition(b"/")
        if parent_path.startswith(_PREFIX) or b"/" + _PREFIX in parent_path:
            if _is_meta(parent_path):
                return True
            raise ValueError("its path runs through a whiteout")
        whiteout = parse_whiteout(name)
        if whiteout is None:
            return False
        mark, target = whiteout
        parent = self._find_directory(parent_path) if mark is not Mark.DROP else None
        if parent is not None:
            if mark is Mark.OPAQUE:
                parent.children = {}
            else:
                parent.children.pop(target, None)
        return True

    def _find_directory(self, path: bytes) -> Node | None:
        """Return the directory at *path*, `None` where there is none."""
        try:
            node = self._tree.find(path)
        except NotADirectory:
            return None
        return node if node is not None and node.is_directory else None

    def _apply(self, entry: Entry) -> None:
        if not entry.path:
            _set_metadata(self._tree.root, entry)
            return
        parent, name = self._parent(entry)
        if self._deferred:
            self._deferred.pop(entry.path, None)
        if entry.kind is Kind.HARDLINK:
            # What the link replaces goes first: it cannot be the link's target, or hold it.
            self._remove(parent, name)
            target = self._link_target(entry)
            if target is None:
                self._deferred[entry.path] = entry
                return
            self._put(parent, name, target, entry)
            return
        existing = parent.children.get(name)
        if existing is not None and existing.is_directory and entry.kind is Kind.DIRECTORY:
            _set_metadata(existing, entry)
            return
        self._put(parent, name, _node(entry, self._layer.file), entry)

    def _parent(self, entry: Entry) -> tuple[Node, bytes]:
        """Return the directory that *entry* goes into, made where it is missing, and its name."""
        parent_path, _, name = entry.path.rpartition(b"/")
        if parent_path != self._last_path:
            self._last_parent = self._directory(parent_path, entry.mtime)
            self._last_path = parent_path
        return self._last_parent, name

    def _directory(self, path: bytes, mtime: int) -> Node:
        node = self._tree.root
        if path:
            # The common way: every parent is there and is a directory.
            for part in path.split(b"/"):
                child = node.children.get(part)
                if child is None or child.kind is not Kind.DIRECTORY:
                    return self._tree.make_directories(path, mtime)
                node = child
        return node

    def _remove(self, parent: Node, name: bytes) -> None:
        replaced = parent.children.pop(name, None)
        if replaced is not None and replaced.kind in _WAYS:
            # The last entry's directory may have been reached through what is gone now.
            self._last_path, self._last_parent = b"", self._tree.root

    def _put(self, parent: Node, name: bytes, node: Node, entry: Entry) -> None:
        self._remove(parent, name)
        parent.children[name] = node
        if len(parent.children) > self._limits.directory_entries:
            folder = show(entry.path.rpartition(b"/")[0] or b"/")
            what = f"layer {self._layer.name}: the number of names in {folder}"
            self._limits.check("directory_entries", len(parent.children), what)

    def _link_target(self, entry: Entry) -> Node | None:
        """Return the node a hard link names; `None` if it is not there (yet)."""
        if not entry.target:
            raise TreeError("it is a hard link to the root directory")
        parent_path, _, name = entry.target.rpartition(b"/")
        parent = self._tree.find(parent_path)
        if parent is None:
            return None
        if not parent.is_directory:
            raise TreeError(f"it is a hard link through {show(parent_path)}, which is no directory")
        target = parent.children.get(name)
        if target is not None and target.is_directory:
            raise TreeError(f"it is a hard link to the directory {show(entry.target)}")
        return target

    def _link_deferred(self) -> None:
        """Make the links whose targets came later; links to links may need several rounds."""
        while self._deferred:
            waiting = self._deferred
            self._deferred = {}
            for entry in waiting.values():
                try:
                    self._apply(entry)
                except TreeError as error:
                    raise self._error(entry, str(error)) from None
            if len(self._deferred) == len(waiting):
                entry = next(iter(self._deferred.values()))
                problem = f"it is a hard link to {show(entry.target)}, which does not exist"
                raise self._error(entry, problem)

    def _error(self, entry: Entry, problem: str) -> MalformedLayer:
        return MalformedLayer(self._layer.name, f"entry {show(entry.path)}: {problem}")


def _is_meta(parent_path: bytes) -> bool:
    """Whether a path lies in one of AUFS's own directories, which are dropped whole."""
    return any(part in _META_NAMES for part in parent_path.split(b"/"))


def _set_metadata(node: Node, entry: Entry) -> None:
    if entry.kind is not Kind.DIRECTORY:
        raise TreeError("the image's root must be a directory")
    node.mode, node.uid, node.gid = entry.mode, entry.uid, entry.gid
    node.mtime, node.xattrs = entry.mtime, entry.xattrs
    # The header's block belongs to this layer's file; directories are cheap to write anew.
    node.origin = None


def _node(entry: Entry, file: DataFile) -> Node:
    node = Node(entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime)
    node.xattrs = entry.xattrs
    if entry.kind is Kind.FILE:
        node.data = Data(file, entry.offset, entry.size, entry.segments)
        if entry.start >= 0:
            node.origin = Origin(entry.start, entry.path)
    elif entry.kind is Kind.SYMLINK:
        node.target = entry.target
    elif entry.kind in (Kind.CHAR, Kind.BLOCK):
        node.device = entry.device
    return node
