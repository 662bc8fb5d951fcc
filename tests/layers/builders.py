"""What the tests of layers share: tars in memory, and trees told as plain data."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from support.layers import layer
from support.trees import Entry

from layers import tarstream
from layers.descriptor import Descriptor
from layers.digest import Digest
from layers.merge import LayerIndex, merge
from layers.scratch import Contents
from layers.tarindex import Kind, index_layer

if TYPE_CHECKING:
    from pathlib import Path

    from support.images import Layout

    from layers.tree import Tree

_KINDS = {
    "-": "file",
    "d": "directory",
    "l": "symlink",
    "c": "char",
    "b": "block",
    "p": "fifo",
}
LAYER = "sha256:" + "0" * 64


class Memory:
    """Bytes that are read as a `Spool` is; *step* bounds what one read gives."""

    def __init__(self, data, step=None):
        self.data = data
        self.size = len(data)
        self.step = step or len(data) or 1

    def read_at(self, offset, length):
        return self.data[offset : offset + min(length, self.step)]


def index(tar, limits=None):
    """The entries of a tar, as `index_layer` reads it."""
    return list(index_layer(Memory(tar), LAYER, limits))


def merged(*tars, limits=None):
    """The tree of layers that are given as tars, or as lists of items."""
    indexes = []
    for number, tar in enumerate(tars):
        data = tar if isinstance(tar, bytes) else layer(*tar)
        memory = Memory(data)
        entries = list(index_layer(memory, f"layer {number}", limits))
        indexes.append(LayerIndex(f"layer {number}", entries, memory))
    return merge(indexes, limits)


def paths(tree: Tree):
    """All paths of a tree, in order, as text."""
    return [os.fsdecode(path) for path, _ in tree.walk()]


def contents(node):
    """A file's whole contents."""
    return b"".join(Contents(node.data).chunks())


def told(tree: Tree):
    """A tree as plain data: path -> kind, metadata, contents, and all names of the inode."""
    names = {}
    for path, node in tree.walk():
        names.setdefault(node, []).append(path)
    return {
        path: (
            node.kind.value,
            node.mode,
            node.uid,
            node.gid,
            node.mtime,
            node.target,
            node.device,
            node.xattrs,
            contents(node) if node.kind is Kind.FILE else None,
            tuple(names[node]) if len(names[node]) > 1 else (),
        )
        for path, node in tree.walk()
    }


def as_snapshot(tree: Tree):
    """A tree as `support.trees` tells of real directories, without the root."""
    return {
        path: Entry(
            kind=_KINDS[kind],
            mode=mode,
            uid=uid,
            gid=gid,
            mtime=mtime,
            size=None if data is None else len(data),
            sha256=None if data is None else hashlib.sha256(data).hexdigest(),
            target=target or None,
            device=device if kind in "cb" else None,
            xattrs=tuple(sorted((os.fsdecode(key), v) for key, v in (xattrs or {}).items())),
            links=links,
        )
        for path, (kind, mode, uid, gid, mtime, target, device, xattrs, data, links) in told(
            tree
        ).items()
    }


def rendered(tree: Tree):
    """The tar that a tree is streamed as."""
    return b"".join(
        span if isinstance(span, bytes) else span.file.read_at(span.offset, span.length)
        for span in tarstream.spans(tree)
    )


def descriptor(data, media_type=""):
    """The descriptor of a blob."""
    return Descriptor(media_type, Digest.of(data), len(data))


def damage(path: Path, data: bytes = b"damaged") -> None:
    """Overwrite the beginning of a file; its size stays."""
    before = path.read_bytes()
    path.write_bytes(data[: len(before)] + before[len(data) :])


def blob_of(layout: Layout, data: bytes) -> Path:
    """Where a layout keeps the blob with these bytes."""
    return layout.blob_path("sha256:" + hashlib.sha256(data).hexdigest())
