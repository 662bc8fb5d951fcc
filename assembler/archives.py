"""Archives that ADD unpacks and contexts come in: plain tars, or in gzip, bzip2, xz or zstd."""

from __future__ import annotations

import bz2
import itertools
import lzma
import zlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from assembler.copysource import ArchiveSource
from assembler.errors import BuildError
from layers.codec import CodecError, decompress
from layers.errors import MalformedLayer
from layers.kinds import Kind
from layers.merge import LayerIndex, apply_layer, layer_holes
from layers.spool import Spool, check_size
from layers.tarheader import BLOCK, parse_header
from layers.tarindex import index_layer
from layers.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from layers.session import Session
    from layers.tarindex import Entry
    from layers.tree import Node

_CHUNK = 1 << 18
_OUTPUT = 1 << 20
_MAGIC = {b"BZh": bz2.BZ2Decompressor, b"\xfd7zXZ\0": lzma.LZMADecompressor}
_LZMA_MEMORY = 1 << 28


def is_archive(spool: Spool) -> bool:
    """Whether the file is a tar, compressed or not: whether its first header makes sense."""
    try:
        block = b""
        for chunk in _plain(_chunks(spool)):
            block += chunk
            if len(block) >= BLOCK:
                parse_header(block[:BLOCK])
                return True
    except (CodecError, OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
        pass
    return False


@contextmanager
def read_archive(spool: Spool, name: str, session: Session) -> Iterator[ArchiveSource]:
    """Unpack a tar into a tree, whose data can be read inside the context.

    *name* is what the source, and errors, call it. What a layer must not hold is refused here too;
    whiteouts have nothing to remove.
    """
    with ExitStack() as stack:
        plain = stack.enter_context(Spool(session.store.area))
        try:
            for chunk in _plain(_chunks(spool)):
                plain.append(chunk)
                check_size(plain, spool.size, session.limits, name)
                session.check()
            entries = list(index_layer(plain, name, session.limits, session.observer.warn))
            layer = LayerIndex(name, entries, plain)
            # They become zeros in the layer that ADD makes.
            holes = f"{name}: the size of the holes in its files"
            session.limits.check("hole_bytes", layer_holes(layer), holes)
            tree = Tree()
            apply_layer(tree, layer, session.limits)
        except (CodecError, OSError, EOFError, lzma.LZMAError) as error:
            raise BuildError(f"{name}: the archive is damaged ({error})") from None
        except MalformedLayer as error:
            raise BuildError(f"{name}: the archive is malformed: {error.problem}") from None
        yield ArchiveSource(tree, name, _implied(tree, entries))


def _implied(tree: Tree, entries: Iterable[Entry]) -> frozenset[Node]:
    """Return the directories, the root apart, that are there because of what is in them."""
    own = {tree.find(entry.path) for entry in entries if entry.kind is Kind.DIRECTORY}
    return frozenset(node for node in tree.nodes() if node.is_directory and node not in own)


def _chunks(spool: Spool) -> Iterator[bytes]:
    for position in itertools.count(0, _CHUNK):
        chunk = spool.read_at(position, _CHUNK)
        if not chunk:
            return
        yield chunk


def _plain(chunks: Iterator[bytes]) -> Iterable[bytes]:
    first = next(chunks, b"")
    whole = itertools.chain((first,), chunks)
    for magic, make in _MAGIC.items():
        if first.startswith(magic):
            return _unpacked(whole, make)
    return decompress(whole)[1]


def _unpacked(chunks: Iterable[bytes], make: Any) -> Iterator[bytes]:
    options = {"memlimit": _LZMA_MEMORY} if make is lzma.LZMADecompressor else {}
    member = make(**options)
    for chunk in chunks:
        data = chunk
        while data or not member.needs_input:
            if member.eof:
                member = make(**options)
            plain = member.decompress(data, _OUTPUT)
            if plain:
                yield plain
            data = member.unused_data if member.eof else b""
            if member.eof and not data:
                break
    if not member.eof:
        raise EOFError("it is cut off")
