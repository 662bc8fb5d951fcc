"""What the tests of layers share: tars in memory, and trees told as plain data."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter
from support.layers import layer
from support.trees import Entry

from layers import tarstream
from layers.descriptor import Descriptor
from layers.digest import Digest
from layers.errors import MalformedLayer
from layers.kinds import Kind
from layers.merge import LayerIndex, merge
from layers.scratch import Contents
from layers.tarindex import index_layer

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


def index(tar, limits=None, warn=None):
    """The entries of a tar, as `index_layer` reads it."""
    return list(index_layer(Memory(tar), LAYER, limits, warn))


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


def refused(*layers):
    """The problem for which the layers cannot be merged."""
    with pytest.raises(MalformedLayer) as caught:
        merged(*layers)
    assert caught.value.layer == f"layer {len(layers) - 1}"
    return caught.value.problem


def text(tree, path):
    return contents(tree.find(path.encode()))


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


class Answers(BaseAdapter):
    """What stands where a registry would: *answer* gives (status, headers, body) for a request.

    A body may be bytes, or a list of pieces of which the last may be an exception to raise.
    """

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.requests = []

    def send(self, request, **_options):
        self.requests.append(request)
        status, headers, body = self.answer(request)
        pieces = list(body) if isinstance(body, list) else [body]
        response = requests.adapters.HTTPAdapter().build_response(
            request,
            urllib3.HTTPResponse(
                _Pieces(pieces), headers=headers, status=status, preload_content=False
            ),
        )
        response.raw.enforce_content_length = True
        return response

    def close(self):
        """Nothing is open."""


class _Pieces:
    """A body that comes piece by piece, and may break off."""

    closed = False

    def __init__(self, pieces):
        self._pieces = pieces

    def read(self, amount=None):
        while self._pieces:
            if isinstance(self._pieces[0], Exception):
                raise self._pieces.pop(0)
            wanted = len(self._pieces[0]) if amount is None else amount
            data, rest = self._pieces[0][:wanted], self._pieces[0][wanted:]
            self._pieces[:1] = [rest] if rest else []
            if data:
                return data
        return b""

    def close(self):
        self.closed = True
