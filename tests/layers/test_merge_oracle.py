"""Our merge held against `umoci unpack`, which extracts layer after layer into one directory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

from builders import merged, told
from hypothesis import given, settings
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
from support.trees import ROOT, Entry, differences, snapshot_umoci

from layers.errors import MalformedLayer

if TYPE_CHECKING:
    from support.trees import Snapshot

KINDS = {
    "-": "file",
    "d": "directory",
    "l": "symlink",
    "c": "char",
    "p": "fifo",
}
AS_ROOT = os.geteuid() == 0
# A user other than root gets all files for himself, and no devices.
IGNORED = frozenset() if AS_ROOT else frozenset({"uid", "gid", "device"})

NAMES = st.sampled_from("abcd")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TARGETS = st.one_of(
    PATHS,
    PATHS.map("/{}".format),
    PATHS.map("../{}".format),
    PATHS.map("./{}/..".format),
    st.sampled_from(["/", ".", "..", "../..", "nowhere", "/nowhere/at/all", "a/../b"]),
)
METADATA = {
    "uid": st.integers(0, 3),
    "gid": st.integers(0, 3),
    "mtime": st.integers(1, 2**31),
}
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o4755, 0o2711, 0o1777])
FILES = st.builds(file, PATHS, st.binary(max_size=3), MODES, **METADATA)
DIRECTORIES = st.builds(directory, PATHS, MODES, **METADATA)
SYMLINKS = st.builds(symlink, PATHS, TARGETS, **METADATA)
HARD_LINKS = st.builds(hardlink, PATHS, PATHS)
SPECIAL = st.builds(fifo, PATHS, MODES, **METADATA)
if AS_ROOT:
    SPECIAL |= st.builds(char, PATHS, st.just(1), st.integers(3, 9), MODES, **METADATA)
ENTRIES = st.one_of(FILES, FILES, DIRECTORIES, DIRECTORIES, SYMLINKS, HARD_LINKS, SPECIAL)
WHITEOUTS = st.one_of(PATHS.map(whiteout), st.one_of(st.just(""), PATHS).map(opaque))
# umoci lets a whiteout remove what went before it in its own layer. The specification has
# whiteouts first ("Applying Changesets"), where that makes no difference.
LAYERS = st.builds(
    lambda whiteouts, entries: [*whiteouts, *entries],
    st.lists(WHITEOUTS, max_size=2),
    st.lists(ENTRIES, max_size=7),
)


def ours(stack) -> Snapshot:
    return {
        path: Entry(
            kind=KINDS[kind],
            mode=mode,
            uid=uid,
            gid=gid,
            mtime=mtime,
            size=None if data is None else len(data),
            sha256=None if data is None else hashlib.sha256(data).hexdigest(),
            target=target or None,
            device=device if kind == "c" else None,
            links=links,
        )
        for path, (kind, mode, uid, gid, mtime, target, device, _, data, links) in told(
            merged(*stack)
        ).items()
    }


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


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(st.lists(LAYERS, min_size=1, max_size=3))
def test_random_layers_merge_as_umoci_unpacks_them(stack):
    try:
        mine = ours(stack)
    except MalformedLayer:
        mine = None
    try:
        other = theirs(stack)
    except RuntimeError:
        other = None
    if mine is None or other is None:
        assert (mine is None) == (other is None)
        return
    assert differences(comparable(other), comparable(mine), ignore=IGNORED) == []
