from __future__ import annotations

import io
import math
import os
import subprocess
import tarfile

import pytest
from builders import LAYER, Memory, index
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import (
    BLOCK,
    END,
    GNU,
    PAX,
    USTAR,
    block,
    char,
    directory,
    entry,
    fifo,
    file,
    hardlink,
    layer,
    padded,
    pax_header,
    raw,
    raw_header,
    symlink,
)

from layers.errors import LimitExceeded, MalformedLayer
from layers.kinds import Kind
from layers.limits import Limits
from layers.tarindex import index_layer
from layers.tarnames import clean_path

EXAMPLES = settings(max_examples=100, deadline=None, derandomize=True, database=None)
GNU_MAGIC = b"ustar  \0"
V7_MAGIC = bytes(8)


def refused(tar, problem, limits=None):
    with pytest.raises(MalformedLayer) as caught:
        index(tar, limits)
    assert caught.value.layer == LAYER
    assert problem in caught.value.problem


def long_name(name, kind=b"L"):
    data = name + b"\0"
    return raw(raw_header(b"././@LongLink", kind=kind, size=len(data)) + padded(data))


# What honest writers write.


def test_every_kind_of_entry_is_read():
    found = index(
        layer(
            directory("d", mode=0o1777, uid=1, gid=2, mtime=3),
            file("d/f", b"data", mode=0o4755),
            symlink("d/s", "../x"),
            hardlink("d/h", "/d//f"),
            char("c", 5, 1),
            block("b", 300, 1_000_000),
            fifo("p"),
        )
    )
    assert [(e.path, e.kind) for e in found] == [
        (b"d", Kind.DIRECTORY),
        (b"d/f", Kind.FILE),
        (b"d/s", Kind.SYMLINK),
        (b"d/h", Kind.HARDLINK),
        (b"c", Kind.CHAR),
        (b"b", Kind.BLOCK),
        (b"p", Kind.FIFO),
    ]
    folder, plain, link, hard, tty, disk, _ = found
    assert (folder.mode, folder.uid, folder.gid, folder.mtime) == (0o1777, 1, 2, 3)
    assert (plain.mode, plain.size, plain.offset, plain.start) == (0o4755, 4, 1024, 512)
    assert (link.target, hard.target) == (b"../x", b"d/f")
    assert (tty.device, disk.device) == ((5, 1), (300, 1_000_000))


TEXT = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)
ODD_BYTES = st.binary(min_size=1, max_size=9).map(
    lambda data: os.fsdecode(data.replace(b"/", b"_").replace(b"\0", b"_"))
)
LONG = st.integers(90, 250).map(lambda length: "n" * length)
NAME = st.one_of(TEXT, ODD_BYTES, LONG).filter(
    lambda name: name not in {".", ".."} and len(os.fsencode(name)) <= 255
)
PATH = st.lists(NAME, min_size=1, max_size=3).map("/".join)
ID = st.one_of(st.integers(0, 70_000), st.integers(0, 2**32 - 2))
PLAIN_ID = st.integers(0, 0o7777777)


@st.composite
def items(draw, fmt):
    make = draw(st.sampled_from([file, directory, symlink, hardlink, fifo, char]))
    fields = {
        "mode": draw(st.integers(0, 0o7777)),
        "uid": draw(PLAIN_ID if fmt == USTAR else ID),
        "gid": draw(PLAIN_ID if fmt == USTAR else ID),
        "mtime": draw(times(fmt)),
    }
    name = draw(ustar_paths() if fmt == USTAR else PATH)
    if make is file:
        item = file(name, draw(st.binary(max_size=1500)), **fields)
    elif make in (symlink, hardlink):
        item = make(name, draw(TEXT if fmt == USTAR else PATH), **fields)
    elif make is char:
        item = char(name, draw(st.integers(0, 4095)), draw(st.integers(0, 2**20 - 1)), **fields)
    else:
        item = make(name, **fields)
    if fmt == PAX:
        item = item.at(xattrs=draw(st.dictionaries(st.just("user.k"), st.binary(max_size=40))))
    return item


