from __future__ import annotations

import os
import subprocess

import pytest

from assembler import rootinode
from assembler.superblock import Superblock
from layers.kinds import Kind
from layers.tree import Node


def make(folder, *options, count=0, xattr=False):
    """A squashfs of *count* files, each with an owner of its own, by mksquashfs itself."""
    root = folder / "in"
    root.mkdir()
    for number in range(count):
        (root / f"f{number:05}").write_bytes(b"")
        os.chown(root / f"f{number:05}", 10 + number, 0)
    if xattr:
        os.setxattr(root / "f00000", "user.a", b"b")
    command = ["mksquashfs", root, folder / "out", "-quiet", "-no-progress", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "out"


def settle(path, ids, uid=0, gid=0, epoch=2000):
    with path.open("r+b") as file:
        rootinode.settle(file.fileno(), Node(Kind.DIRECTORY, 0o755, uid, gid), ids, epoch)
    assert path.stat().st_size % 4096 == 0
    return Superblock.parse(path.read_bytes(), path.stat().st_size)


def listed(path):
    command = ["unsquashfs", "-UTC", "-lln", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_owner_and_times_are_set(tmp_path):
    path = make(tmp_path, "-noI", "-root-uid", "77", "-root-gid", "78", count=3)
    superblock = settle(path, {0, 10, 11, 12}, uid=5, gid=6)
    assert superblock.mkfs_time == 2000
    assert superblock.id_count == 6
    lines = listed(path)
    assert lines[0].split()[:2] == ["drwxr-xr-x", "5/6"]
    assert "1970-01-01 00:33 squashfs-root" in lines[0]
    assert [line.split()[1] for line in lines[1:]] == ["10/0", "11/0", "12/0"]


def test_the_callers_ids_leave_no_trace(tmp_path):
    results = []
    for number, caller in enumerate((["0", "0"], ["1000", "1000"], ["1000", "1001"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        options = ["-root-uid", caller[0], "-root-gid", caller[1], "-mkfs-time", "9"]
        path = make(folder, "-noI", *options, "-all-time", "9", count=3, xattr=True)
        settle(path, {0, 10, 11, 12})
        results.append(path.read_bytes())
    assert results[0] == results[1] == results[2]
    out = tmp_path / "x"
    subprocess.run(["unsquashfs", "-quiet", "-no-progress", "-d", out, path], check=True)
    assert os.getxattr(out / "f00000", "user.a") == b"b"


def test_tables_of_several_blocks_are_kept(tmp_path):
    path = make(tmp_path, "-noI", "-root-uid", "7", count=2500)
    settle(path, {0, *range(10, 2510)})
    lines = listed(path)
    assert lines[0].split()[1] == "0/0"
    assert lines[-1].split()[1] == "2509/0"


def test_what_cannot_be_mended_is_told(tmp_path):
    path = make(tmp_path, count=50)
    with pytest.raises(ValueError, match="compressed or damaged"):
        settle(path, {0, *range(10, 60)})


def test_ids_that_do_not_fit_the_tree_are_told(tmp_path):
    path = make(tmp_path, "-noI", count=2)
    with pytest.raises(ValueError, match="not what the tree needs"):
        settle(path, {0, 1, 2})


def test_a_table_that_is_cut_off_is_told(tmp_path):
    path = make(tmp_path, "-noI", count=2)
    raw = bytearray(path.read_bytes())
    superblock = Superblock.parse(bytes(raw), len(raw))
    raw[48:56] = (superblock.bytes_used - 1).to_bytes(8, "little")
    path.write_bytes(raw[: superblock.bytes_used])
    with pytest.raises(ValueError, match="cut off"):
        settle(path, {0, 10, 11})
