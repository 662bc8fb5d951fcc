"""What commands change, harvested, and applied to the tree they ran in: it must be what they left.

The oracle is the kernel: a snapshot of the overlay's merged view, or of the tree itself.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from contextlib import contextmanager
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
    Spooled,
    apply,
    copy_metadata,
    edit,
    harvested,
    items,
    look,
    names_in,
    overlay,
    told,
    tree_of,
    unpacked,
)
from support.layers import char, directory, file, hardlink, symlink
from support.mounts import leave_the_mount_namespace, mount, scratch, unmount
from support.trees import differences

from assembler.sandbox.harvest import harvest
from assembler.sandbox.manner import ExactOwners, Manner, RecordedOwners
from assembler.sandbox.original import LowerDirectory, Unpacked, take_snapshot
from assembler.sandbox.records import ROOT_ALONE, hidden_owners
from assembler.sandbox.tarpipe import OpenFile, TarPipe
from assembler.sandbox.upper import UnreadableUpper
from layers.kinds import Kind
from layers.sparse import Segment
from layers.tree import Data, Node, Tree

needs_root = pytest.mark.skipif(not AS_ROOT, reason="mounts, owners and devices need root")
MTIME = 1_600_000_000


@pytest.fixture(scope="module")
def own_mounts():
    leave_the_mount_namespace()


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

    def unlike(self):
        """What the harvest, applied, differs in from what is there."""
        applied = told(apply(self.tree.copy(), self.harvest()))
        # An ordinary user could not unpack the owners.
        ignored = set() if AS_ROOT else {"uid", "gid"}
        return differences(look(self.root), applied, ignore=ignored)


def in_place(tree, folder, **more):
    base = unpacked(tree, folder + b"/root", **more)
    original = Unpacked(base.records, base.descriptors, take_snapshot(base.root))
    return Run(tree, base, base.root, base.root, original)


@contextmanager
def overlaid(tree, folder, kind="user"):
    """A block in which a tree is the lower side of an overlay."""
    base = unpacked(tree, folder + b"/lower")
    original = LowerDirectory(base.root, f"{kind}.overlay.".encode())
    with overlay(folder, base.root, user=kind == "user") as (merged, upper):
        yield Run(tree, base, merged, upper, original)


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


def with_links_as_an_overlay_shows_them(found, expected, run):
    """*found*, less what an overlay does to inodes that no command asked for.

    What had several names loses them when it is copied up. A symbolic link cannot have the
    attribute that would tell a copy's number, so its names may seem to be several inodes.
    """
    before = told(run.tree)
    return {
        name: replace(entry, links=expected[name].links)
        if name in expected and (entry.kind == "symlink" or (name in before and before[name].links))
        else entry
        for name, entry in found.items()
    }


@needs_root
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(items(), st.lists(EDITS, max_size=12), st.sampled_from(["user", "trusted"]))
def test_random_edits_upon_an_overlay_are_harvested(
    own_mounts, tmp_path_factory, entries, edits, kind
):
    with (
        scratch(tmp_path_factory.getbasetemp()) as place,
        overlaid(tree_of(*entries), place, kind) as run,
    ):
        edit(run.root, edits)
        found = told(apply(run.tree.copy(), run.harvest()))
        expected = look(run.root)
        found = with_links_as_an_overlay_shows_them(found, expected, run)
        assert differences(expected, found) == []


@needs_root
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(items(), st.lists(EDITS, max_size=12))
def test_random_edits_in_place_are_harvested(own_mounts, tmp_path_factory, entries, edits):
    with scratch(tmp_path_factory.getbasetemp()) as place:
        run = in_place(tree_of(*entries), place)
        edit(run.root, edits)
        assert run.unlike() == []


# Upon a real overlay.


@needs_root
@pytest.mark.parametrize("kind", ["user", "trusted"])
def test_a_directory_that_was_removed_and_made_again_is_opaque(folder, kind):
    tree = tree_of(directory("d", uid=3), file("d/old", b"x"), directory("d/sub"), file("keep"))
    with overlaid(tree, folder, kind) as run:
        shutil.rmtree(run.path("d"))
        run.path("d").mkdir()
        run.path("d/new").write_text("new")
        assert run.names() == ["", "d", "d/.wh..wh..opq", "d/new"]
        assert run.unlike() == []


@needs_root
def test_what_is_as_before_in_an_opaque_directory_is_in_the_layer(folder):
    with overlaid(tree_of(file("d/f", b"same", mtime=MTIME)), folder) as run:
        shutil.move(run.path("d/f"), run.path("aside"))
        shutil.rmtree(run.path("d"))
        run.path("d").mkdir()
        shutil.move(run.path("aside"), run.path("d/f"))
        assert "d/f" in run.names()
        assert run.unlike() == []


@needs_root
def test_a_directory_in_place_of_a_link_does_not_empty_what_the_link_pointed_to(folder):
    with overlaid(tree_of(file("usr/lib/libc", b"x"), symlink("lib", "usr/lib")), folder) as run:
        run.path("lib").unlink()
        run.path("lib").mkdir()
        run.path("lib/own").touch()
        assert run.unlike() == []


@needs_root
def test_a_path_through_what_was_a_link_is_not_looked_up_outside(folder, tmp_path):
    outside = tmp_path / "f"
    outside.write_text("same")
    os.utime(outside, (MTIME, MTIME))
    with overlaid(tree_of(symlink("d", str(tmp_path))), folder) as run:
        run.path("d").unlink()
        run.path("d").mkdir()
        shutil.copy2(outside, run.path("d/f"))
        assert run.names() == ["", "d", "d/f"]


@needs_root
def test_what_was_only_opened_or_given_its_own_owner_again_does_not_count(folder):
    tree = tree_of(
        file("d/f", b"x" * 3_000_000, uid=3, xattrs={"user.x": b"1"}), symlink("d/l", "f", uid=3)
    )
    with overlaid(tree, folder) as run:
        with run.path("d/f").open("r+b"):
            pass
        os.chown(run.path("d/l"), 3, 0, follow_symlinks=False)
        os.chown(run.path("d"), 0, 0)
        assert (Path(os.fsdecode(run.upper)) / "d/f").exists()
        assert run.names() == []


@needs_root
def test_a_file_changed_behind_its_own_back_is_found(folder):
    with overlaid(tree_of(file("f", b"x" * 3_000_000, mtime=MTIME)), folder) as run:
        with run.path("f").open("r+b") as found:
            found.seek(2_000_000)
            found.write(b"y")
        os.utime(run.path("f"), (MTIME, MTIME))
        assert run.names() == ["f"]
        assert run.unlike() == []


@needs_root
def test_attributes_that_look_like_another_overlay_s_marks_stay_here(folder):
    with overlaid(tree_of(file("d/f")), folder, "trusted") as run:
        os.setxattr(run.path("d"), "user.overlay.opaque", b"y")
        os.setxattr(run.path("d"), "user.kept", b"1")
        entry = run.entries()["d"]
        assert (entry.xattrs, run.names()) == ({b"user.kept": b"1"}, ["d"])


@needs_root
def test_an_upper_directory_that_does_not_tell_the_whole_is_refused(folder):
    with overlaid(tree_of(file("d/f")), folder) as run:
        os.mkdir(run.upper + b"/moved")
        os.setxattr(run.upper + b"/moved", "user.overlay.redirect", b"d")
        with pytest.raises(UnreadableUpper, match="user.overlay.redirect"):
            run.harvest()


@needs_root
def test_whiteouts_of_long_names_are_read_back(folder):
    with overlaid(tree_of(file("n" * 255)), folder) as run:
        run.path("n" * 255).unlink()
        assert run.unlike() == []


@needs_root
def test_names_of_one_inode_are_all_in_the_layer_if_one_is(folder):
    with overlaid(tree_of(file("b", b"x"), file("other", b"y")), folder) as run:
        os.link(run.path("b"), run.path("a"))
        os.link(run.path("b"), run.path("c"))
        entries = run.entries()
        assert {name: (e.kind.value, e.target) for name, e in entries.items() if name} == {
            "a": ("-", b""),
            "b": ("h", b"a"),
            "c": ("h", b"a"),
        }
        assert run.unlike() == []


@needs_root
def test_two_equal_files_made_one_are_one(folder):
    with overlaid(tree_of(file("a", b"x"), file("b", b"x")), folder) as run:
        times = os.stat(run.root).st_mtime
        run.path("b").unlink()
        os.link(run.path("a"), run.path("b"))
        os.utime(run.root, (times, times))
        assert run.names() == ["a", "b"]
        assert run.unlike() == []


# Without a mount, by any user.


def by_hand(tmp_path, *entries):
    """A lower directory, and an upper one that the test fills as an overlay would."""
    tmp_path.mkdir()
    base = unpacked(tree_of(*entries), tmp_path / "lower")
    upper = tmp_path / "upper"
    upper.mkdir()
    copy_metadata(base.root, os.fsencode(upper))
    os.utime(upper, (MTIME, MTIME))
    original = LowerDirectory(base.root)
    return Run(base.tree, base, os.fsencode(upper), os.fsencode(upper), original)


def rewound(run):
    """The root as if nothing had been made in it."""
    os.utime(run.root, (MTIME, MTIME))
    return run


def test_nothing_changed_is_an_empty_layer(tmp_path, plain):
    for run in (by_hand(tmp_path / "made", file("f")), plain(file("f"))):
        assert run.harvest() == bytes(1024)
        assert run.result == (0, 1024, [], [])


def test_a_whiteout_device_removes_a_name(tmp_path):
    run = by_hand(tmp_path / "made", file("f"), directory("d"))
    os.mknod(run.path("f"), 0o20000, 0)
    os.mknod(run.path("never-there"), 0o20000, 0)
    assert rewound(run).names() == [".wh.f"]
    assert sorted(told(apply(run.tree.copy(), run.harvest()))) == [b".", b"d"]


def test_names_that_were_one_inode_and_are_one_again_are_as_before(tmp_path):
    run = by_hand(tmp_path / "made", file("a", b"x"), hardlink("b", "a"))
    shutil.copy2(run.base.root + b"/a", run.upper)
    os.link(run.path("a"), run.path("b"))
    assert rewound(run).names() == []
    run.path("c").hardlink_to(run.path("b"))
    assert rewound(run).names() == ["a", "b", "c"]


def test_a_file_that_has_no_place_on_the_lower_side_is_new(tmp_path):
    run = by_hand(tmp_path / "made")
    assert run.original.look(b"n" * 256) is None
    assert run.original.look(b"never/there") is None


def test_a_file_that_lost_bytes_is_compared_by_its_size(plain):
    run = plain(file("f", b"xyz", mtime=MTIME), file("empty", mtime=MTIME))
    run.path("f").write_text("xy")
    run.path("empty").unlink()
    run.path("empty").touch()
    for name in ("f", "empty"):
        os.utime(run.path(name), (MTIME, MTIME))
    assert rewound(run).names() == ["f"]


def test_a_socket_in_place_of_a_file_leaves_neither(tmp_path, plain):
    for run in (by_hand(tmp_path / "made", file("s")), plain(file("s"))):
        run.path("s").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.fspath(run.path("s")))
        assert rewound(run).names() == [".wh.s"]
        assert run.result.skipped == [(b"s", "it is a socket")]


def test_a_file_called_like_a_whiteout_is_told_and_left_out(tmp_path):
    run = by_hand(tmp_path / "made", file("f"))
    run.path(".wh.f").mkdir()
    run.path(".wh.f/inner").touch()
    assert rewound(run).names() == []
    assert run.result.skipped == [(b".wh.f", 'its name begins with ".wh.", as whiteouts do')]


def test_a_path_that_is_too_long_is_told_and_left_out(tmp_path):
    run = by_hand(tmp_path / "made")
    here = os.open(run.root, os.O_RDONLY)
    for _ in range(22):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert len(rewound(run).names()) == 20
    assert [why for _, why in run.result.skipped] == ["its path is longer than 4,095 bytes"]


def test_later_times_are_set_back(tmp_path):
    run = by_hand(tmp_path / "made", file("kept", mtime=MTIME + 50))
    run.path("new").touch()
    shutil.copy2(run.base.root + b"/kept", run.upper)
    run.path("early").touch()
    os.utime(run.path("early"), (MTIME - 7, MTIME - 7))
    entries = run.entries(replace(EXACT, latest=MTIME))
    # The root was changed now, and that is the time it had.
    assert {name: entry.mtime for name, entry in entries.items()} == {
        "early": MTIME - 7,
        "new": MTIME,
    }


def test_mount_points_that_are_still_empty_are_left_out(tmp_path):
    run = by_hand(tmp_path / "made", file("f"))
    for name in ("dev/pts", "proc", "run/used"):
        run.path(name).mkdir(parents=True)
    run.path("run/used/file").touch()
    run.path("etc").mkdir()
    for name in ("etc/hosts", "etc/resolv.conf"):
        run.path(name).touch()
    run.path("etc/hosts").write_text("127.0.0.1")
    made = {b"dev", b"dev/pts", b"proc", b"run", b"run/used", b"etc/hosts", b"etc/resolv.conf"}
    names = rewound(run).names(replace(EXACT, made=frozenset(made)))
    assert names == ["etc", "etc/hosts", "run", "run/used", "run/used/file"]


def test_the_root_s_own_metadata_are_harvested(plain):
    run = plain(file("f"))
    os.chmod(run.root, 0o711)
    assert run.names() == [""]
    assert run.entries()[""].mode == 0o711


def test_files_that_are_closed_to_their_owner_are_read(plain):
    run = plain(directory("shut"), file("f", b"x"))
    run.path("shut/inner").write_text("secret")
    run.path("shut/inner").chmod(0)
    run.path("shut").chmod(0)
    run.path("f").write_text("y")
    run.path("f").chmod(0)
    try:
        assert run.names() == ["f", "shut", "shut/inner"]
        assert {e.mode for name, e in run.entries().items()} == {0}
        assert run.path("shut").stat().st_mode & 0o777 == 0
    finally:
        run.path("shut").chmod(0o700)


@needs_root
def test_what_is_mounted_upon_a_name_does_not_remove_it(folder):
    run = in_place(tree_of(directory("proc"), file("proc/hidden"), file("f")), folder)
    mount("another", run.path("proc"), "tmpfs")
    try:
        run.path("proc/inside").touch()
        assert run.names() == []
    finally:
        unmount(run.path("proc"))


# In place.


def test_only_the_topmost_of_what_went_is_whited_out(plain):
    run = plain(file("a/b/c"), file("a/b/d"), file("e"))
    shutil.rmtree(run.path("a/b"))
    assert run.names() == ["a", "a/.wh.b"]
    assert run.unlike() == []


def test_files_become_directories_and_directories_files_without_whiteouts(plain):
    run = plain(file("f"), file("d/inner"), symlink("l", "d"))
    run.path("f").unlink()
    run.path("f").mkdir()
    run.path("f/new").touch()
    shutil.rmtree(run.path("d"))
    run.path("d").write_text("file")
    run.path("l").unlink()
    run.path("l").mkdir()
    assert run.names() == ["", "d", "f", "f/new", "l"]
    assert run.unlike() == []


def test_a_new_name_of_a_file_that_stayed_is_a_link_to_it(plain):
    run = plain(file("b", b"x"), hardlink("c", "b"), directory("d"))
    os.link(run.path("c"), run.path("d/new"))
    run.path("c").unlink()
    entry = run.entries()["d/new"]
    assert (entry.kind.value, entry.target) == ("h", b"b")
    assert run.unlike() == []


def test_a_link_that_became_a_copy_is_in_the_layer(plain):
    run = plain(file("a", b"x"), hardlink("b", "a"))
    shutil.copy2(run.path("a"), run.path("copy"))
    run.path("copy").rename(run.path("b"))
    os.utime(run.root, (MTIME, MTIME))
    assert "b" in run.names()
    assert run.unlike() == []


def test_a_name_that_moved_with_its_directory_is_a_link_to_the_one_that_stayed(plain):
    run = plain(file("a", b"x"), hardlink("d/b", "a"))
    run.path("d").rename(run.path("e"))
    entry = run.entries()["e/b"]
    assert (entry.kind.value, entry.target) == ("h", b"a")
    assert run.unlike() == []


def test_devices_that_could_not_be_made_were_not_removed(tmp_path):

    run = in_place(tree_of(char("null", 1, 3), file("f")), os.fsencode(tmp_path), devices=False)
    assert run.names() == []
    run.path("null").write_text("a file now")
    assert "null" in run.names()


def test_sparse_files_are_compared_by_what_they_hold(tmp_path):

    tree = Tree()
    tree.root.mtime = MTIME
    for name in (b"same", b"hole", b"tail"):
        node = tree.root.children[name] = Node(Kind.FILE, 0o644, mtime=MTIME)
        node.data = Data(Spooled(b"onetwo"), 0, 5 << 20, (Segment(8, 3), Segment(2 << 20, 3)))
    run = in_place(tree, os.fsencode(tmp_path))
    for name, offset in (("same", 8), ("hole", 1 << 20), ("tail", 4 << 20)):
        with run.path(name).open("r+b") as found:
            found.seek(offset)
            found.write(b"o")
        os.utime(run.path(name), (MTIME, MTIME))
    assert run.names() == ["hole", "tail"]


# What goes into the tar.


def test_large_holes_are_not_written(tmp_path):
    run = by_hand(tmp_path / "made")
    with run.path("sparse").open("wb") as found:
        found.write(b"begin")
        found.seek(1 << 30)
        found.write(b"end")
        found.truncate((1 << 30) + (1 << 21))
    with run.path("all-hole").open("wb") as found:
        found.truncate(1 << 21)
    os.setxattr(run.path("sparse"), "user.x", b"1")
    tar = rewound(run).harvest()
    assert len(tar) < 100_000
    applied = apply(run.tree.copy(), tar)
    data = applied.root.children[b"sparse"].data
    assert data.size == (1 << 30) + (1 << 21)
    assert [run.offset for run in data.segments] == [0, 1 << 30]
    assert run.entries()["sparse"].xattrs == {b"user.x": b"1"}
    assert builders.contents(applied.root.children[b"all-hole"]) == bytes(1 << 21)


def test_gnu_tar_extracts_what_was_harvested(tmp_path):
    run = by_hand(tmp_path / "made", file("gone"))
    with run.path("sparse").open("wb") as found:
        found.seek(3 << 20)
        found.write(b"x" * 70_000)
        found.truncate(9 << 20)
    long = "long/" * 30
    run.path(long).mkdir(parents=True)
    with run.path(long + "n" * 150).open("wb") as found:
        found.seek(5 << 20)
        found.write(b"end")
    run.path("link").symlink_to("sparse")
    os.link(run.path("sparse"), run.path("twin"))
    (tmp_path / "tar").write_bytes(run.harvest())
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", "../tar"], cwd=tmp_path / "out", check=True)
    assert differences(look(run.root), look(os.fsencode(tmp_path / "out"))) == []
    assert (tmp_path / "out" / "sparse").stat().st_blocks * 512 < 1 << 20


def test_a_file_of_too_many_holes_is_written_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("assembler.sandbox.tarpipe._SEGMENTS_MAX", 3)
    run = by_hand(tmp_path / "made")
    with run.path("f").open("wb") as found:
        for number in range(4):
            found.seek(number << 20)
            found.write(b"x")
    assert rewound(run).entries()["f"].segments is None
    assert run.unlike() == []


def test_a_pipe_takes_the_tar_as_well(tmp_path):
    run = by_hand(tmp_path / "made")
    for number, size in enumerate((0, 1, 511, 512, 70_000, 3_000_000, 5)):
        run.path(f"f{number}").write_bytes(os.urandom(size))
    expected = rewound(run).harvest()
    reading, writing = os.pipe()
    found = []

    def read():
        with open(reading, "rb") as stream:
            found.append(stream.read())

    reader = threading.Thread(target=read)
    reader.start()
    harvest(run.upper, run.original, writing, EXACT)
    os.close(writing)
    reader.join()
    assert found == [expected]
    assert run.unlike() == []


def test_the_same_changes_are_the_same_bytes(tmp_path):
    tars = []
    for place in ("one", "two"):
        run = by_hand(tmp_path / place)
        names = ["b", "a", "c", "a.b", "a b"]
        for name in names if place == "one" else reversed(names):
            run.path(name).mkdir()
            run.path(
                name,
            ).joinpath("f").write_text(name)
        tars.append(run.harvest(replace(EXACT, latest=MTIME)))
    assert tars[0] == tars[1]
    with tarfile.open(fileobj=io.BytesIO(tars[0])) as tar:
        assert tar.getnames()[:3] == ["a", "a/f", "a b"]


@pytest.mark.parametrize("size", [5, 100_000])
def test_a_file_that_becomes_shorter_is_an_error(tmp_path, size):
    path = tmp_path / "f"
    path.write_bytes(b"x")
    with path.open("rb") as found, (tmp_path / "out").open("wb") as out:
        node = Node(Kind.FILE, 0o644)
        with pytest.raises(OSError, match="became shorter"):
            TarPipe(out.fileno()).append_file(
                b"f", node, OpenFile(found.fileno(), size), allocated=size
            )


def test_a_reader_that_is_gone_is_an_error(tmp_path):
    run = by_hand(tmp_path / "made")
    run.path("f").write_bytes(bytes(1 << 20))
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        harvest(run.upper, run.original, writing, EXACT)
    os.close(writing)


# Owners.


def recorded(run, name, value):
    os.setxattr(run.path(name), "user.golem.owner", value)


def copied_up(run, name):
    """Mark the same file as before, as an overlay does; what has no mark is another."""
    os.setxattr(run.path(name), "user.overlay.origin", b"")


def owners(entries):
    return {name: (entry.uid, entry.gid) for name, entry in entries.items() if name}


def test_recorded_owners_are_told_and_the_record_is_not(tmp_path):
    run = by_hand(tmp_path / "made")
    for name in ("given", "not", "odd", "huge"):
        run.path(name).touch()
    recorded(run, "given", b"33:44")
    recorded(run, "odd", b"33:x")
    recorded(run, "huge", b"1:4294967295")
    entries = run.entries(Manner(RecordedOwners(default=(7, 8))))
    assert owners(entries) == {"given": (33, 44), "huge": (7, 8), "not": (7, 8), "odd": (7, 8)}
    assert {entry.xattrs for entry in entries.values()} == {None}


def test_a_recorded_root_does_not_override_a_hidden_owner(tmp_path):
    names = ("kept", "rooted", "given", "plain")
    run = by_hand(tmp_path / "made", *[file(n, uid=5 * (n != "plain"), gid=5) for n in names])
    for name in names:
        run.path(name).write_text("changed")
    copied_up(run, "kept")
    recorded(run, "rooted", b"0:0")
    recorded(run, "given", b"9:9")
    recorded(run, "plain", b"0:0")
    hidden = hidden_owners(tree_of(*[file(n, uid=5, gid=5) for n in names[:3]]), ROOT_ALONE)
    assert owners(run.entries(Manner(RecordedOwners(hidden, (7, 8))))) == {
        "given": (9, 9),
        "kept": (5, 5),
        "plain": (0, 0),
        "rooted": (5, 5),
    }


def test_what_has_the_owner_it_had_is_unchanged_though_nothing_shows_it(tmp_path):
    run = by_hand(tmp_path / "made", file("f", b"x", uid=5, mtime=MTIME))
    shutil.copy2(run.base.root + b"/f", run.path("f"))
    copied_up(run, "f")
    manner = Manner(RecordedOwners({b"f": (5, 0)}, (7, 8)))
    assert rewound(run).names(manner) == []
    recorded(run, "f", b"5:0")
    assert run.names(manner) == []
    recorded(run, "f", b"6:0")
    assert run.names(manner) == ["f"]


@needs_root
def test_exact_owners_are_those_on_disk_and_hidden_ones_where_root_stands_for_them(tmp_path):
    names = ("hidden", "shown")
    run = by_hand(tmp_path / "made", *[file(name, uid=5) for name in names])
    for name in (*names, "new"):
        run.path(name).write_text("changed")
    os.chown(run.path("shown"), 1, 2)
    manner = Manner(ExactOwners({b"hidden": (70000, 1), b"shown": (70000, 2)}))
    assert owners(run.entries(manner)) == {"hidden": (70000, 1), "shown": (1, 2), "new": (0, 0)}


CAPABILITY_2 = bytes.fromhex("0100000200040000000000000000000000000000")
CAPABILITY_3 = bytes.fromhex("0100000300040000000000000000000000000000a0860100")


@needs_root
def test_capabilities_of_a_namespace_s_root_become_those_of_any_root(tmp_path):
    run = by_hand(tmp_path / "made")
    run.path("ping").touch()
    os.setxattr(run.path("ping"), "security.capability", CAPABILITY_3)
    assert run.entries()["ping"].xattrs == {b"security.capability": CAPABILITY_2}


@needs_root
def test_capabilities_set_inside_a_namespace_are_harvested_inside(tmp_path):
    run = by_hand(tmp_path / "made")
    run.path("ping").touch()
    (tmp_path / "out").touch()
    os.chown(tmp_path, 0, 0)
    code = (
        f"import os, sys; sys.path[:0] = {[os.getcwd()]!r}\n"
        "from assembler.sandbox.harvest import harvest\n"
        "from assembler.sandbox.manner import ExactOwners, Manner\n"
        "from assembler.sandbox.original import LowerDirectory\n"
        f"os.setxattr({os.fspath(run.path('ping'))!r}, 'security.capability', {CAPABILITY_2!r})\n"
        f"out = os.open({os.fspath(tmp_path / 'out')!r}, os.O_WRONLY)\n"
        f"harvest({run.upper!r}, LowerDirectory({run.base.root!r}), out, Manner(ExactOwners()))"
    )
    subprocess.run(["unshare", "-Ur", sys.executable, "-I", "-S", "-c", code], check=True)
    entries = {entry.path: entry for entry in builders.index((tmp_path / "out").read_bytes())}
    assert entries[b"ping"].xattrs == {b"security.capability": CAPABILITY_2}


@needs_root
def test_acls_and_foreign_attributes_are_taken_and_the_machine_s_labels_are_not(folder):
    acl = bytes.fromhex("02000000" "01000600ffffffff" "0200040005000000" "04000400ffffffff"
                        "10000400ffffffff" "20000400ffffffff")  # fmt: skip
    with overlaid(tree_of(file("f", mode=0o644)), folder) as run:
        os.setxattr(run.path("f"), "system.posix_acl_access", acl)
        os.setxattr(run.path("f"), "trusted.mine", b"1")
        os.setxattr(run.path("f"), "security.selinux", b"label")
        assert run.entries()["f"].xattrs == {
            b"system.posix_acl_access": acl,
            b"trusted.mine": b"1",
        }


def test_a_snapshot_is_taken_before_whatever_comes_after(tmp_path):
    for number in range(30):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "f").write_text("x")
        before = take_snapshot(root).statuses
        (root / "f").write_text("y")
        os.utime(root / "f", ns=(0, before[b"f"].st_mtime_ns))
        assert take_snapshot(root).statuses[b"f"].st_ctime_ns > before[b"f"].st_ctime_ns