def times(fmt):
    whole = st.integers(0, 0o77777777777)
    # tarfile writes tinier ones as 1e-05, which is no time in PAX.
    fractions = st.integers(-(10**12), 10**12).map(lambda thousandths: thousandths / 1000)
    if fmt == PAX:
        return st.one_of(whole, st.integers(-(2**35), -1), fractions)
    return whole if fmt == USTAR else st.one_of(whole, st.integers(-(2**40), 2**40))


def ustar_paths():
    return st.one_of(
        TEXT.filter(lambda name: name not in {".", ".."}),
        # Longer than a name's field: the front goes into the prefix.
        st.tuples(st.integers(1, 150), st.integers(1, 90)).map(
            lambda lengths: "p" * lengths[0] + "/" + "n" * lengths[1]
        ),
    )


@pytest.mark.parametrize("fmt", [PAX, GNU, USTAR])
def test_tars_are_read_as_tarfile_reads_them(fmt):
    @EXAMPLES
    @given(st.lists(items(fmt), max_size=4))
    def check(members):
        tar = layer(*members, fmt=fmt)
        with tarfile.open(fileobj=io.BytesIO(tar), errors="surrogateescape") as reference:
            expected = [as_tarfile_says(reference, info) for info in reference]
        assert [as_index_says(tar, e) for e in index(tar)] == expected

    check()


def as_tarfile_says(archive, info):
    data = archive.extractfile(info).read() if info.isreg() else b""
    target = os.fsencode(info.linkname)
    return (
        clean_path(os.fsencode(info.name)),
        info.type,
        info.mode,
        info.uid,
        info.gid,
        math.floor(info.mtime),
        clean_path(target) if info.islnk() else target,
        (info.devmajor, info.devminor) if info.ischr() else (0, 0),
        {
            key.removeprefix("SCHILY.xattr."): os.fsencode(value)
            for key, value in info.pax_headers.items()
            if key.startswith("SCHILY.xattr.")
        },
        data,
    )


def as_index_says(tar, found):
    types = {
        Kind.FILE: tarfile.REGTYPE,
        Kind.DIRECTORY: tarfile.DIRTYPE,
        Kind.SYMLINK: tarfile.SYMTYPE,
        Kind.HARDLINK: tarfile.LNKTYPE,
        Kind.CHAR: tarfile.CHRTYPE,
        Kind.FIFO: tarfile.FIFOTYPE,
    }
    return (
        found.path,
        types[found.kind],
        found.mode,
        found.uid,
        found.gid,
        found.mtime,
        found.target,
        found.device,
        {os.fsdecode(key): value for key, value in (found.xattrs or {}).items()},
        tar[found.offset : found.offset + found.size] if found.kind is Kind.FILE else b"",
    )


def test_large_and_negative_numbers_of_gnu_are_read():
    (found,) = index(layer(file("f", uid=2**31, gid=2**32 - 2, mtime=-5), fmt=GNU))
    assert (found.uid, found.gid, found.mtime, found.start) == (2**31, 2**32 - 2, -5, -1)


def test_a_file_of_more_than_eight_gibibytes_needs_base_256_or_pax():
    size = 1 << 33
    for head in (
        raw_header(b"f", size=b"\x80" + size.to_bytes(11, "big")),
        pax_header({b"size": b"%d" % size}).data + raw_header(b"f"),
    ):
        reader = Memory(head)
        reader.size = len(head) + size
        (found,) = index_layer(reader, LAYER)
        assert (found.size, found.offset) == (size, len(head))


def test_names_of_v7_and_old_style_directories_are_read():
    tar = layer(
        raw(raw_header(b"d/", kind=b"\0", magic=V7_MAGIC, mode=0o700)),
        raw(raw_header(b"d/e/", kind=b"0")),
        raw(raw_header(b"d/f", kind=b"\0", magic=V7_MAGIC, size=1) + padded(b"x")),
        raw(raw_header(b"d/g", kind=b"7", size=1) + padded(b"y")),
        raw(raw_header(b"d/h/", kind=b"7")),
    )
    found = index(tar)
    assert [(e.path, e.kind, e.size) for e in found] == [
        (b"d", Kind.DIRECTORY, 0),
        (b"d/e", Kind.DIRECTORY, 0),
        (b"d/f", Kind.FILE, 1),
        (b"d/g", Kind.FILE, 1),
        (b"d/h", Kind.DIRECTORY, 0),
    ]
    assert [e.start for e in found if e.kind is Kind.FILE] == [-1, -1]


