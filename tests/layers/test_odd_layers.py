"""Layers that are odd, and that umoci and buildah read all the same: ours is the tree of umoci."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace

import pytest
from builders import as_snapshot, merged
from support.images import oci_layout
from support.layers import (
    END,
    GNU,
    directory,
    entry,
    file,
    hardlink,
    layer,
    padded,
    pax_header,
    raw,
    raw_header,
    symlink,
    whiteout,
)
from support.trees import ROOT, differences, snapshot_umoci

# A user other than root gets all files for himself.
IGNORED = frozenset() if os.geteuid() == 0 else frozenset({"uid", "gid", "xattrs"})


def as_umoci_unpacks(*tars):
    with tempfile.TemporaryDirectory() as folder:
        oci_layout(folder, list(tars), compression=None)
        return snapshot_umoci(folder)


def same_as_umoci(*tars):
    """Our tree, which is the one that umoci makes; times of directories and the root aside."""
    mine, theirs = as_snapshot(merged(*tars)), as_umoci_unpacks(*tars)
    root = theirs.pop(ROOT)
    assert differences(timeless(theirs), timeless(mine), ignore=IGNORED) == []
    return root, mine


def timeless(snapshot):
    return {
        path: found if found.kind == "file" else replace(found, mtime=0)
        for path, found in snapshot.items()
    }


TAR = layer(directory("d"), file("d/f", b"data", uid=3))


@pytest.mark.parametrize(
    "tar",
    [
        layer(file("d/f", b"data"), end=b""),
        layer(directory("d"), end=b"") + entry(file("d/f", b"data"))[:516],
        TAR + b"x" * 700,
        TAR + layer(file("other")),
        TAR + bytes(700),
        TAR[: -len(END)] + pax_header({b"path": b"x"}).data + END,
    ],
    ids=["no end", "no padding", "garbage", "another tar", "part of a block", "extension"],
)
def test_a_tar_may_end_in_other_ways(tar):
    _, tree = same_as_umoci(tar)
    assert tree[b"d/f"].size == 4


def test_a_directory_without_a_name_is_the_root():
    # public.ecr.aws/lambda/python has one (github.com/haskell/tar/issues/73).
    unnamed = raw(raw_header(b"", kind=b"5", mode=0o711, uid=5, gid=6))
    root, tree = same_as_umoci(layer(unnamed, file("a", b"x")))
    assert tree.keys() == {b"a"}
    if not IGNORED:
        found = merged([unnamed]).root
        assert (found.mode, found.uid, found.gid) == (root.mode, root.uid, root.gid)


@pytest.mark.parametrize(
    "items",
    [
        [file("a/../b", b"x")],
        [directory("a"), file("a/../b", b"x"), directory("./c/d/../e/.")],
        [directory("a"), directory("a/..", mode=0o700)],
        [file("b", b"x"), hardlink("h", "a/../b")],
        # The dots count by the names, as they are written: not from where a link leads to.
        [directory("d/e"), symlink("l", "d/e"), file("l/../x", b"x")],
        [
            file("b", b"x"), file("d/b", b"other"), directory("d/e"), symlink("l", "d/e"),
            hardlink("h", "l/../b"),
        ],
    ],
)  # fmt: skip
def test_dots_that_stay_inside_are_resolved_by_the_names_alone(items):
    same_as_umoci(layer(*items, fmt=GNU))


def test_dots_in_the_name_of_a_whiteout_are_resolved():
    lower = layer(file("a/keep"), file("b/gone"))
    _, tree = same_as_umoci(lower, layer(whiteout("a/../b/gone")))
    assert b"b/gone" not in tree


# What unions of directories keep for themselves: aufs, and what imitates it (moby/moby#4178).

PLINKS = ".wh..wh.plnk"


def without_meta(snapshot):
    """What umoci unpacks, less the names that no image can hold (layer.md, "Whiteouts")."""
    hidden = {path for path in snapshot if b".wh." in path}
    return {
        path: replace(found, links=seen if len(seen) > 1 else ())
        for path, found in snapshot.items()
        if path not in hidden
        for seen in [tuple(name for name in found.links if name not in hidden)]
    }


@pytest.mark.parametrize(
    "items",
    [
        [
            directory(PLINKS), file(f"{PLINKS}/12.3", b"data", mode=0o755, uid=4), directory("d"),
            hardlink("d/a", f"{PLINKS}/12.3"), hardlink("d/b", f"{PLINKS}/12.3"),
        ],
        [file("a", b"x"), hardlink(f"{PLINKS}/1.2", "a"), hardlink("b", f"{PLINKS}/1.2")],
        [symlink(f"{PLINKS}/1.2", "to"), hardlink("b", f"{PLINKS}/1.2")],
        [file(f"d/{PLINKS}/1.2", b"x"), hardlink("d/l", f"d/{PLINKS}/1.2")],
        [file(".wh..wh.aufs"), directory(".wh..wh.orph"), file(".wh..wh.orph/x"), file("a")],
        # moby/moby#43279 takes such a directory in an image for a bug.
        [directory("e"), directory("e/.wh..wh.opaque"), file("e/.wh..wh.opaque/x"), file("e/new")],
        [directory("e"), directory("e/.wh..wh..opaque"), file("e/.wh..wh..opaque/x")],
        [file("e/.wh..wh.other"), file("e/new")],
    ],
)  # fmt: skip
def test_what_aufs_keeps_for_itself_is_linked_to_and_not_in_the_image(items):
    mine = as_snapshot(merged(items))
    theirs = without_meta(as_umoci_unpacks(layer(*items)))
    theirs.pop(ROOT)
    assert differences(timeless(theirs), timeless(mine), ignore=IGNORED) == []


def test_a_meta_directory_hides_nothing_of_lower_layers():
    lower, upper = layer(file("e/old")), layer(directory("e/.wh..wh.opaque"), file("e/new"))
    _, tree = same_as_umoci(lower, upper)
    assert b"e/old" in tree


@pytest.mark.parametrize("owner", [2**31, 2**32 - 2, 2**32 - 1, -1, -2, -(2**31)])
def test_owners_of_32_bits_are_what_chown_makes_of_them(owner):
    in_header = (owner & (1 << 64) - 1 | 1 << 63).to_bytes(8, "big")
    same_as_umoci(
        layer(
            pax_header({b"uid": b"%d" % owner}),
            file("in-pax", uid=3, gid=7),
            raw(raw_header(b"in-header", uid=8, gid=in_header)),
            fmt=GNU,
        )
    )


@pytest.mark.parametrize("value", [b"!", b"eA==" + b"\xff"])
def test_an_attribute_that_is_not_base64_is_ignored(value):
    odd = pax_header({b"LIBARCHIVE.xattr.user.a": value})
    same_as_umoci(layer(odd, file("f", b"x"), fmt=GNU))


@pytest.mark.parametrize(
    ("magic", "prefix"),
    [
        (b"ustar\x0010", b"usr/lib"),
        (b"ustar\0\0\0", b"usr/lib"),
        (b"ustar  \0", b"usr/lib"),
        (b"ustar  \0", b"12/34"),
        (b"ustar  \0", b"14000000000\x0014000000000\0"),
        (bytes(8), b"usr/lib"),
    ],
)
@pytest.mark.parametrize("number", [b"0000007\0", b"\x80" + bytes(6) + b"\x07"])
def test_prefixes_are_told_from_the_times_of_gnu(magic, prefix, number):
    header = raw_header(b"name", prefix=prefix, magic=magic, uid=number, size=1)
    same_as_umoci(layer(raw(header + padded(b"x"))))


def test_a_file_whose_name_ends_with_a_slash_keeps_its_data():
    named = raw_header(b"d/", size=3) + padded(b"abc")
    in_pax = pax_header({b"path": b"e//"}).data + raw_header(b"x", size=3) + padded(b"abc")
    _, tree = same_as_umoci(layer(raw(named), raw(in_pax), file("z", b"z")))
    assert tree[b"d"].size == tree[b"e"].size == 3


def test_a_header_of_v7_has_no_device_numbers():
    found = merged([raw(raw_header(b"c", kind=b"3", magic=bytes(8), major=1, minor=3))])
    assert found.find(b"c").device == (0, 0)
    if not IGNORED:
        same_as_umoci(layer(raw(raw_header(b"c", kind=b"3", magic=bytes(8), major=1, minor=3))))


@pytest.mark.parametrize(
    ("major", "minor"),
    [(4095, 2**20 - 1), (4096 + 7, 2**20 + 5), (2**33 + 1, 3), (1, 2**40 + 9), (-1, -2)],
)
def test_numbers_of_devices_have_the_bits_that_linux_keeps(major, minor):
    def in_header(value):
        return (value & (1 << 64) - 1 | 1 << 63).to_bytes(8, "big")

    header = raw_header(b"c", kind=b"3", major=in_header(major), minor=in_header(minor))
    assert merged([raw(header)]).find(b"c").device == (major % 4096, minor % 2**20)
    if not IGNORED:
        same_as_umoci(layer(raw(header)))
