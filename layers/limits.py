"""Limits on what comes from outside: defaults that no honest image meets."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from layers.errors import LimitExceeded

_MIB = 1024**2
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Limits:
    """Every size that an image's maker controls has a bound here; each can be raised by name."""

    entries: int = 2_000_000
    """Entries of all layers together."""
    directory_entries: int = 100_000
    """Names in one directory: mksquashfs walks a linked list, so its time is quadratic in this."""
    name_bytes: int = 4096
    """One whole path, as Linux's PATH_MAX."""
    header_bytes: int = _MIB
    """One PAX block or GNU long name."""
    file_bytes: int = 32 * _GIB
    """The data of one file, holes included."""
    blob_bytes: int = 32 * _GIB
    """One layer as it is fetched or kept, compressed as a rule."""
    hole_bytes: int = 16 * _GIB
    """Holes of sparse files, which a few bytes ask for: those of all layers together, those of an
    archive that ADD unpacks, those of the finished tree. Whoever packs them reads them as zeros."""
    total_bytes: int = 128 * _GIB
    """The plain bytes of all layers together, holes of sparse files included; what COPY and ADD of
    one build write."""
    ratio: int = 200
    """Plain to compressed bytes, once a layer has unpacked to more than a GiB; runs of zeros, which
    cost no disk, are not counted."""

    def override(self, name: str, value: int) -> Self:
        """Return these limits with one changed; an unknown name is a `ValueError`."""
        names = [field.name for field in fields(self)]
        if name not in names:
            raise ValueError(f"no limit is called {name!r}; there are {', '.join(names)}")
        if value < 1:
            raise ValueError(f"the limit {name} must be at least 1")
        return replace(self, **{name: value})

    def check(self, name: str, value: int, what: str) -> None:
        """Raise `LimitExceeded` when *value*, a property of *what*, passes the limit *name*."""
        limit = getattr(self, name)
        if value > limit:
            raise LimitExceeded(what, name, limit)