def test_links_and_directories_may_give_a_size_that_they_do_not_store():
    tar = layer(
        raw(raw_header(b"d", kind=b"5", size=4096)),
        raw(raw_header(b"h", kind=b"1", size=4096, target=b"f")),
        raw(raw_header(b"s", kind=b"2", size=1, target=b"f")),
        pax_header({b"size": b"4096"}),
        raw(raw_header(b"e", kind=b"5")),
        file("f", b"x"),
    )
    assert [(e.path, e.size) for e in index(tar)] == [
        (b"d", 0), (b"h", 0), (b"s", 0), (b"e", 0), (b"f", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"./a", b"a"),
        (b"/a", b"a"),
        (b"//a//b///", b"a/b"),
        (b"a/./b/.", b"a/b"),
        (b".", b""),
        (b"./", b""),
        (b"/", b""),
        (b"", b""),
        (b"a/..", b""),
        (b"a/../b", b"b"),
        (b"./a/b/../../c/./../d", b"d"),
        (b"a/.", b"a"),
        (b"..a/b..", b"..a/b.."),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"n" * 255, b"n" * 255),
        (b".wh." + b"n" * 255, b".wh." + b"n" * 255),
    ],
)
def test_names_are_cleaned(name, path):
    assert clean_path(name) == path
    assert index(layer(directory(name)))[0].path == path


def test_names_that_are_not_clean_are_not_copied_as_they_stand():
    names = ["./a", "/a", "a//b", "a/./b", "a/.", "x/../a", ".a", "a/.b", "a/..b"]
    found = index(layer(*(raw(raw_header(name.encode())) for name in names)))
    assert [e.path for e in found] == [
        b"a", b"a", b"a/b", b"a/b", b"a", b"a", b".a", b"a/.b", b"a/..b",
    ]  # fmt: skip
    assert [e.start for e in found[:6]] == [-1] * 6
    (copied,) = index(layer(file("a/b"), fmt=GNU))
    assert copied.start == 0


@pytest.mark.parametrize("fmt", [PAX, GNU])
def test_a_long_name_alone_does_not_keep_a_file_from_being_copied(fmt):
    name = "a/" + "n" * 250
    (found,) = index(layer(file(name, b"data"), fmt=fmt))
    assert (found.path, found.start) == (name.encode(), 0)


@pytest.mark.parametrize(
    "item",
    [
        file("f", mtime=1.5),
        file("f", mtime=-1),
        file("f", mtime=2**32),
        file("f", xattrs={"user.k": b"v"}),
        file("n" * 200, xattrs={"user.k": b"v"}),
        file("f", uid=2**31),
    ],
)
def test_what_a_reader_may_take_otherwise_is_not_copied(item):
    (found,) = index(layer(item))
    assert found.start == -1


# Extension headers.


def test_pax_records_win_over_gnu_long_names_and_those_over_the_header():
    tar = layer(
        long_name(b"from-gnu"),
        pax_header({b"path": b"from-pax", b"linkpath": b"pax-target"}),
        long_name(b"gnu-target", b"K"),
        raw(raw_header(b"header", kind=b"2", target=b"header-target")),
        long_name(b"gnu-only"),
        long_name(b"k" * 300, b"K"),
        raw(raw_header(b"header", kind=b"2", target=b"header-target")),
        raw(raw_header(b"header", kind=b"2", target=b"header-target")),
    )
    assert [(e.path, e.target) for e in index(tar)] == [
        (b"from-pax", b"pax-target"),
        (b"gnu-only", b"k" * 300),
        (b"header", b"header-target"),
    ]


def test_pax_numbers_win_over_the_header():
    records = {b"size": b"3", b"uid": b"5000000", b"gid": b"6000000", b"mtime": b"-1.5"}
    tar = layer(pax_header(records), raw(raw_header(b"f", size=9) + padded(b"abc")), file("g"))
    found, after = index(tar)
    assert (found.size, found.uid, found.gid, found.mtime) == (3, 5_000_000, 6_000_000, -2)
    assert after.path == b"g"


