from __future__ import annotations

import pytest

from assembler.memorylimit import MemoryLimit
from assembler.squashmemory import plan_memory

MIB = 1 << 20
LARGE = 82_000
"""Paths of the large image of the benchmark."""


def plan(limit, compression="gzip", block_size=128 << 10, processors=2, paths=LARGE, own=150):
    return plan_memory(
        compression, block_size, processors, paths, own * MIB, MemoryLimit(limit * MIB, "ulimit")
    )


def test_caches_are_as_large_as_is_of_use_where_there_is_memory():
    assert plan(24_000).arguments() == ["-mem", "256M", "-processors", "2"]
    assert plan(24_000, block_size=MIB).cache == 2048 * MIB


def test_256_mib_are_enough_for_the_large_image():
    found = plan(256)
    assert found.cache == 16 * MIB
    assert found.taken <= 256 * MIB


@pytest.mark.parametrize("limit", [300, 500, 1000, 4000])
@pytest.mark.parametrize("compression", ["gzip", "lz4", "lzo", "xz", "zstd"])
@pytest.mark.parametrize("block_size", [4096, 128 << 10, MIB])
def test_what_is_planned_fits(limit, compression, block_size):
    assert plan(limit, compression, block_size, processors=128).taken <= limit * MIB


def test_compressors_that_do_not_fit_are_fewer():
    assert plan(24_000, "xz", processors=64).processors == 64
    assert 1 < plan(500, "xz", processors=64).processors < 20


def test_there_is_no_less_than_mksquashfs_needs():
    found = plan(64)
    assert found.arguments() == ["-mem", "16M", "-processors", "1"]
    assert found.taken > 64 * MIB
    assert found.advice().endswith("and 64 MiB are allowed (ulimit); allow more")
    assert plan(64, "xz").advice().endswith("or take less by --compression gzip")
