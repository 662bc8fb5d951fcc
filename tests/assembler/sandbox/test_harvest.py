"""What commands change, harvested, and applied to the tree they ran in: it must be what they left.

The oracle is the kernel: a snapshot of the overlay's merged view, or of the tree itself.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import builders
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandboxes import (
    AS_ROOT,
    EDITS,
    EXACT,
    apply,
    edit,
    harvested,
    items,
    leave_the_mount_namespace,
    look,
    names_in,
    overlay,
    scratch,
    told,
    tree_of,
    unpacked,
)
from support.trees import differences

from assembler.sandbox.original import LowerDirectory, Unpacked, take_snapshot

needs_root = pytest.mark.skipif(not AS_ROOT, reason="mounts, owners and devices need root")
MTIME = 1_600_000_000


@pytest.fixture(scope="module")
def own_mounts():
    leave_the_mount_namespace()


@pytest.fixture(params=["user", "trusted"])
def attributes(request):
    return request.param


class Run:
    """A command's root: it is changed below `root`, and `harvest` tells what became of it."""

    def __init__(self, tree, base, root, upper, original):
        self.tree = tree
        self.base = base
        self.root = root
        self.upper = upper
        self.original = original

    def path(self, name):
        return Path(os.fsdecode(self.root), name)

    def harvest(self, manner=EXACT):
        self.result, tar = harvested(self.upper, self.original, manner)
        assert names_in(tar) == sorted(names_in(tar), key=lambda path: path.split(b"/"))
        assert len(names_in(tar)) == self.result.entries
        return tar

    def names(self, manner=EXACT):
        return [os.fsdecode(name) for name in names_in(self.harvest(manner))]

    def entries(self, manner=EXACT):
        return {os.fsdecode(entry.path): entry for entry in builders.index(self.harvest(manner))}

    def unlike(self, manner=EXACT, ignore=frozenset()):
        """What the harvest, applied, differs in from what is there."""
        applied = told(apply(self.tree.copy(), self.harvest(manner)))
        return differences(look(self.root), applied, ignore=ignore)


def in_place(tree, folder, **more):
    base = unpacked(tree, folder + b"/root", **more)
    original = Unpacked(base.records, base.descriptors, take_snapshot(base.root))
    return Run(tree, base, base.root, base.root, original)


class overlaid:  # noqa: N801
    """A block in which a tree is the lower side of an overlay."""

    def __init__(self, tree, folder, kind="user", **more):
        self.base = unpacked(tree, folder + b"/lower", **more)
        self.overlay = overlay(folder, self.base.root, user=kind == "user")
        self.kind = kind

    def __enter__(self):
        merged, upper = self.overlay.__enter__()
        prefix = f"{self.kind}.overlay.".encode()
        original = LowerDirectory(self.base.root, prefix)
        return Run(self.base.tree, self.base, merged, upper, original)

    def __exit__(self, *exc):
        self.overlay.__exit__(*exc)


@pytest.fixture
def folder(own_mounts, tmp_path):
    with scratch(tmp_path) as place:
        yield place


@pytest.fixture
def plain(tmp_path):
    """Runs a command in a tree that is unpacked where an ordinary user may."""

    def run(*entries, **more):
        return in_place(tree_of(*entries), os.fsencode(tmp_path), **more)

    return run


@pytest.fixture
def both(request, tmp_path):
    """The same, twice: upon an overlay and in place."""


def broken_by_copying_up(run):
    """Names whose inode lost other names when it was copied up: no command asked for that."""
    return {name for name, entry in told(run.tree).items() if entry.links}


@needs_root
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(items(), st.lists(EDITS, max_size=12), st.sampled_from(["user", "trusted"]))
def test_random_edits_upon_an_overlay_are_harvested(
    own_mounts, tmp_path_factory, entries, edits, kind
):
    with scratch(tmp_path_factory.getbasetemp()) as place:
        with overlaid(tree_of(*entries), place, kind) as run:
            edit(run.root, edits)
            found = told(apply(run.tree.copy(), run.harvest()))
            expected = look(run.root)
            for name in broken_by_copying_up(run) & found.keys() & expected.keys():
                found[name] = replace(found[name], links=expected[name].links)
            assert differences(expected, found) == []


@needs_root
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(items(), st.lists(EDITS, max_size=12))
def test_random_edits_in_place_are_harvested(own_mounts, tmp_path_factory, entries, edits):
    with scratch(tmp_path_factory.getbasetemp()) as place:
        run = in_place(tree_of(*entries), place)
        edit(run.root, edits)
        assert run.unlike() == []