def test_global_pax_records_hold_until_they_are_replaced_or_emptied():
    tar = layer(
        pax_header({b"uid": b"7", b"comment": b"by git"}, kind=b"g"),
        file("a", uid=1),
        pax_header({b"uid": b"8"}),
        file("b", uid=1),
        file("c", uid=1),
        pax_header({b"uid": b""}, kind=b"g"),
        file("d", uid=1),
        fmt=GNU,
    )
    found = index(tar)
    assert [(e.path, e.uid) for e in found] == [(b"a", 7), (b"b", 8), (b"c", 7), (b"d", 1)]
    assert [e.start for e in found[:3]] == [-1, -1, -1]


def test_an_empty_local_record_undoes_a_global_one():
    tar = layer(
        pax_header({b"mtime": b"5"}, kind=b"g"),
        pax_header({b"mtime": b""}),
        file("a", mtime=9),
        fmt=GNU,
    )
    assert index(tar)[0].mtime == 9


def test_names_are_bytes_whatever_the_charset_record_says():
    tar = layer(pax_header({b"hdrcharset": b"BINARY", b"path": b"\xff\xfe"}), file("x"), fmt=GNU)
    assert index(tar)[0].path == b"\xff\xfe"


def test_attributes_of_libarchive_and_schily_are_read():
    records = {
        b"LIBARCHIVE.xattr.user.a%3Db": b"eA==",
        b"SCHILY.xattr.security.capability": b"\1\0",
    }
    (found,) = index(layer(pax_header(records), file("x"), fmt=GNU))
    assert found.xattrs == {b"user.a=b": b"x", b"security.capability": b"\1\0"}


def test_an_attribute_that_is_ignored_is_told_with_its_entry_and_only_so_often():
    odd = pax_header({b"LIBARCHIVE.xattr.user.a": b"!"})
    told = []
    found = index(layer(odd, file("a"), fmt=GNU), warn=told.append)
    assert [(e.path, e.xattrs) for e in found] == [(b"a", None)]
    assert told == [
        f'layer {LAYER}: entry "a": its extended attribute LIBARCHIVE.xattr.user.a is not base64; '
        "it is ignored"
    ]
    told.clear()
    many = [item for number in range(50) for item in (odd, file(str(number)))]
    assert len(index(layer(*many, fmt=GNU), warn=told.append)) == 50
    assert len(told) == 4
    assert told[-1] == f"layer {LAYER}: 47 more extended attributes are ignored"
    assert len(index(layer(*many, fmt=GNU))) == 50


def test_unknown_records_are_no_matter():
    (found,) = index(layer(pax_header({b"VENDOR.x": b"y", b"atime": b"nonsense"}), file("f")))
    assert found.path == b"f"


# Sparse files.


def sparse_file(folder, *options):
    """What GNU tar writes of a file with holes, and the file's contents."""
    with (folder / "sparse").open("wb") as sink:
        for number in range(30):
            sink.seek(number * 150_000)
            sink.write(b"%d" % number * 3000)
        sink.truncate(5_000_000)
    (folder / "z").write_bytes(b"after")
    tar = subprocess.run(
        ["tar", "--sparse", *options, "--create", "--file=-", "--directory", folder, "sparse", "z"],
        check=True,
        capture_output=True,
    ).stdout
    return tar, (folder / "sparse").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=oldgnu"],
        ["--format=posix", "--sparse-version=0.0"],
        ["--format=posix", "--sparse-version=0.1"],
        ["--format=posix", "--sparse-version=1.0"],
    ],
    ids=lambda options: options[-1],
)
def test_sparse_files_of_gnu_tar_are_read(tmp_path, options):
    tar, expected = sparse_file(tmp_path, *options)
    found, after = index(tar)
    assert (found.path, found.size, found.start) == (b"sparse", 5_000_000, -1)
    assert len(found.segments) == 30
    content, stored = bytearray(found.size), found.offset
    for offset, length in found.segments:
        content[offset : offset + length] = tar[stored : stored + length]
        stored += length
    assert content == expected
    assert (after.path, tar[after.offset : after.offset + 5]) == (b"z", b"after")


