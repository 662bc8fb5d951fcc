"""Our merge held against `umoci unpack`, which extracts layer after layer into one directory.

GOLEM_TEST_STACKS=5000 compares so many. umoci 0.4.7 and 0.6 were both tried.
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from builders import as_snapshot, merged
from hypothesis import assume, event, example, given, settings
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

STACKS = int(os.environ.get("GOLEM_TEST_STACKS", "300"))
# Most directories have other names than most files: else nearly every stack would be refused.
FOLDERS = st.lists(st.sampled_from("aab"), max_size=2).map("/".join)
LONG = "n" * 150
PATHS = st.builds(
    "{}/{}".format, FOLDERS, st.sampled_from(["c", "c", "c", "d", "d", "b", LONG])
).map(lambda path: path.lstrip("/"))
FOLDER_PATHS = st.lists(st.sampled_from("aaaabbbbc"), min_size=1, max_size=3).map("/".join)
LINK_TARGETS = st.one_of(
    PATHS,
    PATHS.map("/{}".format),
    PATHS.map("../{}".format),
    FOLDER_PATHS.map("./{}/..".format),
    st.sampled_from(["/", ".", "..", "../..", "nowhere", "/nowhere/at/all", "a/../b", "/a", "b"]),
    st.sampled_from(["a", "/a/b", "../" * 40 + "a", "./" * 60 + "b", "/" * 110 + "a", "x" * 200]),
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
        for hidden in draw(st.lists(WHITEOUTS, max_size=2)):
            items.insert(draw(st.integers(0, len(items))), hidden)
        stack.append(items)
    return stack


def as_umoci_applies(items, below):
    """The entries of a layer in an order in which umoci, which knows but one, does as specified.

    layer.md, "Whiteouts": they act on lower layers alone, wherever they stand. umoci acts on them
    in their turn and spares what the layer has put before; but it follows what links it meets then.
    So they come first; but where the layer has a directory of its own in the place of something
    else of the layers *below*, they are looked up in that one, so they come after it.
    """
    others = {item.name for lower in below for item in lower if item.kind != tarfile.DIRTYPE}
    own = others & {item.name for item in items if item.kind == tarfile.DIRTYPE}
    first, last, entries = [], [], []
    for item in items:
        folder, _, name = item.name.rpartition("/")
        if not name.startswith(".wh."):
            entries.append(item)
        elif not own.isdisjoint(accumulate(folder.split("/"), "{}/{}".format)):
            last.append(item)
        else:
            first.append(item)
    return first + entries + last


def ours(stack) -> Snapshot:
    return as_snapshot(merged(*stack))


def theirs(stack) -> Snapshot:
    with tempfile.TemporaryDirectory() as folder:
        oci_layout(folder, [layer(*items) for items in stack], compression=None)
        return snapshot_umoci(folder)


def comparable(snapshot: Snapshot, stack) -> Snapshot:
    """Without what umoci leaves to chance: the root, times of all but files.

    Nor the mode and owner of a directory that took the place of something else without an entry
    of its own: umoci 0.6 gives it those of what it replaced, an overlay those of a new directory.
    """
    last = {item.name: item.kind for layer_items in stack for item in layer_items}
    others = {name for name, kind in last.items() if kind != tarfile.DIRTYPE}

    def without_chance(path, entry):
        if entry.kind == "file":
            return entry
        if entry.kind == "directory" and os.fsdecode(path) in others:
            return replace(entry, mtime=0, mode=0, uid=0, gid=0)
        return replace(entry, mtime=0)

    return {path: without_chance(path, e) for path, e in snapshot.items() if path != ROOT}


def compare(mine, other, stack):
    """Lines for what differs between two results, each of which may be a refusal."""
    if isinstance(mine, str) or isinstance(other, str):
        return [] if isinstance(mine, str) and isinstance(other, str) else [f"{mine} | {other}"]
    return differences(comparable(other, stack), comparable(mine, stack), ignore=IGNORED)


# Where umoci is no judge. What becomes of such entries is said in test_merge.py and _ways.py.
REFUSED_BY_UMOCI_ALONE = re.compile(
    # It wants a hard link's target before the link; we read the layer to its end.
    r": link: .*(no such file|not a directory)"
    # 0.4.7 puts no directory in the place of a file that an entry lies below; 0.6 does.
    r"|mkdir parent: .*not a directory"
)


@settings(max_examples=STACKS, deadline=None, derandomize=True, database=None)
@given(stacks())
@example([[file("c")], [whiteout("c/a/b")]])
@example([[file("c")], [hardlink("c", "c")]])
@example([[file("a/c")], [hardlink("a", "a/c")]])
@example([[file("b/c"), symlink("a", "b")], [opaque("a"), directory("a"), file("a/d")]])
@example([[file("b/c"), symlink("a", "b")], [directory("a"), whiteout("a/c"), file("a/d")]])
def test_random_layers_merge_as_umoci_unpacks_them(stack):
    mine = unless_refused(ours, MalformedLayer, stack)
    other = unless_refused(theirs, RuntimeError, stack)
    found = compare(mine, other, stack)
    ordered = [as_umoci_applies(items, stack[:number]) for number, items in enumerate(stack)]
    if found and ordered != stack:
        event("decided by layer.md, Whiteouts: they act on lower layers, wherever they stand")
        other = unless_refused(theirs, RuntimeError, ordered)
        found = compare(mine, other, stack)
    if found and isinstance(other, str):
        assume(not REFUSED_BY_UMOCI_ALONE.search(other))
    assert found == []


def unless_refused(unpack, error, stack):
    """What *unpack* makes of the layers, or why it does not."""
    try:
        return unpack(stack)
    except error as refusal:
        return str(refusal)
