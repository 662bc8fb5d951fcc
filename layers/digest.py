"""Digests: content addresses, and reading that checks them (OCI image-spec v1.1, descriptor.md)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from layers.errors import DigestMismatch, MalformedImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Digest:
    """`algorithm:hex`, with a registered algorithm and lower-case hex of the right length."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `sha256:...`; anything else is a `MalformedImage`."""
        if isinstance(text, str):
            algorithm, _, value = text.partition(":")
            if len(value) == _HEX_LENGTH.get(algorithm) and _HEX.fullmatch(value):
                return cls(algorithm, value)
        raise MalformedImage(
            f"{text!r:.200} is no digest: expected sha256:, sha384: or sha512:, and lower-case hex"
        )

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the SHA-256 digest of *data*."""
        return cls("sha256", hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve hex digits, for people."""
        return self.hex[:12]


def verify(data: bytes, digest: Digest, what: str) -> bytes:
    """Return *data* if it has that digest; else raise `DigestMismatch` naming *what*."""
    actual = hashlib.new(digest.algorithm, data).hexdigest()
    if actual != digest.hex:
        raise DigestMismatch(what, str(digest), f"{digest.algorithm}:{actual}")
    return data


class Verifier:
    """Counts and hashes content that passes by, and judges it at the end."""

    def __init__(self, digest: Digest, size: int | None, what: str) -> None:
        self._digest = digest
        self._size = size
        self._what = what
        self._hash = hashlib.new(digest.algorithm)
        self.count = 0

    def update(self, chunk: bytes | memoryview) -> None:
        """Take the next chunk; raise at once when it passes the promised size."""
        self._hash.update(chunk)
        self.count += len(chunk)
        if self._size is not None and self.count > self._size:
            raise DigestMismatch(self._what, f"{self._size} bytes", f"{self.count} bytes or more")

    def finish(self) -> None:
        """Raise `DigestMismatch` unless size and digest are as promised."""
        if self._size is not None and self.count != self._size:
            raise DigestMismatch(self._what, f"{self._size} bytes", f"{self.count} bytes")
        if self._hash.hexdigest() != self._digest.hex:
            actual = f"{self._digest.algorithm}:{self._hash.hexdigest()}"
            raise DigestMismatch(self._what, str(self._digest), actual)


def verified(chunks: Iterable[bytes], verifier: Verifier) -> Iterator[bytes]:
    """Pass *chunks* on while they are hashed; the last step raises if they were wrong."""
    for chunk in chunks:
        verifier.update(chunk)
        yield chunk
    verifier.finish()