def test_a_file_that_is_one_hole_has_no_segments(tmp_path):
    with (tmp_path / "hole").open("wb") as sink:
        sink.truncate(1 << 20)
    for options in (["--format=gnu"], ["--format=posix"]):
        tar = subprocess.run(
            ["tar", "-S", *options, "-cf-", "-C", tmp_path, "hole"], check=True, capture_output=True
        ).stdout
        (found,) = index(tar)
        assert (found.size, found.segments) == (1 << 20, ())


HOLE = {b"GNU.sparse.size": b"%d" % (1 << 30), b"GNU.sparse.map": b""}


def sparse_1(lines, size, real_size):
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": b"f",
        b"GNU.sparse.realsize": real_size,
    }
    data = padded(lines) + bytes(size)
    return layer(
        pax_header(records),
        raw(raw_header(b"GNUSparseFile.0/f", size=len(data)) + padded(data)),
    )


def test_a_sparse_map_longer_than_one_read_is_read():
    count = 3000
    lines = b"%d\n" % count + b"".join(b"%d\n1\n" % (2 * number) for number in range(count))
    (found,) = index(sparse_1(lines, count, b"6000"))
    assert len(found.segments) == count
    assert found.offset == 1536 + len(padded(lines))


@pytest.mark.parametrize(
    ("lines", "size", "real_size", "problem"),
    [
        (b"1\n0\n", 0, b"9", "its sparse map is incomplete"),
        (b"1\n0\nx\n", 0, b"9", "is not a number"),
        (b"9\n" + b"0\n" * 17 + b"0" * 476, 0, b"9", "its sparse map is incomplete"),
        (b"1\n0\n4\n", 3, b"9", "does not fit its size"),
        (b"1\n8\n4\n", 4, b"9", "does not fit its size"),
        (b"2\n4\n1\n0\n1\n", 2, b"9", "out of order"),
        (b"1\n0\n4\n", 4, b"", "is not a number"),
    ],
)
def test_broken_sparse_maps_are_told(lines, size, real_size, problem):
    refused(sparse_1(lines, size, real_size), problem)


def test_a_sparse_map_that_never_ends_is_told():
    refused(sparse_1(b"9999\n" + b"1\n" * 9000, 0, b"9"), "incomplete", Limits(header_bytes=9000))


def test_an_old_sparse_map_that_is_cut_or_too_long_is_told():
    head = bytearray(raw_header(b"f", kind=b"S", magic=GNU_MAGIC))
    head[482] = 1  # more of the map follows
    head[483:495] = b"00000000000\0"
    stamped = bytes(head[:148]) + b"%06o\0 " % tarfile.calc_chksums(bytes(head))[0] + head[156:]
    refused(bytes(stamped), "the tar is cut off at byte 512")
    more = bytearray(BLOCK)
    more[504] = 1
    tar = bytes(stamped) + bytes(more) * 4 + END
    with pytest.raises(LimitExceeded, match="a sparse map passes the limit of 1,024"):
        index(tar, Limits(header_bytes=1024))


def test_holes_count_for_the_plain_size_of_a_layer():
    # They cost no bytes of the tar, but the squashfs is made of as many zeros.
    tar = layer(*(pax_header(dict(HOLE)), raw(raw_header(b"f", size=0))) * 3)
    assert [e.size for e in index(tar)] == [1 << 30] * 3
    with pytest.raises(LimitExceeded, match="its plain size, holes included, passes the limit of"):
        index(tar, Limits(total_bytes=2 << 30))


