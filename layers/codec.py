"""Decompression: gzip, zstd or plain, told by the first bytes; chunks in, bounded chunks out.

RFC 1952 (gzip, several members) and RFC 8878 (zstd, several and skippable frames) read as one
stream. Problems are `CodecError`s whose text completes "layer ...: ".
"""

from __future__ import annotations

import enum
import itertools
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_OUTPUT = 1 << 20
# Bites of this size are unpacked in one call, as a rule: what is left over has to be copied.
_GZIP_INPUT = 1 << 15
# A zstd block of 4 bytes can stand for 128 KiB: small bites bound what one call returns.
_ZSTD_INPUT = 512
_ZSTD_WINDOW = 1 << 27


class CodecError(Exception):
    """A compressed stream that is broken."""


class Compression(enum.Enum):
    """How a blob is compressed."""

    GZIP = "gzip"
    ZSTD = "zstd"
    NONE = "plain"

    @classmethod
    def of(cls, head: bytes) -> Compression:
        """Tell by magic bytes."""
        if head[:3] == b"\x1f\x8b\x08":
            return cls.GZIP
        if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
            return cls.ZSTD
        return cls.NONE

    @classmethod
    def of_media_type(cls, media_type: str) -> Compression | None:
        """Tell what a layer's media type promises; `None` where it does not say."""
        if media_type.endswith(("gzip", ".tar.gzip")):
            return cls.GZIP
        if media_type.endswith("zstd"):
            return cls.ZSTD
        if media_type.endswith(".tar"):
            return cls.NONE
        return None


def decompress(chunks: Iterable[bytes]) -> tuple[Compression, Iterator[bytes]]:
    """Return what the stream is, and its plain chunks."""
    iterator = iter(chunks)
    head = b""
    for chunk in iterator:
        head += chunk
        if len(head) >= 4:
            break
    compression = Compression.of(head)
    whole = itertools.chain([head] if head else [], iterator)
    match compression:
        case Compression.GZIP:
            return compression, _gunzip(whole)
        case Compression.ZSTD:
            return compression, _unzstd(whole)
        case Compression.NONE:
            return compression, whole


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    make, errors = _gzip_engine()
    member = make()
    begun = True
    for data in _bites(chunks, _GZIP_INPUT):
        while data:
            if member.eof:
                data = _next_member(data)
                member, begun = (make(), True) if data else (member, False)
                continue
            try:
                plain = member.decompress(data, _OUTPUT)
            except errors as error:
                raise CodecError(f"its gzip stream is broken ({error})") from None
            if plain:
                yield plain
            data = member.unused_data if member.eof else member.unconsumed_tail
            if not data and len(plain) == _OUTPUT and not member.eof:
                yield from _drain(member, errors)
    if begun and not member.eof:
        raise CodecError("its gzip stream is cut off")


def _bites(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        for position in range(0, len(chunk), size):
            yield chunk[position : position + size]


def _drain(member: Any, errors: tuple[type[Exception], ...]) -> Iterator[bytes]:
    """Yield what the decompressor still holds after all of its input was taken."""
    while True:
        try:
            plain = member.decompress(b"", _OUTPUT)
        except errors as error:
            raise CodecError(f"its gzip stream is broken ({error})") from None
        if not plain:
            return
        yield plain


def _next_member(data: bytes) -> bytes:
    """Return what follows a member: zero padding is skipped, another member begins with magic."""
    data = data.lstrip(b"\0")
    if data and not b"\x1f\x8b".startswith(data[:2]):
        raise CodecError("data that are not gzip follow its gzip stream")
    return data


def _gzip_engine() -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    try:
        from isal import isal_zlib
    except ImportError:  # no wheel for this machine
        return (lambda: zlib.decompressobj(wbits=31)), (zlib.error,)
    # isal_zlib.error is the class; its stub says it is an instance.
    errors: tuple[Any, ...] = (isal_zlib.error,)
    return (lambda: isal_zlib.decompressobj(wbits=31)), errors


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    engine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    frame, fed = engine.decompressobj(), False
    for data in _bites(chunks, _ZSTD_INPUT):
        while data:
            try:
                plain = frame.decompress(data)
            except zstandard.ZstdError as error:
                raise CodecError(f"its zstd stream is broken ({error})") from None
            if plain:
                yield plain
            data, fed = frame.unused_data, True
            if frame.eof:
                frame, fed = engine.decompressobj(), False
    if fed:
        raise CodecError("its zstd stream is cut off")
