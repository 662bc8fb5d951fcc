"""What COPY and ADD read from: a tree (a stage, an image, an archive) or any PyFilesystem.

Both show entries without following links; `resolve` does that, inside the source and never out.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fs.errors import FSError, MissingInfoNamespace

from assembler.errors import BuildError
from layers.kinds import OF_FORMAT, Kind
from layers.scratch import Contents
from layers.tree import LINK_LIMIT, Node, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fs.base import FS
    from fs.info import Info

    from assembler.dockerfile.ignore import Matched, Rules

_CHUNK = 1 << 20
_READ_BY_ALL = 0o444
_UNIX = ("basic", "lstat", "link")
_OTHERS = ("basic", "details", "access", "link")
# What opening says of a file or directory that was listed, and is gone or something else now.
_SWAPPED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL}


class _Identity(NamedTuple):
    """Which version of which file: device, inode, time of change in nanoseconds."""

    device: int
    inode: int
    modified: int


class Source(Protocol):
    """Files to be copied. Paths are clean bytes, empty for the root."""

    name: str
    """What errors call it."""

    def names(self, path: bytes) -> Mapping[bytes, Node]:
        """Return what is in the directory at *path*, in the order of the names' bytes.

        The nodes carry metadata alone: neither children nor, as a rule, data. One node under two
        names is a hard link.
        """
        ...

    def size(self, path: bytes, node: Node) -> int:
        """Return the length in bytes of the file at *path*."""
        ...

    def read(self, path: bytes, node: Node) -> Iterator[bytes]:
        """Yield the contents of the file at *path*."""
        ...

    def readable(self, path: bytes, node: Node) -> bool:
        """Return whether the file at *path* may be read, as far as can be told without reading."""
        ...

    def why_missing(self, path: bytes) -> str:
        """Return, for an error's end, why *path* may not be there; empty if nobody knows."""
        ...


class TreeSource:
    """A merged tree: owners, xattrs and devices are those of the tree."""

    def __init__(self, tree: Tree, name: str) -> None:
        self.name = name
        self.tree = tree

    def names(self, path: bytes) -> Mapping[bytes, Node]:
        """See `Source`."""
        node = self.tree.find(path, follow=False)
        if node is None or not node.is_directory:
            return {}
        return {name: node.children[name] for name in sorted(node.children)}

    def size(self, path: bytes, node: Node) -> int:
        """See `Source`."""
        return node.size

    def read(self, path: bytes, node: Node) -> Iterator[bytes]:
        """See `Source`."""
        return Contents(node.data).chunks()

    def readable(self, path: bytes, node: Node) -> bool:
        """See `Source`."""
        return True

    def why_missing(self, path: bytes) -> str:
        """See `Source`."""
        return ""

    def subtree(self, path: bytes) -> Tree:
        """Return the directory at *path* as a tree, which shares its nodes with this one."""
        return Tree(self.tree.find(path, follow=False))


class ArchiveSource(TreeSource):
    """What is in an archive. *implied* directories have no entry of their own in it."""

    def __init__(self, tree: Tree, name: str, implied: frozenset[Node]) -> None:
        super().__init__(tree, name)
        self.implied = implied


