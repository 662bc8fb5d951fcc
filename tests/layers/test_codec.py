from __future__ import annotations

import gzip
import itertools
import random
import struct
import sys
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import gzipped, zstd

from layers import codec
from layers.codec import CodecError, Compression, decompress

MEBIBYTE = 1 << 20
PLAIN = b"".join(b"%d\n" % number for number in range(20_000))
NOISE = random.Random(7).randbytes(300_000)
SKIPPABLE = struct.pack("<II", 0x184D2A53, 5) + b"table"


@pytest.fixture(params=["isal", "zlib"])
def engine(request, monkeypatch):
    """Both gzip decoders: isal's, and what is there where it has no wheel."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)


def bites(data, size):
    return [data[position : position + size] for position in range(0, len(data), size)]


def plain(data, size=1 << 18):
    return b"".join(decompress(bites(data, size))[1])


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", Compression.NONE),
        (b"\x1f\x8b", Compression.NONE),
        (b"\x1f\x8b\x08\x00", Compression.GZIP),
        (b"\x1f\x8b\x00\x00", Compression.NONE),
        (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
        (b"\x50\x2a\x4d\x18", Compression.ZSTD),
        (b"\x5f\x2a\x4d\x18", Compression.ZSTD),
        (b"\x60\x2a\x4d\x18", Compression.NONE),
        (b"etc/", Compression.NONE),
    ],
)
def test_compression_is_told_by_magic(head, expected):
    assert Compression.of(head) is expected
    assert decompress([head])[0] is expected


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip", Compression.GZIP),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression.GZIP),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Compression.ZSTD),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", Compression.ZSTD),
        ("application/vnd.oci.image.layer.v1.tar", Compression.NONE),
        ("application/octet-stream", None),
        ("", None),
    ],
)
def test_a_media_type_promises_a_compression(media_type, expected):
    assert Compression.of_media_type(media_type) is expected


@pytest.mark.parametrize(
    ("pack", "kind"),
    [(gzipped, Compression.GZIP), (zstd, Compression.ZSTD), (bytes, Compression.NONE)],
)
@pytest.mark.parametrize("size", [1, 3, 4096, 1 << 18])
@pytest.mark.usefixtures("engine")
def test_a_stream_reads_the_same_however_it_is_chunked(pack, kind, size):
    data = PLAIN[:5000] + NOISE[:5000]
    compression, chunks = decompress(bites(pack(data), size))
    assert compression is kind
    assert b"".join(chunks) == data


@pytest.mark.usefixtures("engine")
def test_nothing_comes_out_of_nothing():
    assert decompress([])[0] is Compression.NONE
    assert plain(b"") == plain(gzipped(b"")) == plain(zstd(b"")) == b""
    assert b"".join(decompress([b"", b"", gzipped(b"x"), b""])[1]) == b"x"


@pytest.mark.parametrize("size", [1, 7, 1 << 18])
@pytest.mark.usefixtures("engine")
def test_gzip_members_and_the_zeros_between_them_are_one_stream(size):
    padded = gzipped(b"first") + bytes(700) + gzipped(b"") + gzipped(PLAIN) + bytes(1024)
    assert plain(padded, size) == b"first" + PLAIN


@pytest.mark.parametrize("size", [1, 7, 1 << 18])
def test_zstd_frames_and_skippable_ones_are_one_stream(size):
    stream = SKIPPABLE + zstd(b"first") + SKIPPABLE * 2 + zstd(b"") + zstd(PLAIN) + SKIPPABLE
    assert plain(stream, size) == b"first" + PLAIN


@pytest.mark.usefixtures("engine")
def test_gzip_headers_with_all_optional_fields_are_read():
    flags = 2 | 4 | 8 | 16  # a CRC of the header, an extra field, a name, a comment
    header = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6) + b"\x03\x00abc" + b"name\0" + b"note\0"
    header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    assert plain(header + gzipped(PLAIN)[10:]) == PLAIN


@pytest.mark.parametrize("cut", [1, 8, 9, 500])
@pytest.mark.usefixtures("engine")
def test_a_gzip_stream_that_is_cut_is_told(cut):
    with pytest.raises(CodecError, match="^its gzip stream is cut off$"):
        plain(gzipped(PLAIN)[:-cut])


@pytest.mark.usefixtures("engine")
def test_a_second_gzip_member_that_is_cut_is_told():
    with pytest.raises(CodecError, match="^its gzip stream is cut off$"):
        plain(gzipped(PLAIN) + gzipped(PLAIN)[:20])


@pytest.mark.parametrize("cut", [1, 4, 100])
def test_a_zstd_stream_that_is_cut_is_told(cut):
    with pytest.raises(CodecError, match="^its zstd stream is cut off$"):
        plain(zstd(PLAIN) + zstd(NOISE)[:-cut])


@pytest.mark.usefixtures("engine")
def test_what_follows_a_gzip_stream_must_be_gzip():
    for tail in (b"x", bytes(30) + b"tail", b"\x1f\x8c"):
        with pytest.raises(CodecError, match="^data that are not gzip follow its gzip stream$"):
            plain(gzipped(PLAIN) + tail)


def test_what_follows_a_zstd_frame_must_be_zstd():
    with pytest.raises(CodecError, match="^its zstd stream is broken "):
        plain(zstd(PLAIN) + b"tail that is no frame")


@pytest.mark.usefixtures("engine")
def test_a_damaged_gzip_stream_is_told():
    good = gzipped(NOISE)
    for position in (15, len(good) // 2, len(good) - 6, len(good) - 2):
        bad = good[:position] + bytes([good[position] ^ 0x55]) + good[position + 1 :]
        with pytest.raises(CodecError, match="^its gzip stream is (broken|cut off)"):
            plain(bad)


def test_a_damaged_zstd_stream_is_told():
    good = zstandard.ZstdCompressor(write_checksum=True).compress(PLAIN)
    for position in (4, len(good) // 2, len(good) - 2):
        bad = good[:position] + bytes([good[position] ^ 0x55]) + good[position + 1 :]
        with pytest.raises(CodecError, match="^its zstd stream is (broken|cut off)"):
            plain(bad)


def test_a_zstd_window_that_wants_gigabytes_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(CodecError, match="^its zstd stream is broken .*memory"):
        plain(packer.compress(PLAIN) + packer.flush())


@pytest.mark.parametrize("pack", [gzipped, zstd])
@pytest.mark.usefixtures("engine")
def test_a_bomb_of_zeros_comes_in_chunks_that_fit_into_memory(pack):
    size = 80 * MEBIBYTE
    longest = total = 0
    for chunk in decompress([pack(bytes(size))])[1]:
        longest, total = max(longest, len(chunk)), total + len(chunk)
    assert total == size
    assert longest <= 16 * MEBIBYTE


@pytest.mark.parametrize("size", [MEBIBYTE, MEBIBYTE + 1, 2 * MEBIBYTE + 3])
@pytest.mark.usefixtures("engine")
def test_output_that_waits_when_the_input_is_taken_is_not_lost(size):
    packed = gzipped(bytes(size))
    for cut in range(1, 14):
        assert b"".join(decompress([packed[:-cut], packed[-cut:]])[1]) == bytes(size)


@pytest.mark.usefixtures("engine")
def test_a_stream_that_breaks_in_the_output_that_waits_is_told(monkeypatch):
    monkeypatch.setattr(codec, "_OUTPUT", 16)
    # Forty bytes of zeros and ones, one bit of which was turned.
    bad = gzipped(b"")[:4] + bytes.fromhex(
        "7a8c046b04ff6360800346060646208400088de00101cbec62b428000000"
    )
    with pytest.raises(CodecError, match="^its gzip stream is broken "):
        plain(bad, 8)


@pytest.mark.usefixtures("engine")
def test_input_is_taken_only_as_far_as_output_is_wanted():
    taken = itertools.count()
    packed = gzip.compress(NOISE, 1)
    chunks = decompress(chunk for chunk in bites(packed, 1000) if next(taken) >= 0)[1]
    next(chunks)
    assert next(taken) < len(packed) // 1000 / 2


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=200), st.sampled_from([gzipped, zstd]), st.integers(1, 64))
def test_garbage_is_read_as_what_it_begins_as_or_refused(garbage, pack, size):
    for data in (garbage, pack(b"x")[:8] + garbage, pack(garbage)[:-1] + garbage):
        problem = ""
        try:
            plain(data, size)
        except CodecError as error:
            problem = str(error)
        assert problem.startswith(("its gzip", "its zstd", "data that are not gzip")) or not problem
