from __future__ import annotations

import os

import pytest
from builders import descriptor
from support.layers import directory, file, gzipped, layer, zstd

from layers import spool as spool_module
from layers.codec import Compression
from layers.digest import Digest
from layers.errors import DigestMismatch, LimitExceeded, MalformedLayer
from layers.limits import Limits
from layers.spool import Spool, unpack
from layers.tempfiles import TempArea

TAR = layer(directory("d"), file("d/f", bytes(range(256)) * 2000))


@pytest.fixture
def area(tmp_path):
    return TempArea(tmp_path)


def unpacked(blob, area, *, diff_id=None, limits=None, advance=None):
    """What `unpack` makes of one blob, given in small chunks."""
    chunks = (blob[position : position + 1000] for position in range(0, len(blob), 1000))
    return unpack(
        chunks,
        descriptor(blob),
        diff_id or Digest.of(TAR),
        area,
        limits or Limits(),
        advance or (lambda _count: None),
    )


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_what_is_appended_is_read_at_its_offset(area, tmp_path):
    with Spool(area) as spool:
        assert [spool.append(b"abc"), spool.append(b""), spool.append(memoryview(b"de"))] == [
            0, 3, 3,
        ]  # fmt: skip
        assert spool.size == 5
        assert (spool.read_at(2, 2), spool.read_at(4, 9), spool.read_at(9, 1)) == (b"cd", b"e", b"")
        assert os.fstat(spool.fileno()).st_size == 5
        assert list(tmp_path.iterdir()) == []


def test_closing_gives_the_descriptor_back_once(area):
    before = open_descriptors()
    spool = Spool(area)
    spool.close()
    other = os.open("/dev/null", os.O_RDONLY)
    spool.close()  # must not close what has its number now
    assert open_descriptors() == before + 1
    os.close(other)


def test_a_short_write_goes_on(area, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:3], at))
    with Spool(area) as spool:
        spool.append(b"abcdefgh")
        assert spool.read_at(0, 99) == b"abcdefgh"


@pytest.mark.parametrize(
    ("pack", "compression"),
    [(gzipped, Compression.GZIP), (zstd, Compression.ZSTD), (bytes, Compression.NONE)],
)
def test_a_blob_becomes_its_plain_tar(area, pack, compression):
    steps = []
    spool, told = unpacked(pack(TAR), area, advance=steps.append)
    with spool:
        assert told is compression
        assert spool.read_at(0, len(TAR)) == TAR
        assert sum(steps) == spool.size == len(TAR)


def test_an_empty_blob_is_an_empty_tar(area):
    with unpacked(b"", area, diff_id=Digest.of(b""))[0] as spool:
        assert spool.size == 0


def test_a_wrong_diff_id_is_told(area):
    before = open_descriptors()
    with pytest.raises(DigestMismatch, match=r"^layer sha256:.*: its plain tar \(diff_id\): expec"):
        unpacked(gzipped(TAR), area, diff_id=Digest.of(b"other"))
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("blob", "problem"),
    [
        (gzipped(TAR)[:-9], "its gzip stream is cut off"),
        (zstd(TAR)[:-9], "its zstd stream is cut off"),
        (gzipped(TAR) + b"tail", "data that are not gzip follow its gzip stream"),
    ],
)
def test_a_broken_stream_is_a_malformed_layer(area, blob, problem):
    before = open_descriptors()
    with pytest.raises(MalformedLayer) as caught:
        unpacked(blob, area)
    assert caught.value.layer == str(Digest.of(blob))
    assert caught.value.problem == problem
    assert open_descriptors() == before


def test_work_that_is_stopped_leaves_nothing_open(area):
    class StopError(Exception):
        pass

    def advance(_count):
        raise StopError

    before = open_descriptors()
    with pytest.raises(StopError):
        unpacked(gzipped(TAR), area, advance=advance)
    assert open_descriptors() == before


def test_a_layer_that_passes_the_total_is_a_bomb(area):
    with pytest.raises(LimitExceeded, match="its plain size passes the limit of 100,000"):
        unpacked(gzipped(TAR), area, limits=Limits(total_bytes=100_000))


def test_a_ratio_no_honest_layer_has_is_a_bomb(area, monkeypatch):
    # The ratio counts above a GiB; here above a MiB.
    monkeypatch.setattr(spool_module, "_RATIO_FREE", 1 << 20)
    same = b"same" * (1 << 20)
    with pytest.raises(LimitExceeded) as caught:
        unpacked(gzipped(same), area, diff_id=Digest.of(same))
    assert (caught.value.limit_name, caught.value.limit) == ("ratio", 200)
    spool, _ = unpacked(gzipped(same), area, diff_id=Digest.of(same), limits=Limits(ratio=100_000))
    spool.close()


@pytest.mark.parametrize("pack", [gzipped, zstd])
def test_zeros_are_no_bomb_and_cost_no_disk(area, monkeypatch, pack):
    """A `lastlog` of gigabytes is honest: useradd makes one for a user with a large id."""
    monkeypatch.setattr(spool_module, "_RATIO_FREE", 4 << 20)
    plain = layer(
        file("before", b"x" * 5000), file("lastlog", bytes(40 << 20)), file("after", b"y")
    )
    with unpacked(pack(plain), area, diff_id=Digest.of(plain))[0] as spool:
        assert spool.size == len(plain)
        assert spool.read_at(0, len(plain)) == plain
        assert os.fstat(spool.fileno()).st_blocks * 512 < 6 << 20


def test_zeros_count_for_the_size_of_a_layer(area):
    zeros = bytes(4 << 20)
    with pytest.raises(LimitExceeded, match="its plain size passes the limit of 2,000,000"):
        unpacked(gzipped(zeros), area, limits=Limits(total_bytes=2_000_000))


@pytest.mark.parametrize(
    "chunks",
    [
        [bytes(3 << 20)],
        [b"a", bytes(1 << 20), b"b"],
        [bytes(10), b"a", bytes((1 << 20) + 7)],
        [b"a" + bytes(3 << 20), bytes(2 << 20) + b"b", bytes(5), bytes(1 << 16)],
    ],
)
@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_zeros_are_read_where_they_were_appended(area, chunks, wrap):
    whole = b"".join(chunks)
    with Spool(area) as spool:
        starts = [spool.append(wrap(chunk)) for chunk in chunks]
        assert starts == [sum(map(len, chunks[:number])) for number in range(len(chunks))]
        assert spool.size == os.fstat(spool.fileno()).st_size == len(whole)
        assert spool.read_at(0, len(whole)) == whole
        with open(f"/dev/fd/{spool.fileno()}", "rb") as source, open(os.devnull, "wb") as sink:
            assert os.sendfile(sink.fileno(), source.fileno(), 0, len(whole)) == len(whole)


def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing_open(area, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    before = open_descriptors()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        unpacked(gzipped(TAR), area)
    assert open_descriptors() == before