class FolderSource:
    """Any PyFilesystem, without what *rules* exclude. Everything in it belongs to 0:0.

    Directories are listed when somebody asks for them, once. Where the file system has inodes, as
    a folder of this machine has, hard links are found, and a file that changes between its listing
    and its reading is noticed.
    """

    def __init__(self, fs: FS, rules: Rules, name: str, ignore_file: str) -> None:
        self.name = name
        self._fs = fs
        # Asking for less is much faster, where what there is will do.
        unix = fs.getinfo("/", ["lstat"]).has_namespace("lstat")
        self._namespaces = _UNIX if unix else _OTHERS
        self._rules = rules
        self._ignore_file = ignore_file
        self._listed: dict[bytes, dict[bytes, Node]] = {}
        self._matched: dict[bytes, Matched] = {b"": ()}
        self._inodes: dict[tuple[int, int], Node] = {}
        self._facts: dict[Node, tuple[int, _Identity | None]] = {}
        """Of a file: its size, and which inode it was, where the file system has inodes."""
        self.skipped: list[str] = []
        """Sockets, which no image can hold."""

    def names(self, path: bytes) -> Mapping[bytes, Node]:
        """See `Source`."""
        listed = self._listed.get(path)
        if listed is None:
            listed = self._listed[path] = self._list(path)
        return listed

    def size(self, path: bytes, node: Node) -> int:
        """See `Source`."""
        return self._facts[node][0]

    def read(self, path: bytes, node: Node) -> Iterator[bytes]:
        """See `Source`. Raises `BuildError` for a file that cannot be read, or that changed."""
        shown = os.fsdecode(path)
        left, listed = self._facts[node]
        try:
            with self._fs.openbin(shown) as file:
                if _identity(file) not in {listed, None}:
                    raise _changed(shown)
                # What is asked for is allocated: a small file must not cost a large chunk.
                while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                    left -= len(chunk)
                    yield chunk
                # A file that has grown is known by its time; whoever wants the bytes counts them.
                if _identity(file) not in {listed, None}:
                    raise _changed(shown)
        except (OSError, FSError) as error:
            raise _failed(shown, error) from None

    def readable(self, path: bytes, node: Node) -> bool:
        """See `Source`. Where the mode lets everybody read, nobody is asked."""
        shown = os.fsdecode(path)
        if node.mode & _READ_BY_ALL == _READ_BY_ALL or not self._fs.hassyspath(shown):
            return True
        return os.access(self._fs.getsyspath(shown), os.R_OK)

    def why_missing(self, path: bytes) -> str:
        """See `Source`."""
        pattern = self._rules.reason(os.fsdecode(path))
        return f" (the pattern {pattern!r} of {self._ignore_file} excludes it)" if pattern else ""

    def _list(self, path: bytes) -> dict[bytes, Node]:
        folder = os.fsdecode(path)
        matched = self._matched.get(path, ())
        found: dict[bytes, Node] = {}
        prefix = f"{folder}/" if folder else ""
        try:
            scanned = self._fs.scandir(folder or "/", namespaces=self._namespaces)
            infos = {os.fsencode(info.name): info for info in scanned}
        except (OSError, FSError) as error:
            raise _failed(folder or ".", error) from None
        for name in sorted(infos):
            shown = prefix + os.fsdecode(name)
            excluded, state = self._rules.match(shown, matched)
            try:
                node = self._node(infos[name], shown)
            except MissingInfoNamespace:
                raise BuildError(
                    f"{shown}: {self.name} does not say what it is; make it anew"
                ) from None
            if node is None or (excluded and not (node.is_directory and self._rules.takes_back)):
                continue
            if node.is_directory:
                key = os.fsencode(shown)
                self._matched[key] = state
                if excluded and not self.names(key):
                    # Excluded, and nothing in it is taken back.
                    continue
            found[name] = node
        return found

    def _node(self, info: Info, shown: str) -> Node | None:
        raw: Mapping[str, Any] = info.raw.get("lstat") or {}
        mode = raw.get("st_mode") or _mode_of(info)
        kind = OF_FORMAT.get(stat.S_IFMT(mode))
        if kind is None:
            self.skipped.append(shown)
            return None
        inode = (raw.get("st_dev", 0), raw.get("st_ino", 0))
        if kind is not Kind.DIRECTORY and raw.get("st_nlink", 1) > 1 and inode in self._inodes:
            return self._inodes[inode]
        node = Node(kind, stat.S_IMODE(mode), mtime=_seconds(info, raw))
        if kind is Kind.SYMLINK:
            node.target = os.fsencode(info.target or "")
        elif kind is Kind.FILE:
            # An image has modes, but no inodes.
            identity = _Identity(*inode, raw["st_mtime_ns"]) if "st_mtime_ns" in raw else None
            self._facts[node] = (raw["st_size"] if raw else info.size, identity)
        elif kind in {Kind.CHAR, Kind.BLOCK}:
            device = raw.get("st_rdev", 0)
            node.device = (os.major(device), os.minor(device))
        self._inodes[inode] = node
        return node


