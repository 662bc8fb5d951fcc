"""What changed in a tree, as a folder above its files on disk: an overlay must show the tree.

The oracle is the kernel's overlay of that folder and the old one.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandboxes import (
    AS_ROOT,
    EVERYONE,
    PATHS,
    Spooled,
    items,
    look,
    told,
    tree_of,
    unpacked,
)
from support.layers import directory, file, hardlink, layer, opaque, symlink, whiteout
from support.mounts import leave_the_mount_namespace, mount, scratch, unmount
from support.trees import differences

from assembler.sandbox.attributes import TRUSTED_OVERLAY
from assembler.sandbox.records import OPAQUE, WHITEOUT, pack, unpack_records
from assembler.sandbox.touched import Touched, delta
from assembler.sandbox.unpacking import unpack
from layers.changes import Changes
from layers.errors import MalformedLayer
from layers.kinds import Kind
from layers.limits import Limits
from layers.merge import LayerIndex, apply_layer
from layers.tarindex import index_layer
from layers.tree import Node

needs_root = pytest.mark.skipif(not AS_ROOT, reason="overlays, owners and devices need root")
WHITEOUTS = st.one_of(PATHS.map(whiteout), PATHS.map(opaque))

LATER = st.tuples(items(), st.lists(WHITEOUTS, max_size=3))


@pytest.fixture(scope="module")
def own_mounts():
    leave_the_mount_namespace()


def touch(tree, touched, *entries):
    """Apply a layer to *tree*, and note in *touched* where."""
    spool = Spooled(layer(*entries))
    found = list(index_layer(spool, "a layer", Limits()))
    apply_layer(tree, LayerIndex("a layer", found, spool))
    touched.add_layer(found, tree)


def kinds(tree, touched):
    return {record.path: record.kind for record in delta(tree, touched)[0]}


def shown(folder, base, tree, touched):
    """What an overlay shows of *base*, unpacked, and what is above it."""
    records, files = delta(tree, touched)
    above = folder + b"/above"
    unpack(
        unpack_records(pack(records)), [f.fileno() for f in files], above, EVERYONE,
        devices=True, overlay=TRUSTED_OVERLAY, beneath=[os.fsdecode(base)],
    )  # fmt: skip
    merged = folder + b"/merged"
    os.mkdir(merged)
    mount("overlay", merged, "overlay", 1, b"lowerdir=%s:%s" % (above, base))
    try:
        return look(merged)
    finally:
        unmount(merged)


@needs_root
@settings(deadline=None, max_examples=60)
@given(
    first=items(), later=st.lists(st.tuples(items(), st.lists(WHITEOUTS, max_size=3)), max_size=3)
)
def test_an_overlay_shows_the_tree(own_mounts, tmp_path_factory, first, later):
    tree = tree_of(*first)
    with scratch(tmp_path_factory.getbasetemp()) as folder:
        base = unpacked(tree.copy(), folder + b"/base", ids=EVERYONE, devices=True).root
        touched = Touched()
        for entries, gone in later:
            before, noted = tree.copy(), touched.copy()
            try:
                touch(tree, touched, *gone, *entries)
            except MalformedLayer:
                tree, touched = before, noted
        if touched:
            # Names of one inode on both sides come apart, as overlays have it.
            found = shown(folder, base, tree, touched)
            assert differences(told(tree), found, ignore={"links"}) == []


def test_what_is_gone_is_a_whiteout_and_what_came_anew_is_opaque():
    tree, touched = tree_of(directory("d"), file("d/old"), file("f"), file("kept")), Touched()
    touch(tree, touched, whiteout("f"), whiteout("d"), directory("d"), file("d/new"))
    assert kinds(tree, touched) == {
        b"": "d", b"d": OPAQUE, b"d/new": "-", b"f": WHITEOUT,
    }  # fmt: skip


def test_a_directory_that_is_merely_added_to_stays_transparent():
    tree, touched = tree_of(directory("d"), file("d/old")), Touched()
    touch(tree, touched, directory("d", 0o700), file("d/new"))
    assert kinds(tree, touched) == {b"": "d", b"d": "d", b"d/new": "-"}


def test_an_opaque_mark_brings_all_that_is_left_in_the_directory():
    tree, touched = tree_of(directory("d"), directory("d/e"), file("d/e/f")), Touched()
    touch(tree, touched, opaque("d"), directory("d/e"), file("d/g"))
    assert kinds(tree, touched) == {b"": "d", b"d": OPAQUE, b"d/e": "d", b"d/g": "-"}


def test_names_run_through_links_as_the_layer_does():
    tree, touched = (
        tree_of(directory("usr"), directory("usr/bin"), symlink("bin", "usr/bin")),
        Touched(),
    )
    touch(tree, touched, file("bin/tool"))
    assert kinds(tree, touched) == {b"": "d", b"usr": "d", b"usr/bin": "d", b"usr/bin/tool": "-"}


def test_a_parent_that_is_gone_says_it_all():
    tree, touched = tree_of(directory("d"), file("d/f")), Touched()
    touch(tree, touched, file("d/f", b"new"))
    touch(tree, touched, whiteout("d"))
    assert kinds(tree, touched) == {b"": "d", b"d": WHITEOUT}


def test_new_names_of_one_inode_are_links():
    tree, touched = tree_of(file("a")), Touched()
    touch(tree, touched, file("b", b"x"), hardlink("c", "b"))
    assert kinds(tree, touched) == {b"": "d", b"b": "-", b"c": "h"}


def test_changes_tell_where_they_were_made():
    tree = tree_of(directory("d"), file("f"))

    with Changes(tree, Memory) as changes:
        changes.put(b"d", Node(Kind.FILE, 0o644))
        changes.put(b"f", Node(Kind.FILE, 0o600))
        changes.make_directories(b"x/y", 0, (0, 0), 0o755)
        assert (changes.paths, changes.replaced) == ([b"d", b"f", b"x", b"x/y"], [b"d"])


class Memory:
    """As much of a `NamedSpool` as headers need."""

    size = 0

    def append(self, chunk):
        self.size += len(chunk)


def test_a_copy_is_another_one():
    touched = Touched({b"a"}, {b"b"})
    touched.copy().add([b"c"], [b"d"])
    assert (touched.paths, touched.replaced) == ({b"a"}, {b"b"})
    assert touched
    assert not Touched()
