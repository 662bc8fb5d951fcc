"""What ADD unpacks meets the limits of layers."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
from support.layers import file, layer, sparse_files, zstd

from assembler.archives import read_archive
from layers import spool as spool_module
from layers.errors import LimitExceeded
from layers.session import Session
from layers.spool import Spool
from layers.store import ContentStore

GIB = 1 << 30
SAME = layer(file("f", b"same" * (1 << 20)))


@pytest.fixture
def session(tmp_path):
    return Session(ContentStore(tmp_path / "store"))


def unpack(data, session):
    with Spool(session.store.area) as spool:
        spool.append(data)
        with read_archive(spool, "a.tar", session) as found:
            return found


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_an_archive_that_add_unpacks_is_no_bomb(session, monkeypatch, pack):
    # The ratio counts above a GiB; here above a MiB.
    monkeypatch.setattr(spool_module, "_RATIO_FREE", 1 << 20)
    with pytest.raises(LimitExceeded, match=r"^a.tar: the ratio of its plain .* limit of 200"):
        unpack(pack(SAME), session)


def test_holes_of_an_archive_that_add_unpacks_are_limited(session):
    unpack(sparse_files(16, GIB), session)
    with pytest.raises(
        LimitExceeded, match=r"^a.tar: the size of the holes .* limit of 17,179,869,184 \(hole"
    ):
        unpack(sparse_files(17, GIB), session)