class TextSource:
    """One file: a here-document, 0644 and 0:0."""

    def __init__(self, name: str, text: str, mtime: int) -> None:
        self.name = "the here-document"
        self._text = text.encode("utf-8", "surrogateescape")
        self._node = Node(Kind.FILE, 0o644, mtime=mtime)
        self._path = os.fsencode(name)

    def names(self, path: bytes) -> Mapping[bytes, Node]:
        """See `Source`."""
        return {} if path else {self._path: self._node}

    def size(self, path: bytes, node: Node) -> int:
        """See `Source`."""
        return len(self._text)

    def read(self, path: bytes, node: Node) -> Iterator[bytes]:
        """See `Source`."""
        yield self._text

    def readable(self, path: bytes, node: Node) -> bool:
        """See `Source`."""
        return True

    def why_missing(self, path: bytes) -> str:
        """See `Source`."""
        return ""


def resolve(source: Source, path: bytes) -> tuple[bytes, Node | None]:
    """Follow the links on *path*, its last one too; return where it ends and what is there.

    The source's root is its own parent, as that of any file system. Raises `BuildError` for loops.
    """
    todo = _parts(path)
    names: list[bytes] = []
    node: Node | None = Node(Kind.DIRECTORY, 0o755)
    links = 0
    while todo:
        name = todo.pop()
        if name == b"..":
            del names[-1:]
            continue
        child = source.names(b"/".join(names)).get(name)
        if child is not None and child.kind is Kind.SYMLINK:
            links += 1
            if links > LINK_LIMIT:
                raise BuildError(f"{os.fsdecode(path)} runs through a loop of symbolic links")
            if child.target.startswith(b"/"):
                names.clear()
            todo += _parts(child.target)
            continue
        names.append(name)
        if child is None:
            return b"/".join([*names, *reversed(todo)]), None
        if todo and not child.is_directory and b".." not in todo:
            return b"/".join([*names, *reversed(todo)]), None
    where = b"/".join(names)
    if names:
        node = source.names(b"/".join(names[:-1])).get(names[-1])
    return where, node


def _parts(path: bytes) -> list[bytes]:
    parts = [part for part in path.split(b"/") if part not in {b"", b"."}]
    parts.reverse()
    return parts


def _mode_of(info: Info) -> int:
    """Return a mode for file systems that are no Unix's: archives, memory."""
    permissions = info.permissions.mode if info.has_namespace("access") and info.permissions else 0
    if info.is_dir:
        return stat.S_IFDIR | (permissions or 0o755)
    if info.has_namespace("link") and info.target:
        return stat.S_IFLNK | 0o777
    return stat.S_IFREG | (permissions or 0o644)


def _seconds(info: Info, raw: Mapping[str, Any]) -> int:
    if "st_mtime" in raw:
        return math.floor(float(raw["st_mtime"]))
    modified = info.raw.get("details", {}).get("modified")
    return math.floor(float(str(modified))) if modified else 0


def _identity(file: Any) -> _Identity | None:
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError, ValueError):
        return None  # no file of this machine
    return _Identity(status.st_dev, status.st_ino, status.st_mtime_ns)


def _changed(shown: str) -> BuildError:
    return BuildError(f"{shown}: it changed while the build read the context")


def _failed(shown: str, error: Exception) -> BuildError:
    """Return the error for a file or directory that was listed and cannot be opened."""
    cause = getattr(error, "exc", None) or error
    swapped = getattr(cause, "errno", None) in _SWAPPED
    return _changed(shown) if swapped else unreadable(shown, error)


def unreadable(shown: str, error: Exception) -> BuildError:
    """Return the error for a file of a context that cannot be read, with what to do."""
    cause = getattr(error, "exc", None) or error  # what PyFilesystem's errors come from
    reason = getattr(cause, "strerror", None) or cause
    denied = getattr(cause, "errno", None) in {errno.EACCES, errno.EPERM}
    advice = "; make it readable, or exclude it" if denied else ""
    return BuildError(f"{shown}: it cannot be read ({reason}){advice}")
