"""The memory that mksquashfs gets and takes, beside this process's own.

The figures are those of mksquashfs 4.5.1, measured (docs/performance.md, "Memory").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assembler.memorylimit import MemoryLimit

_MIB = 1 << 20
_WANTED_BLOCKS = 2048
_WANTED = 256 * _MIB
_LEAST = 16 * _MIB
"""What mksquashfs takes for `-mem` at least."""
_PROGRAM = 15 * _MIB
_ENTRY = 800
"""Bytes for each path: its inode, its name, what finds its duplicates."""
_SHARE = 4
"""Of what is free, the caches get one part and the compressors one; mksquashfs's caches by itself
would get one of all."""
# Of one thread: bytes always, and bytes for each byte of a block.
_COMPRESSORS = {
    "gzip": (_MIB // 2, 1),
    "lz4": (_MIB // 4, 1),
    "lzo": (_MIB // 2, 2),
    "xz": (_MIB, 24),
    "zstd": (4 * _MIB, 13),
}
_SMALL = ("gzip", "lz4", "lzo")


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The caches of mksquashfs and its threads, and what it and this process take together."""

    compression: str
    cache: int
    processors: int
    taken: int
    limit: MemoryLimit

    def arguments(self) -> list[str]:
        """Return mksquashfs's options for this."""
        return ["-mem", f"{self.cache // _MIB}M", "-processors", str(self.processors)]

    def advice(self) -> str:
        """Tell how much is taken and allowed, and the ways out."""
        less = "" if self.compression in _SMALL else ", or take less by --compression gzip"
        return (
            f"it and golem-assemble take about {self.taken // _MIB} MiB for this image, and "
            f"{self.limit.size // _MIB} MiB are allowed ({self.limit.source}); allow more{less}"
        )


def plan_memory(
    compression: str, block_size: int, processors: int, paths: int, own: int, limit: MemoryLimit
) -> MemoryPlan:
    """Plan for *paths*, where this process takes *own* bytes already.

    Caches are not made larger than what is of use: fresh memory costs more time than memory that
    is used again. *processors* become fewer where their compressors would not fit.
    """
    room = max(0, limit.size - own - _PROGRAM - _ENTRY * paths) // _SHARE
    always, for_a_byte = _COMPRESSORS[compression]
    compressor = always + for_a_byte * block_size
    processors = max(1, min(processors, room // compressor))
    cache = max(_LEAST, min(room, max(_WANTED_BLOCKS * block_size, _WANTED)))
    taken = own + _PROGRAM + _ENTRY * paths + processors * compressor + cache
    return MemoryPlan(compression, cache, processors, taken, limit)