# What is malformed.


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (file("a/../../b"), 'entry "a/../../b": "a/../../b" leaves the image (".." in its path)'),
        (hardlink("h", "a/../../f"), 'entry "h": "a/../../f" leaves the image (".." in its path)'),
        (file(".."), 'leaves the image (".." in its path)'),
        (file("/../etc/passwd"), 'leaves the image (".." in its path)'),
        (hardlink("h", "../f"), 'entry "h": "../f" leaves the image (".." in its path)'),
        (raw(raw_header(b"")), 'entry "": the image\'s root must be a directory'),
        (raw(raw_header(b"", kind=b"1", target=b"f")), "the image's root must be a directory"),
        (raw(raw_header(b"a/..", kind=b"2", target=b"f")), "the image's root must be a directory"),
        (raw(raw_header(b"s", kind=b"2")), 'entry "s": it is a symbolic link to an empty name'),
        (file(".wh." + "n" * 256), "a name has more than 255 bytes"),
        (file("n" * 256), "a name has more than 255 bytes, the most that Linux allows"),
        (file("a/" + "n" * 256 + "/b"), "a name has more than 255 bytes"),
        (file("."), "the image's root must be a directory"),
        (symlink(".", "x"), "the image's root must be a directory"),
        (raw(raw_header(b"x", kind=b"s")), "its type b's' (socket) is none that an image can hold"),
        (raw(raw_header(b"x", kind=b"D")), "(GNU directory dump)"),
        (raw(raw_header(b"x", kind=b"M")), "(multi-volume)"),
        (raw(raw_header(b"x", kind=b"V")), "(volume)"),
        (raw(raw_header(b"x", kind=b"Z")), "its type b'Z' is none that an image can hold"),
        (raw(raw_header(b"x", checksum=1)), 'entry "x": the checksum of its tar header is wrong'),
        (raw(raw_header(b"x", size=b"-1")), 'entry "x": '),
        (raw(raw_header(b"x", mode=b"rwx")), 'entry "x": '),
        (raw(raw_header(b"x", kind=b"3", major=b"zz")), 'entry "x": '),
    ],
)
def test_entries_that_no_image_may_hold_are_named(item, problem):
    refused(layer(item, fmt=GNU), problem)


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ({b"path": b"a\0b"}, "its name holds a NUL byte"),
        ({b"path": b"../x"}, 'leaves the image (".." in its path)'),
        ({b"uid": b"--1"}, "is not a number"),
        ({b"uid": b"4294967296"}, "its owner 4294967296 is none that Linux has"),
        ({b"gid": b"-2147483649"}, "its owner -2147483649 is none that Linux has"),
        ({b"gid": b"1.5"}, "is not a number"),
        ({b"size": b"x"}, "is not a number"),
        ({b"mtime": b"now"}, "is not a time"),
        ({b"SCHILY.xattr.user.\0": b"v"}, "the name of an extended attribute"),
        ({b"GNU.sparse.size": b"1", b"GNU.sparse.map": b"0"}, "its sparse map is incomplete"),
    ],
)
def test_records_that_say_nonsense_are_told(records, problem):
    refused(layer(pax_header(records), file("x"), fmt=GNU), problem)


def test_the_error_names_the_entry_by_its_long_name():
    refused(layer(long_name(b"long/name"), raw(raw_header(b"short", kind=b"Z"))), '"long/name": ')


def test_a_symbolic_link_to_a_name_with_nul_is_told():
    tar = layer(pax_header({b"linkpath": b"a\0b"}), raw(raw_header(b"s", kind=b"2")))
    refused(tar, "it is a symbolic link to an empty name or one with a NUL")


@pytest.mark.parametrize("body", [b"nonsense", b"99 k=v\n", b"6 k=v"])
@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_broken_pax_headers_are_told(kind, body):
    head = raw(raw_header(b"PaxHeader", kind=kind, size=len(body)) + padded(body))
    refused(layer(head, file("x")), "a PAX record")


def test_an_extension_header_at_the_end_is_of_no_matter():
    # GNU tar, umoci and buildah read such a layer; were it cut off, its digest would tell.
    for item in (pax_header({b"path": b"x"}), long_name(b"x"), long_name(b"x", b"K")):
        for end in (END, b""):
            assert [e.path for e in index(layer(file("a"), item, end=end))] == [b"a"]


def test_an_extension_header_that_is_too_long_is_refused_unread():
    tar = raw_header(b"PaxHeader", kind=b"x", size=1 << 30)
    with pytest.raises(LimitExceeded, match="an extension header of 1,073,741,824 bytes passes"):
        index(tar)


