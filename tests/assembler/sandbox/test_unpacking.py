"""Records become real files; the kernel is asked what they are."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from sandboxes import AS_ROOT, IDS, Spooled, items, look, told, tree_of, unpacked
from support.layers import block, char, directory, fifo, file, hardlink, symlink
from support.trees import differences

from assembler.sandbox.records import ROOT_ALONE, Record, records_of
from assembler.sandbox.removal import remove_tree
from assembler.sandbox.unpacking import unpack
from layers.kinds import Kind
from layers.sparse import Segment
from layers.tree import Data, Node, Tree

needs_root = pytest.mark.skipif(not AS_ROOT, reason="owners and devices need root")
REPOSITORY = Path(__file__).resolve().parents[3]


@needs_root
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(items())
def test_random_trees_are_unpacked_as_they_are(entries):
    tree = tree_of(*entries)
    with tempfile.TemporaryDirectory() as folder:
        base = unpacked(tree, folder + "/root")
        assert base.omissions == ([], [])
        assert differences(told(tree), look(base.root)) == []


def test_an_ordinary_user_gets_all_but_owners_and_devices(tmp_path):
    tree = tree_of(
        file("a/f", b"x" * 300_000, 0o4755, uid=5),
        symlink("a/l", "f"),
        hardlink("a/h", "a/f"),
        fifo("p", 0o600),
    )
    base = unpacked(tree, tmp_path / "root", ids=ROOT_ALONE if AS_ROOT else IDS, devices=False)
    assert base.omissions == ([], [])
    assert differences(told(tree), look(base.root), ignore={"uid", "gid"}) == []


@needs_root
def test_owners_outside_the_ranges_are_left_to_root(tmp_path):
    tree = tree_of(
        file("a", uid=5, gid=5), file("b"), directory("d", uid=5), symlink("l", "a", uid=5)
    )
    root = unpacked(tree, tmp_path / "root", ids=ROOT_ALONE).root
    assert {(entry.uid, entry.gid) for entry in look(root).values()} == {(0, 0)}


def test_devices_are_told_instead_of_made(tmp_path):
    tree = tree_of(char("null", 1, 3), block("disk", 8, 0), hardlink("zero", "null"), file("f"))
    base = unpacked(tree, tmp_path / "root", devices=False)
    assert base.omissions.paths == [b"disk", b"null", b"zero"]
    assert os.listdir(base.root) == [b"f"]


@needs_root
def test_what_an_overlay_would_take_for_a_whiteout_is_not_made(tmp_path):
    base = unpacked(tree_of(char("w", 0, 0), char("n", 1, 3)), tmp_path / "root")
    assert base.omissions.paths == [b"w"]


def test_marks_of_overlay_and_recorder_are_not_set(tmp_path):
    marks = {"user.golem.owner": b"0:0", "user.overlay.opaque": b"y"}
    tree = tree_of(directory("d", xattrs=marks), file("f", xattrs=marks | {"user.kept": b"1"}))
    base = unpacked(tree, tmp_path / "root")
    assert sorted(base.omissions.attributes) == [
        (path, name)
        for path in (b"d", b"f")
        for name in (b"user.golem.owner", b"user.overlay.opaque")
    ]
    assert os.listxattr(base.root + b"/f") == ["user.kept"]


def test_attributes_that_the_disk_refuses_are_told(tmp_path):
    tree = tree_of(symlink("l", "x", xattrs={"user.no": b"1"}), file("f", xattrs={"odd.no": b"1"}))
    base = unpacked(tree, tmp_path / "root")
    assert sorted(base.omissions.attributes) == [(b"f", b"odd.no"), (b"l", b"user.no")]


@needs_root
def test_special_bits_and_capabilities_survive_a_foreign_owner(tmp_path):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    tree = tree_of(
        file("s", b"x", 0o6755, uid=7, gid=8, xattrs={"security.capability": capability}),
        directory("d", 0o2775, uid=7, gid=8),
        file("d/inner", b"x"),
    )
    base = unpacked(tree, tmp_path / "root")
    assert base.omissions == ([], [])
    assert differences(told(tree), look(base.root)) == []


def test_sparse_files_keep_their_holes(tmp_path):
    tree = Tree()
    node = tree.root.children[b"s"] = Node(Kind.FILE, 0o644)
    node.data = Data(Spooled(b"onetwo"), 0, 64 << 20, (Segment(8, 3), Segment(32 << 20, 3)))
    root = unpacked(tree, tmp_path / "root").root
    status = os.stat(root + b"/s")
    assert (status.st_size, status.st_blocks * 512 < 1 << 20) == (64 << 20, True)
    with open(root + b"/s", "rb") as found:
        data = found.read()
    assert (data[:11], data[32 << 20 : (32 << 20) + 3]) == (bytes(8) + b"one", b"two")
    assert data.count(0) == len(data) - 6


def test_data_go_through_this_process_where_the_kernel_does_not_copy(tmp_path, monkeypatch):
    def refuse(*_words, **_more):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    data = os.urandom(3_000_000)
    root = unpacked(tree_of(file("f", data)), tmp_path / "root").root
    assert Path(os.fsdecode(root), "f").read_bytes() == data


def test_other_errors_of_copying_are_raised(tmp_path, monkeypatch):
    def fail(*_words, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(OSError, match="No space"):
        unpacked(tree_of(file("f", bytes(3_000_000))), tmp_path / "root")


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_spool_that_ends_early_is_an_error(tmp_path, size):
    tree = Tree()
    node = tree.root.children[b"a"] = Node(Kind.FILE, 0o644)
    node.data = Data(Spooled(b"short"), 0, size)
    with pytest.raises(OSError, match="ends too early"):
        unpacked(tree, tmp_path / "root")


def record(path, kind="-"):
    return Record(path, kind, 0o755, 0, 0, 0, b"", (0, 0), None, None)


@pytest.mark.parametrize(
    "records",
    [
        [record(b"", "d"), record(b"a/b")],
        [record(b"", "d"), record(b"l", "l")._replace(target=b"/"), record(b"l/x")],
        [record(b"", "d"), record(b"..")],
        [record(b"", "d"), record(b"/golem-test-x")],
        [record(b"", "d"), record(b"", "d")],
        [record(b"a")],
        [record(b"")],
    ],
)
def test_a_record_whose_parent_is_no_directory_before_it_is_refused(tmp_path, records):
    with pytest.raises(ValueError, match="parent directory"):
        unpack(records, [], os.fsencode(tmp_path / "root"), IDS, devices=False)


def test_the_place_must_be_new(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError):
        unpacked(tree_of(file("a")), tmp_path / "there")


def test_modes_are_right_whatever_the_umask(tmp_path):
    tree = tree_of(file("f", b"x", 0o666), directory("d", 0o777))
    before = os.umask(0o077)
    try:
        root = unpacked(tree, tmp_path / "root").root
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert differences(told(tree), look(root), ignore={"uid", "gid"}) == []


@needs_root
def test_a_group_that_the_place_hands_down_is_not_taken(tmp_path):
    os.chown(tmp_path, 0, 77)
    tmp_path.chmod(0o2755)
    tree = tree_of(file("f", b"x"), directory("d"), fifo("p"))
    assert differences(told(tree), look(unpacked(tree, tmp_path / "root").root)) == []


@needs_root
def test_times_before_1970_and_beyond_all_reason_are_taken(tmp_path):
    tree = tree_of(file("old", b"x", mtime=-5), file("f", b"x"))
    tree.root.children[b"f"].mtime = 1 << 90
    root = unpacked(tree, tmp_path / "root").root
    assert os.stat(root + b"/old").st_mtime == -5


def test_the_child_needs_the_standard_library_only():
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n" + (
        "import assembler.sandbox.harvest, assembler.sandbox.unpacking, assembler.sandbox.removal\n"
        "known = sys.stdlib_module_names | {'assembler', 'layers', '__main__'}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} - known))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_tree_is_removed_whatever_its_modes(tmp_path):
    tree = tree_of(
        directory("a", 0), directory("a/b", 0), file("a/b/f", b"x", 0), directory("e", 0o555)
    )
    root = unpacked(tree, tmp_path / "root").root
    with socket.socket(socket.AF_UNIX) as listener:
        os.chmod(root + b"/e", 0o755)
        listener.bind(root + b"/e/socket")
        os.chmod(root + b"/e", 0o444)
    remove_tree(root)
    remove_tree(root)
    assert list(tmp_path.iterdir()) == []


def test_removing_follows_no_link(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    tree = tree_of(symlink("l", str(kept)))
    remove_tree(unpacked(tree, tmp_path / "root").root)
    (tmp_path / "link").symlink_to(kept)
    with pytest.raises(NotADirectoryError):
        remove_tree(os.fspath(tmp_path / "link"))
    assert (kept / "file").exists()


def test_a_tree_too_deep_for_a_path_is_removed(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / ".removed-0").mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(os.open("file", os.O_CREAT, dir_fd=below))
        os.close(here)
        here = below
    os.close(here)
    remove_tree(os.fspath(root))
    assert not root.exists()


def test_a_path_of_the_greatest_length_is_unpacked(tmp_path):
    path = "/".join(["p" * 200] * 20)[:4000]
    root = unpacked(tree_of(file(path, b"x")), tmp_path / "root").root
    remove_tree(root)
    assert not os.path.lexists(root)


def test_the_root_gets_its_own_mode_and_time(tmp_path):
    tree = tree_of(file("f"))
    tree.root.mode, tree.root.mtime = 0o750, 77
    status = os.stat(unpacked(tree, tmp_path / "root").root)
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o750, 77)


def test_records_of_the_tree_alone_need_no_files(tmp_path):
    records, files = records_of(Tree())
    assert files == []
    assert unpack(records, [], os.fspath(tmp_path / "r"), IDS, devices=False) == ([], [])
