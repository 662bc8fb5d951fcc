"""What mksquashfs makes of the tar it is fed, read back by unsquashfs."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from pathlib import Path

import pytest
from builders import as_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import GNU, PAX, char, directory, file, layer, raw, raw_header, symlink
from support.trees import ROOT, differences, snapshot_squashfs

from assembler.errors import SquashfsError
from assembler.squashfs import SquashfsOptions, write_squashfs
from layers import tarstream, tempfiles
from layers.merge import LayerIndex, merge
from layers.spool import Spool
from layers.tarindex import index_layer
from layers.tarwriter import pax
from layers.tempfiles import TempArea
from layers.tree import Tree

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True, database=None)
PREFIXES = (b"", b"/", b"//", b"./", b"../", b"../../", b".", b"/../", b"./../", b"...")
LONGEST_TARGET = 4095


def squashed(*items, fmt=PAX):
    """The tree of one layer, and what a squashfs of it holds. Also mksquashfs's warnings."""
    tar = layer(*items, fmt=fmt)
    warnings = []
    with tempfile.TemporaryDirectory() as folder:
        area = TempArea(Path(folder))
        with Spool(area) as spool, area.file() as out:
            spool.append(tar)
            index = LayerIndex("layer", list(index_layer(spool, "layer")), spool)
            tree = merge([index])
            expected = as_snapshot(tree)
            write_squashfs(tree, out, SquashfsOptions(), 0, lambda *_: None, warnings.append)
            out.publish(Path(folder) / "out")
            found = snapshot_squashfs(Path(folder) / "out")
    del found[ROOT]
    return expected, found, warnings


def assert_kept(*items, fmt=PAX):
    expected, found, warnings = squashed(*items, fmt=fmt)
    ignored = set() if os.geteuid() == 0 else {"uid", "gid", "xattrs"}
    assert differences(expected, found, ignore=ignored) == []
    assert warnings == []


def in_folders(targets):
    """Links with these targets, few to a folder: mksquashfs walks folders as lists."""
    return [symlink(f"{n // 200}/{n}", target) for n, target in enumerate(targets)]


@pytest.mark.parametrize("fmt", [PAX, GNU])
def test_links_keep_targets_of_every_length(fmt):
    endings = itertools.cycle([b"", b"/", b"/.", b"/..", b"\xff", b"\n"])
    prefixes = itertools.cycle(PREFIXES)
    targets = []
    for length, prefix, ending in zip(
        range(1, LONGEST_TARGET + 1), prefixes, endings, strict=False
    ):
        fill = b"x" * (length - len(prefix) - len(ending))
        targets.append((prefix + fill + ending)[:length])
    assert_kept(*in_folders(targets), fmt=fmt)


def test_links_keep_targets_of_every_beginning():
    lengths = [1, 2, 98, 99, 100, 101, 102, 155, 156, 255, 256, 257, 512, 4094, 4095]
    bodies = [b"x" * 4095, b"\xff\xfe" * 2048, b"../" * 1365, b"/" * 4095, b"a/" * 2048]
    targets = [
        (prefix + body)[:length] for prefix in PREFIXES for body in bodies for length in lengths
    ]
    assert_kept(*in_folders(targets))


def test_a_long_name_may_link_to_a_long_target():
    name = "/".join(["n" * 200] * 3)
    assert_kept(symlink(name, "../../" + "t" * 120))


def test_owners_are_numbers_whatever_names_the_layer_gives_them():
    # mksquashfs asks this machine's passwd for the names in a header before it looks at numbers.
    named = [
        raw_header(b"games", uid=777, gid=778, owner=b"games", group=b"games"),
        raw_header(b"root", uid=777, gid=778, owner=b"root", group=b"root"),
        raw_header(b"both", uid=0, gid=50, owner=b"root", group=b"games"),
        raw_header(b"zero", uid=0, gid=0, owner=b"root", group=b"root"),
        raw_header(b"unknown", uid=7, gid=8, owner=b"no-such-user", group=b"no-such-group"),
    ]
    assert_kept(*map(raw, named))


@pytest.mark.parametrize(
    "header",
    [
        raw_header(b"f", mode=0o100644),
        raw_header(b"f", mode=0o160644),
        raw_header(b"f", mode=b"   644 \0"),
        raw_header(b"f", mode=b"\t  644 \0"),
        raw_header(b"f", uid=b"\x80\0\0\0\xff\xff\xff\xfd"),
        raw_header(b"f", mtime=0xFFFFFFFF),
        raw_header(b"f", mtime=b"\x80" + (2**31).to_bytes(11, "big")),
        raw_header(b"f", size=b" 0\0"),
        raw_header(b"f", size=b"\t0\0"),
        raw_header(b"f", mode=b"100644 \0", uid=b"000007 \0"),
        raw_header(b"d/."),
    ],
)
def test_odd_numbers_in_headers_are_kept(header):
    assert_kept(raw(header))


def extended(*headers, name=b"f"):
    """A file below extension headers."""
    return raw(b"".join(headers) + raw_header(name, uid=5))