def test_a_tar_without_an_end_marker_is_read():
    # Docker's own writers leave it out at times; a cut would show in the layer's digest.
    assert [e.path for e in index(layer(file("a", b"x"), end=b""))] == [b"a"]
    assert index(b"") == []


@pytest.mark.parametrize("cut", [1, 100, 511, 513, 512 + 1024 - 3])
def test_a_tar_that_is_cut_off_is_told(cut):
    tar = layer(file("a"), file("b", bytes(1024)), end=b"")
    problem = "the tar is cut off at byte "
    refused(tar[:cut] if cut < 512 else tar[: 512 + cut], problem)


@pytest.mark.parametrize("length", [513, 700, 1023])
@pytest.mark.parametrize("name", ["a", "n" * 200])
def test_padding_after_the_last_file_may_be_missing_and_is_not_promised(name, length):
    whole = entry(file(name, b"x"), GNU)
    (found,) = index(whole[: len(whole) - 1024 + length])
    assert (found.size, found.start) == (1, -1)
    (found,) = index(whole)
    assert (found.size, found.start) == (1, 0)


def test_a_long_name_that_is_cut_off_is_told():
    refused(long_name(b"n" * 600).data[:900], "the tar is cut off at byte 900")


def test_what_follows_the_end_is_ignored():
    # As GNU tar, umoci and buildah do; the layer's digest covers it all the same.
    tar = layer(file("a"))
    for more in (bytes(3 << 20), b"x", bytes(2 << 20) + b"x", layer(file("b")), b"x" * 700):
        assert [e.path for e in index(tar + more)] == [b"a"]


def test_one_block_of_zeros_is_an_end_where_nothing_follows():
    one = entry(file("a")) + bytes(BLOCK)
    assert [e.path for e in index(one)] == [b"a"]
    assert [e.path for e in index(one + bytes(100))] == [b"a"]
    # GNU tar alone takes it for the end; umoci and buildah refuse it.
    for more in (entry(file("b")), b"junk" * 200, b"x"):
        refused(one + more, "data follow a lone block of zeros, at byte 512")


@pytest.mark.parametrize("fmt", [GNU, PAX])
def test_stargz_landmarks_at_the_root_are_dropped(fmt):
    names = ["stargz.index.json", ".prefetch.landmark", ".no.prefetch.landmark"]
    tar = layer(
        *(file(name, b"{}") for name in names),
        *(file(f"./{name}", b"{}") for name in names),
        *(file(f"a/{name}", b"{}") for name in names),
        fmt=fmt,
    )
    assert [e.path for e in index(tar)] == [f"a/{name}".encode() for name in names]


# Whatever comes.


def read_or_refused(data):
    """Whether *data* is a layer; anything but a refusal on purpose fails the test."""
    try:
        index(data, Limits(header_bytes=10_000))
    except (MalformedLayer, LimitExceeded):
        return False
    return True


@EXAMPLES
@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_refused(data):
    assert not read_or_refused(b"x" + data)


VALID = (
    layer(file("a", b"x" * 600), symlink("b", "a"), directory("d"), char("c", 1, 3), fmt=GNU)
    + bytes(512),
    layer(file("n" * 200, b"x", xattrs={"user.a": b"b"}, mtime=1.5), hardlink("h", "n" * 150)),
    layer(file("n" * 200, b"x"), hardlink("h", "k" * 150), fmt=GNU),
    sparse_1(b"1\n0\n4\n", 4, b"9"),
)


@settings(EXAMPLES, max_examples=300)
@given(
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=4),
    st.booleans(),
    st.integers(0, 3000),
)
def test_damaged_tars_are_read_or_refused(tar, changes, stamp, cut):
    data = bytearray(tar)
    for position, value in changes:
        data[position % len(data)] = value
    if stamp:
        # With the checksum right again, the damage goes deeper.
        for start in {position % len(data) // 512 * 512 for position, _ in changes}:
            head = bytes(data[start : start + 512])
            if len(head) == 512:
                data[start + 148 : start + 156] = b"%06o\0 " % tarfile.calc_chksums(head)[0]
    whole = bytes(data[: max(cut, 1)]) if cut % 3 == 0 else bytes(data)
    read_or_refused(whole)
