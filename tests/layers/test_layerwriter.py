"""A layer's tar, written and hashed beside whoever makes it."""

from __future__ import annotations

import threading

import pytest

from layers import layerwriter
from layers.digest import Digest
from layers.layerwriter import LayerWriter
from layers.spool import Spool
from layers.tempfiles import TempArea

BATCH = layerwriter._GATHERED


@pytest.fixture
def spool(tmp_path):
    with Spool(TempArea(tmp_path)) as spool:
        yield spool


@pytest.fixture
def writer(spool):
    writer = LayerWriter(spool)
    yield writer
    writer.close()


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"a"],
        [b"a" * 1000] * 5000,
        [bytes([n]) * BATCH for n in range(20)],
        [b"x" * (BATCH - 1), b"", b"y", b"z" * (3 * BATCH + 1)],
    ],
    ids=["nothing", "a byte", "many small ones", "whole batches", "odd ones"],
)
def test_what_is_appended_is_in_the_file_in_order_and_hashed(spool, writer, pieces):
    for piece in pieces:
        writer.append(piece)
    whole = b"".join(pieces)
    assert writer.size == len(whole)
    assert writer.finish() == Digest.of(whole)
    assert spool.size == len(whole)
    assert spool.read_at(0, len(whole) + 1) == whole


def test_the_size_counts_from_where_the_file_ends(spool):
    spool.append(b"before")
    writer = LayerWriter(spool)
    writer.append(b"after")
    assert writer.size == 11
    assert writer.finish() == Digest.of(b"after")
    assert spool.read_at(0, 99) == b"beforeafter"


def test_small_layers_need_no_thread(writer):
    before = threading.active_count()
    writer.append(b"x" * (BATCH - 1))
    writer.finish()
    assert threading.active_count() == before


class Broken:
    """A file on a disk that is full."""

    size = 0

    def append(self, chunk):
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_while_there_is_more_to_come():
    writer = LayerWriter(Broken())
    with pytest.raises(OSError, match="No space left"):
        for _ in range(layerwriter._WAITING + 2):
            writer.append(bytes(BATCH))
    writer.close()


def test_a_full_disk_is_told_at_the_end():
    for length in (1, BATCH):
        writer = LayerWriter(Broken())
        writer.append(bytes(length))
        with pytest.raises(OSError, match="No space left"):
            writer.finish()
        writer.close()


class Slow:
    """A file on a disk that waits for *ready*."""

    def __init__(self):
        self.size = 0
        self.ready = threading.Event()

    def append(self, chunk):
        self.ready.wait()
        self.size += len(chunk)


def test_only_so_much_waits_for_a_slow_disk():
    slow = Slow()
    writer = LayerWriter(slow)

    def fill():
        for _ in range(20):
            writer.append(bytes(BATCH))

    filling = threading.Thread(target=fill)
    filling.start()
    filling.join(0.3)
    assert filling.is_alive()
    assert writer.size <= (layerwriter._WAITING + 2) * BATCH
    slow.ready.set()
    filling.join()
    writer.finish()
    assert slow.size == 20 * BATCH
    writer.close()


def test_closing_ends_the_thread_and_forgets_what_was_not_begun():
    before = threading.active_count()
    slow = Slow()
    writer = LayerWriter(slow)
    for _ in range(layerwriter._WAITING):
        writer.append(bytes(BATCH))
    assert threading.active_count() == before + 1
    threading.Timer(0.05, slow.ready.set).start()
    writer.close()
    assert slow.size < layerwriter._WAITING * BATCH
    while any(isinstance(thread, threading.Timer) for thread in threading.enumerate()):
        pass
    assert threading.active_count() == before
