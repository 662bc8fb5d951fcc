"""What a COPY or ADD depends on, as one digest: the same key, the same layer.

In it are what the step stands on (the key of the step before), where it copies to, its flags, and
of everything it copies, and nothing else: path, type, mode, owner, link target, extended attributes
and a digest of the contents. Times are not: a file that was only touched is not copied again, as in
BuildKit.

A step of a shape that was never seen cannot be remembered: then nothing is read for the key alone,
and the files are hashed while they are copied.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assembler.copying import below, join
from assembler.copysource import resolve
from assembler.errors import BuildError
from layers.abridged import abridged
from layers.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from assembler.copysource import Source
    from assembler.copystep import Part
    from layers.tree import Node

_VERSION = 4
"""To be raised when the same inputs come to give another layer."""

_NAMED = 5
"""Files that an error names, at most."""

_BATCH = 256
"""Files that a thread hashes before it takes others: most are small."""


def first_key(*inputs: object) -> str:
    """Return the key of what a stage begins with."""
    return _digest([_VERSION, *map(str, inputs)])


def next_key(before: str, *inputs: object) -> str:
    """Return the key of a step whose inputs are known by their text."""
    return _digest([before, *map(str, inputs)])


class CopyInputs:
    """All that a step copying *parts* depends on; the contents of files are read when asked for."""

    def __init__(self, before: str, parts: Sequence[Part], *inputs: object) -> None:
        self._files: dict[Node, tuple[Source, bytes]] = {}
        said: list[object] = [before, *map(str, inputs)]
        for part in parts:
            said += [_options(part), self._listing(part)]
        self.shape = _digest([*said, "shape"])
        """The digest of everything but contents: where it is new, so is the key."""

    def key(self, known: Mapping[Node, str]) -> str:
        """Return the step's key; only the files whose digests are not *known* are read."""
        missing = [
            (source, path, node)
            for node, (source, path) in self._files.items()
            if node not in known
        ]
        batches = [missing[start : start + _BATCH] for start in range(0, len(missing), _BATCH)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            hashed = pool.map(lambda batch: [_contents(*item) for item in batch], batches)
            digests = dict(known)
            for batch, found in zip(batches, hashed, strict=True):
                digests |= {node: digest for (_, _, node), digest in zip(batch, found, strict=True)}
        return _digest([self.shape, *(digests[node] for node in self._files)])

    def _listing(self, part: Part) -> list[list[Any]]:
        """Describe everything below the part's paths, in order."""
        names: dict[Node, int] = {}
        listing: list[list[Any]] = []
        for root, name in part.found:
            listing.append([root.hex(), name.hex()])
            for inner, node in _copied(part, root):
                if node.kind is Kind.FILE:
                    path = join(root, inner) if inner else root
                    self._files.setdefault(node, (part.source, path))
                implied = node in part.options.implied
                number = names.setdefault(node, len(names))
                listing.append([*_described(inner, node), implied, number])
        return listing

    def check_readable(self) -> None:
        """Raise `BuildError` for files that may not be read, while nothing is written yet."""
        closed = [
            os.fsdecode(path)
            for node, (source, path) in self._files.items()
            if not source.readable(path, node)
        ]
        if closed:
            they, them = ("they", "them") if len(closed) > 1 else ("it", "it")
            raise BuildError(
                f"{abridged(closed, most=_NAMED)}: {they} cannot be read (Permission denied); "
                f"make {them} readable, or exclude {them}"
            )


class Recording:
    """A `Source` whose files are hashed while they are read: *digests* has those read whole."""

    def __init__(self, source: Source, digests: dict[Node, str]) -> None:
        self.name = source.name
        self._source = source
        self._digests = digests
        self.names, self.size = source.names, source.size
        self.readable, self.why_missing = source.readable, source.why_missing

    def read(self, path: bytes, node: Node) -> Iterator[bytes]:
        """See `Source`."""
        digest = hashlib.sha256()
        for chunk in self._source.read(path, node):
            digest.update(chunk)
            yield chunk
        self._digests[node] = digest.hexdigest()


def recording(parts: Iterable[Part], digests: dict[Node, str]) -> list[Part]:
    """Return *parts* such that copying them tells the digests of their files."""
    return [replace(part, source=Recording(part.source, digests)) for part in parts]


def _options(part: Part) -> list[object]:
    options = part.options
    rules = [rule.text for rule in options.exclude.rules]
    chmod = (options.mode.octal, options.mode.actions) if options.mode else None
    return [options.owner, chmod, rules, options.latest, options.made, options.replace]


def _copied(part: Part, root: bytes) -> Iterator[tuple[bytes, Node]]:
    """Yield what copying *root* takes, by its path below it, which is empty for a file itself."""
    node = resolve(part.source, root)[1]
    if node is None or node.is_directory:
        yield from below(part.source, root, part.options.exclude)
    else:
        yield b"", node


def _described(path: bytes, node: Node) -> list[Any]:
    xattrs = sorted((key.hex(), value.hex()) for key, value in (node.xattrs or {}).items())
    return [
        path.hex(), node.kind.value, node.mode, node.uid, node.gid, node.target.hex(),
        list(node.device), xattrs,
    ]  # fmt: skip


def _contents(source: Source, path: bytes, node: Node) -> str:
    digest = hashlib.sha256()
    if source.size(path, node):
        for chunk in source.read(path, node):
            digest.update(chunk)
    return digest.hexdigest()


def _digest(data: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(data), separators=(",", ":")).encode()).hexdigest()
