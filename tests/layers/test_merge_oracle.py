"""Our merge held against `umoci unpack`, which extracts layer after layer into one directory."""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

from builders import as_snapshot, merged
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.images import oci_layout
from support.layers import (
    char,
    directory,
    fifo,
    file,
    hardlink,
    layer,
    opaque,
    symlink,
    whiteout,
)
from support.trees import ROOT, differences, snapshot_umoci

from layers.errors import MalformedLayer

if TYPE_CHECKING:
    from support.trees import Snapshot

AS_ROOT = os.geteuid() == 0
# A user other than root gets all files for himself (umoci keeps their owners in an attribute), and
# no devices.
IGNORED = frozenset() if AS_ROOT else frozenset({"uid", "gid", "device", "xattrs"})

LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE)
# Most directories have other names than most files: else nearly every stack would be refused.
FOLDERS = st.lists(st.sampled_from("aab"), max_size=2).map("/".join)
PATHS = st.builds("{}/{}".format, FOLDERS, st.sampled_from("ccccddddb")).map(
    lambda path: path.lstrip("/")
)
FOLDER_PATHS = st.lists(st.sampled_from("aaaabbbbc"), min_size=1, max_size=3).map("/".join)
LINK_TARGETS = st.one_of(
    PATHS,
    PATHS.map("/{}".format),
    PATHS.map("../{}".format),
    FOLDER_PATHS.map("./{}/..".format),
    st.sampled_from(["/", ".", "..", "../..", "nowhere", "/nowhere/at/all", "a/../b", "/a", "b"]),
)
METADATA = {
    "uid": st.integers(0, 3),
    "gid": st.integers(0, 3),
    "mtime": st.integers(1, 2**31),
}
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o4755, 0o2711, 0o1777])
FILES = st.builds(file, PATHS, st.binary(max_size=3), MODES, **METADATA)
# No setgid: a real directory would hand it, and its group, to directories that are made in it.
FOLDER_MODES = st.sampled_from([0o755, 0o700, 0o1777, 0o4755])
DIRECTORIES = st.builds(directory, FOLDER_PATHS, FOLDER_MODES, **METADATA)
SYMLINKS = st.builds(symlink, PATHS, LINK_TARGETS, **METADATA)
SPECIAL = st.builds(fifo, PATHS, MODES, **METADATA)
if AS_ROOT:
    SPECIAL |= st.builds(char, PATHS, st.just(1), st.integers(3, 9), MODES, **METADATA)
ENTRIES = st.one_of(FILES, FILES, DIRECTORIES, SYMLINKS, SPECIAL)
WHITEOUTS = st.one_of(
    PATHS.map(whiteout), FOLDER_PATHS.map(whiteout), FOLDER_PATHS.map(opaque), st.just(opaque())
)


@st.composite
def stacks(draw):
    """One to three layers, whose hard links name what stood before them (as a rule)."""
    placed = ["c"]
    stack = []
    for _ in range(draw(st.integers(1, 3))):
        items = []
        for _ in range(draw(st.integers(0, 6))):
            if draw(st.integers(0, 4)):
                items.append(draw(ENTRIES))
            else:
                items.append(hardlink(draw(PATHS), draw(st.sampled_from(placed))))
            if items[-1].kind != tarfile.DIRTYPE:
                placed.append(items[-1].name)
        hidden = draw(st.lists(WHITEOUTS, max_size=2))
        stack.append(hidden + items if draw(st.booleans()) else items + hidden)
    if any(item.kind in LINKS for items in stack for item in items):
        # umoci still goes through a link, or finds the target of one, that a later whiteout of the
        # same layer removes: with us whiteouts act first, wherever they stand (layer.md,
        # "Applying Changesets").
        stack = [sorted(items, key=lambda item: ".wh." not in item.name) for items in stack]
    return stack


def ours(stack) -> Snapshot:
    return as_snapshot(merged(*stack))


def theirs(stack) -> Snapshot:
    with tempfile.TemporaryDirectory() as folder:
        oci_layout(folder, [layer(*items) for items in stack], compression=None)
        return snapshot_umoci(folder)


def comparable(snapshot: Snapshot) -> Snapshot:
    """Without what umoci leaves to chance: the root, times of all but files."""
    return {
        path: entry if entry.kind == "file" else replace(entry, mtime=0)
        for path, entry in snapshot.items()
        if path != ROOT
    }


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(stacks())
@example([[file("c")], [whiteout("c/a/b")]])
@example([[file("c")], [hardlink("c", "c")]])
@example([[file("a/c")], [hardlink("a", "a/c")]])
def test_random_layers_merge_as_umoci_unpacks_them(stack):
    mine = unless_refused(ours, MalformedLayer, stack)
    other = unless_refused(theirs, RuntimeError, stack)
    # umoci wants a hard link's target before the link; we read the layer to its end. What becomes
    # of such links is said in test_merge.py.
    wants_target_first = isinstance(other, str) and re.search(": link: .*no such file", other)
    assume(not wants_target_first or isinstance(mine, str))
    if isinstance(mine, str) or isinstance(other, str):
        assert isinstance(mine, str), other
        assert isinstance(other, str), mine
    else:
        assert differences(comparable(other), comparable(mine), ignore=IGNORED) == []


def unless_refused(unpack, error, stack):
    """What *unpack* makes of the layers, or why it does not."""
    try:
        return unpack(stack)
    except error as refusal:
        return str(refusal)