def long_name(name):
    return raw_header(b"././@LongLink", kind=b"L", size=len(name) + 1) + name.ljust(512, b"\0")


@pytest.mark.parametrize(
    "item",
    [
        extended(pax([(b"path", b"a")]), long_name(b"b")),
        extended(long_name(b"b"), pax([(b"path", b"a")])),
        extended(pax([(b"path", b"")])),
        extended(long_name(b"")),
        extended(pax([(b"path", b"a"), (b"path", b"b")])),
        extended(pax([(b"path", b"./a//b")])),
        extended(raw_header(b"x", kind=b"x", size=12) + b"9 path=a\n\0\0\0".ljust(512, b"\0")),
    ],
)
def test_extension_headers_name_a_file_once(item):
    assert_kept(item)


XATTR_NAMES = st.builds(
    lambda space, name: space + name,
    st.sampled_from(["user.", "trusted.", "security."]),
    st.text(
        st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="="),
        min_size=1,
        max_size=40,
    ),
)
XATTRS = st.dictionaries(
    XATTR_NAMES,
    st.one_of(st.binary(max_size=40), st.binary(min_size=250, max_size=300)),
    max_size=3,
)
NUMBERS = st.one_of(st.integers(0, 2**32 - 2), st.integers(2**21 - 2, 2**21 + 1))
TIMES = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([2**31 - 1, 2**31, 2**32 - 1]))
NAMES = (
    st.binary(min_size=1, max_size=255)
    .map(lambda raw: re.sub(rb"[/\0]", b"_", raw))
    .filter(lambda name: name not in {b".", b".."} and not name.startswith(b".wh."))
)


@EXAMPLES
@given(
    st.dictionaries(
        NAMES,
        st.tuples(NUMBERS, NUMBERS, TIMES, st.integers(0, 0o7777), XATTRS),
        min_size=1,
        max_size=8,
    ),
    st.binary(max_size=5),
)
def test_metadata_is_kept(files, data):
    assert_kept(
        *(
            file(name, data, mode, uid=uid, gid=gid, mtime=mtime, xattrs=xattrs)
            for name, (uid, gid, mtime, mode, xattrs) in files.items()
        )
    )


@pytest.mark.parametrize("size", [1, 255, 600])
def test_attributes_are_bytes(size):
    values = {
        f"user.{n}": value
        for n, value in enumerate(
            [b"", b"\0" * size, b"\n" * size, b"=" * size, b"a=b\nc", b"\xff" * size]
        )
    }
    assert_kept(file("f", xattrs=values), directory("d", xattrs=values))


def test_a_temporary_name_that_was_swapped_is_not_written_through(tmp_path, monkeypatch):
    # As where the file system makes no files without names.
    monkeypatch.setattr(tempfiles, "_open_unnamed", lambda _folder, _mode: None)
    (tmp_path / "victim").write_bytes(b"precious")
    with TempArea(tmp_path, "out").file() as out:
        (name,) = tmp_path.glob(".out.*")
        name.unlink()
        name.symlink_to(tmp_path / "victim")
        write_squashfs(Tree(), out, SquashfsOptions(), 0, lambda *_: None, print)
        assert os.pread(out.fileno(), 4, 0) == b"hsqs"
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert name.is_symlink()


@pytest.mark.parametrize("named", [False, True])
def test_a_mksquashfs_that_fails_removes_nothing(tmp_path, monkeypatch, named):
    if named:
        monkeypatch.setattr(tempfiles, "_open_unnamed", lambda _folder, _mode: None)
    damaged = list(tarstream.spans(Tree()))
    monkeypatch.setattr(tarstream, "spans", lambda _tree: [b"no tar" * 1000, *damaged])
    with TempArea(tmp_path).file() as out:
        before = os.fstat(out.fileno()).st_nlink
        with pytest.raises(SquashfsError):
            write_squashfs(Tree(), out, SquashfsOptions(), 0, lambda *_: None, print)
        assert os.fstat(out.fileno()).st_nlink == before == named
    assert list(tmp_path.iterdir()) == []


def test_an_attribute_that_no_tar_can_name_is_left_out_with_a_warning():
    # libarchive escapes names; in a SCHILY record, "=" would end the name.
    items = [
        file("f", pax={"LIBARCHIVE.xattr.user.a%3Db": "Yw==", "LIBARCHIVE.xattr.user.d": "ZQ=="}),
        symlink("l", "f"),
    ]
    expected, found, warnings = squashed(*items)
    assert dict(expected[b"f"].xattrs) == {"user.a=b": b"c", "user.d": b"e"}
    assert dict(found[b"f"].xattrs) == {"user.d": b"e"}
    assert warnings == [
        'f: the extended attribute "user.a=b" is left out, because mksquashfs cannot read a name '
        'with "=" from a tar'
    ]


def test_devices_keep_their_numbers():
    # From 2**19 on, mksquashfs 4.5.1 warns and takes minor numbers for negative ones.
    assert_kept(char("c", 4095, 2**19 - 1), char("d", 255, 256))
