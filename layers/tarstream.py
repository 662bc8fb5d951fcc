"""The `Tree` as one tar: planned as spans, then sent into a pipe by the kernel.

A span is bytes made here (headers) or a range of an open file (data). What has not changed since
its layer is sent as it stands there, header and padding included, and neighbours become one span;
so the number of system calls follows the number of changes, not of files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from layers import tarwriter
from layers.kinds import Kind
from layers.tarheader import BLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from layers.tree import Data, DataFile, Node, Tree

_ZEROS = bytes(1 << 16)
_SEND_MAX = 1 << 24


class Range(NamedTuple):
    """*length* bytes of *file* from *offset*."""

    file: DataFile
    offset: int
    length: int


Span = bytes | Range


def spans(tree: Tree) -> Iterator[Span]:
    """Yield the whole tar, end marker included, in the order in which the data lie on disk.

    The root itself has no entry: whoever reads the tar must be told of it otherwise. A hard link
    comes after the name that carries the data.
    """
    return _joined(_pieces(tree))


def total_size(all_spans: Iterable[Span]) -> int:
    """Return the length of the tar in bytes."""
    return sum(span.length if isinstance(span, Range) else len(span) for span in all_spans)


def _pieces(tree: Tree) -> Iterator[Span]:
    files: list[tuple[tuple[int, int], bytes, Node, Data]] = []
    links: list[tuple[bytes, Node]] = []
    first_name: dict[Node, bytes] = {}
    order: dict[int, int] = {}
    for path, node in tree.walk():
        if node.kind is Kind.DIRECTORY:
            yield tarwriter.header(path, node)
        elif node in first_name:
            links.append((path, node))
        else:
            first_name[node] = path
            if node.data is None:
                yield tarwriter.header(path, node)
            else:
                layer = order.setdefault(id(node.data.file), len(order))
                files.append(((layer, node.data.offset), path, node, node.data))
    files.sort(key=_by_place)
    for _, path, node, data in files:
        origin = node.origin
        if origin is not None and origin.path == path:
            # As it stands in the layer: headers, data and padding.
            end = data.offset + data.size
            yield Range(data.file, origin.start, end + -end % BLOCK - origin.start)
        else:
            yield tarwriter.header(path, node)
            yield from _contents(data)
            yield _ZEROS[: -data.size % BLOCK]
    for path, node in links:
        yield tarwriter.link_header(path, first_name[node], node)
    yield tarwriter.END


def _by_place(item: tuple[tuple[int, int], bytes, Node, Data]) -> tuple[int, int]:
    return item[0]


def _contents(data: Data) -> Iterator[Span]:
    if data.segments is None:
        if data.size:
            yield Range(data.file, data.offset, data.size)
        return
    position, stored = 0, data.offset
    for offset, length in data.segments:
        yield from _zeros(offset - position)
        yield Range(data.file, stored, length)
        position, stored = offset + length, stored + length
    yield from _zeros(data.size - position)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _ZEROS[:count]
        count -= len(_ZEROS)


def _joined(pieces: Iterable[Span]) -> Iterator[Span]:
    """Join neighbouring ranges, and runs of small byte strings."""
    held: Range | None = None
    small: list[bytes] = []
    small_size = 0
    for piece in pieces:
        if isinstance(piece, bytes):
            if held is not None:
                yield held
                held = None
            small.append(piece)
            small_size += len(piece)
            if small_size >= len(_ZEROS):
                yield b"".join(small)
                small, small_size = [], 0
            continue
        if small:
            yield b"".join(small)
            small, small_size = [], 0
        if (
            held is not None
            and held.file is piece.file
            and held.offset + held.length == piece.offset
        ):
            held = Range(held.file, held.offset, held.length + piece.length)
        else:
            if held is not None:
                yield held
            held = piece
    if held is not None:
        yield held
    if small:
        yield b"".join(small)


def send(all_spans: Iterable[Span], target: int, sent: Callable[[int], None]) -> None:
    """Write spans to the descriptor *target*; *sent* is told of each step's bytes.

    Ranges go by `sendfile`: no file data pass through this process. Raises `BrokenPipeError` when
    the reader is gone.
    """
    for span in all_spans:
        if isinstance(span, Range):
            _send_range(span, target, sent)
        else:
            view = memoryview(span)
            while view:
                written = os.write(target, view)
                sent(written)
                view = view[written:]


def _send_range(span: Range, target: int, sent: Callable[[int], None]) -> None:
    source, offset, left = span.file.fileno(), span.offset, span.length
    while left:
        count = os.sendfile(target, source, offset, min(left, _SEND_MAX))
        if count == 0:
            raise OSError(f"a layer's plain tar ended {left} bytes early")
        sent(count)
        offset += count
        left -= count
