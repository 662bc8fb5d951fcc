"""What a COPY or ADD depends on, as one digest: the same key, the same layer.

In it are what the step stands on (the key of the step before), where it copies to, its flags, and
of everything it copies: path, type, mode, owner, link target, extended attributes and a digest of
the contents. Times are not: a file that was only touched is not copied again, as in BuildKit.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from layers.tarindex import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from assembler.copysource import Source
    from assembler.copystep import Part
    from layers.tree import Node

_VERSION = 1
"""To be raised when the same inputs come to give another layer."""

_BATCH = 256
"""Files that a thread hashes before it takes others: most are small."""


def first_key(*inputs: object) -> str:
    """Return the key of what a stage begins with."""
    return _digest([_VERSION, *map(str, inputs)])


def next_key(before: str, *inputs: object) -> str:
    """Return the key of a step whose inputs are known by their text."""
    return _digest([before, *map(str, inputs)])


def copy_key(before: str, parts: Sequence[Part], *inputs: object) -> str:
    """Return the key of a step that copies *parts*; reads all of them."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        listed = [[_options(part), *_listing(part, pool)] for part in parts]
    return _digest([before, *map(str, inputs), listed])


def _options(part: Part) -> list[object]:
    options = part.options
    rules = [rule.text for rule in options.exclude.rules]
    chmod = (options.mode.octal, options.mode.actions) if options.mode else None
    return [options.owner, chmod, rules, options.latest, options.made, options.replace]


def _listing(part: Part, pool: ThreadPoolExecutor) -> list[list[Any]]:
    """Describe everything below the part's paths, in order; contents are hashed in parallel."""
    found: list[tuple[bytes, Node]] = []
    for path in part.paths:
        found += _walk(part.source, path)
    batches = [found[start : start + _BATCH] for start in range(0, len(found), _BATCH)]
    hashed = pool.map(lambda batch: [_contents(part.source, *item) for item in batch], batches)
    hashes = [digest for batch in hashed for digest in batch]
    names: dict[Node, int] = {}
    return [
        [*_described(path, node), names.setdefault(node, len(names)), digest]
        for (path, node), digest in zip(found, hashes, strict=True)
    ]


def _walk(source: Source, path: bytes) -> Iterator[tuple[bytes, Node]]:
    folder, _, name = path.rpartition(b"/")
    node = source.names(folder).get(name) if path else None
    if node is not None:
        yield path, node
    if node is None or node.is_directory:
        for child, below in source.names(path).items():
            whole = path + b"/" + child if path else child
            if below.is_directory:
                yield from _walk(source, whole)
            else:
                yield whole, below


def _described(path: bytes, node: Node) -> list[Any]:
    xattrs = sorted((key.hex(), value.hex()) for key, value in (node.xattrs or {}).items())
    return [
        path.hex(), node.kind.value, node.mode, node.uid, node.gid, node.target.hex(),
        list(node.device), xattrs,
    ]  # fmt: skip


def _contents(source: Source, path: bytes, node: Node) -> str:
    if node.kind is not Kind.FILE:
        return ""
    digest = hashlib.sha256()
    for chunk in source.read(path, node):
        digest.update(chunk)
    return digest.hexdigest()


def _digest(data: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(data), separators=(",", ":")).encode()).hexdigest()
