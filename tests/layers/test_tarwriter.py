from __future__ import annotations

import io
import os
import tarfile

import pytest
from builders import index
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import tarwriter
from layers.kinds import Kind
from layers.tree import Data, Node

EXAMPLES = settings(max_examples=100, deadline=None, derandomize=True, database=None)
NAME = (
    st.binary(min_size=1, max_size=20)
    .map(lambda data: data.replace(b"/", b"_").replace(b"\0", b"_"))
    .filter(lambda name: name not in {b".", b".."})
)
PATH = st.lists(st.one_of(NAME, st.integers(90, 250).map(lambda n: b"n" * n)), min_size=1).map(
    b"/".join
)


class Nothing:
    """A file nobody reads."""

    size = 0


def node(kind=Kind.FILE, mode=0o644, **fields):
    made = Node(kind, mode, **fields)
    if kind is Kind.SYMLINK:
        made.target = b"t"
    return made


def read(head):
    """What tarfile sees in headers."""
    with tarfile.open(
        fileobj=io.BytesIO(head + tarwriter.END), errors="surrogateescape"
    ) as archive:
        return archive.next()


def test_a_header_that_fits_is_one_ustar_block():
    made = node(mode=0o4755, uid=1000, gid=50, mtime=1_700_000_000)
    head = tarwriter.header(b"usr/bin/sudo", made)
    assert len(head) == 512
    assert head[257:265] == b"ustar\x0000"
    info = read(head)
    assert (info.name, info.mode, info.uid, info.gid, info.mtime, info.size) == (
        "usr/bin/sudo", 0o4755, 1000, 50, 1_700_000_000, 0,
    )  # fmt: skip


@EXAMPLES
@given(
    PATH,
    st.sampled_from([Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK, Kind.CHAR, Kind.BLOCK, Kind.FIFO]),
    st.integers(0, 0o7777),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    PATH,
    st.dictionaries(NAME, st.binary(max_size=300), max_size=2),
)
def test_what_is_written_is_read_back(path, kind, mode, uid, gid, mtime, target, xattrs):
    made = Node(kind, mode, uid, gid, mtime)
    made.xattrs = xattrs or None
    if kind is Kind.SYMLINK:
        made.target = target
    elif kind in (Kind.CHAR, Kind.BLOCK):
        made.device = (uid % 2**12, gid % 2**20)
    head = tarwriter.header(path, made)
    (found,) = index(head + tarwriter.END)
    assert (found.path, found.kind, found.mode, found.uid, found.gid, found.mtime) == (
        path, kind, mode, uid, gid, mtime,
    )  # fmt: skip
    assert (found.target, found.device, found.xattrs) == (made.target, made.device, made.xattrs)
    info = read(head)
    assert (os.fsencode(info.name), info.mode, info.uid, info.gid, info.mtime) == (
        path, mode, uid, gid, mtime,
    )  # fmt: skip
    if kind is Kind.SYMLINK:
        assert os.fsencode(info.linkname) == target


@pytest.mark.parametrize("length", [100, 101, 4095])
@pytest.mark.parametrize("beginning", [b"/", b"//", b"./", b"../../"])
def test_a_long_link_target_is_not_left_to_a_pax_reader(beginning, length):
    made = node(Kind.SYMLINK)
    made.target = beginning.ljust(length, b"t")
    head = tarwriter.header(b"n" * 150, made)
    assert b"linkpath" not in head
    assert os.fsencode(read(head).linkname) == made.target


@pytest.mark.parametrize("length", range(85, 112))
def test_a_record_counts_its_own_digits(length):
    # Around 99 bytes the length itself becomes a digit longer.
    info = read(tarwriter.pax([(b"comment", b"x" * length)]) + tarwriter.header(b"f", node()))
    assert info.pax_headers == {"comment": "x" * length}


@pytest.mark.parametrize("mtime", [-1, -(2**40), 2**32, 2**60])
def test_times_are_clamped_to_what_squashfs_holds(mtime):
    nearest = 0 if mtime < 0 else 0xFFFFFFFF
    assert tarwriter.clamp_mtime(mtime) == nearest
    head = tarwriter.header(b"f", node(mtime=mtime))
    assert len(head) == 512  # never a PAX time
    assert read(head).mtime == nearest


def test_sizes_beyond_eight_gibibytes_are_written():
    made = node()
    for size in (0o77777777777, 0o77777777777 + 1, 1 << 40):
        made.data = Data(Nothing(), 0, size)
        assert read(tarwriter.header(b"f", made)).size == size


def test_a_directory_s_name_ends_in_a_slash():
    head = tarwriter.header(b"d" * 100, node(Kind.DIRECTORY))
    assert len(head) > 512  # the slash is the 101st byte
    assert read(head).isdir()
    assert tarwriter.header(b"d", node(Kind.DIRECTORY))[:3] == b"d/\0"


def test_one_more_name_is_a_link_without_data_or_attributes():
    made = node()
    made.data = Data(Nothing(), 0, 99)
    made.xattrs = {b"user.a": b"b"}
    head = tarwriter.link_header(b"n" * 150, b"t" * 150, made)
    info = read(head)
    assert (info.type, info.name, info.linkname, info.size) == (
        tarfile.LNKTYPE, "n" * 150, "t" * 150, 0,
    )  # fmt: skip
    assert not any(key.startswith("SCHILY") for key in info.pax_headers)
    assert len(tarwriter.link_header(b"n", b"t", made)) == 512


def test_the_largest_devices_that_linux_has_are_written():
    made = node(Kind.CHAR)
    made.device = (0xFFF, 0xFFFFF)
    (found,) = index(tarwriter.header(b"c", made))
    assert found.device == made.device


def test_attributes_are_written_in_order_of_their_names():
    one, other = node(), node()
    one.xattrs = {b"user.a": b"1", b"user.b": b"2"}
    other.xattrs = {b"user.b": b"2", b"user.a": b"1"}
    assert tarwriter.header(b"f", one) == tarwriter.header(b"f", other)
