from __future__ import annotations

import json
import subprocess
import zlib

import pytest

from assembler.errors import GvmiError, SquashfsError
from assembler.squashlist import read_tree
from assembler.verification import verify


@pytest.fixture
def gvmi(tmp_path):
    """Make a .gvmi by other means than ours; *spoil* changes the tree before it is packed."""

    def gvmi(config, spoil=lambda root: None, compression="gzip"):
        root = tmp_path / "root"
        for name in ("proc", "sys", "dev", "tmp", "etc", "work", "data"):
            (root / name).mkdir(parents=True)
        spoil(root)
        out = tmp_path / "x.gvmi"
        command = ["mksquashfs", root, out, "-quiet", "-no-progress", "-comp", compression]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        raw = json.dumps(config).encode()
        with out.open("ab") as file:
            file.write(zlib.crc32(raw).to_bytes(4, "little") + raw + b"%08d" % len(raw))
        return out

    return gvmi


def replace_by_link(name, target):
    def spoil(root):
        (root / name).rmdir()
        (root / name).symlink_to(target)

    return spoil


def test_a_good_file_passes_every_check(gvmi):
    lines = verify(gvmi({"Volumes": {"/data": {}, "/new/deep": {}}, "WorkingDir": "/work"}))
    assert len(lines) == 8
    assert all(line.startswith("ok  ") for line in lines)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"Volumes": {"/data": {"x": 1}}}, "Volumes must be"),
        ({"Volumes": ["/data"]}, "Volumes must be"),
        ({"Volumes": {"data": {}}}, "not an absolute path"),
        ({"Volumes": {"/data/": {}}}, "not a clean path"),
        ({"Env": "x"}, "Env must be"),
        ({"WorkingDir": "/none"}, "/none is not a directory"),
        ({"WorkingDir": "/etc/hosts/x", "Volumes": {}}, "is not a directory"),
    ],
)
def test_problems_of_the_config_are_named(gvmi, config, problem):
    with pytest.raises(GvmiError, match=problem):
        verify(gvmi(config, lambda root: (root / "etc" / "hosts").write_text("")))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda root: (root / "proc").rmdir(), "/proc is not a directory"),
        (replace_by_link("dev", "work"), "/dev is not a directory"),
        (replace_by_link("etc", "work"), "/etc is not a directory"),
        (lambda root: (root / "etc" / "hosts").symlink_to("x"), "/etc/hosts is no plain file"),
        (replace_by_link("data", "work"), "volume /data/in: /data is not a directory"),
    ],
)
def test_problems_of_the_tree_are_named(gvmi, spoil, problem):
    with pytest.raises(GvmiError, match=problem):
        verify(gvmi({"Volumes": {"/data/in": {}}, "WorkingDir": "/work"}, spoil))


def test_a_workdir_that_is_a_volume_need_not_be_in_the_image(gvmi):
    assert verify(gvmi({"Volumes": {"/new": {}}, "WorkingDir": "/new"}))


def test_zstd_is_named(gvmi):
    with pytest.raises(GvmiError, match="zstd"):
        verify(gvmi({}, compression="zstd"))


def test_odd_names_and_devices_are_listed(tmp_path, gvmi):
    def spoil(root):
        (root / "a b\\c").write_text("x")
        (root / "work" / "new\nline").write_text("xy")
        (root / "zlink").symlink_to("one\ntwo")
        (root / "data" / "hard").hardlink_to(root / "a b\\c")
        subprocess.run(["mkfifo", root / "data" / "pipe"], check=True)

    tree, sizes = read_tree(gvmi({}, spoil))
    assert sizes[tree.find(b"a b\\c")] == 1
    assert sizes[tree.find(b"work/new\nline")] == 2
    assert tree.find(b"zlink", follow=False).target == b"one\ntwo"
    assert tree.find(b"data/hard") is tree.find(b"a b\\c")
    assert tree.find(b"data/pipe").kind.value == "p"


def test_a_damaged_squashfs_is_an_error(gvmi):
    path = gvmi({})
    data = bytearray(path.read_bytes())
    data[96:4096] = bytes(4000)
    path.write_bytes(data)
    with pytest.raises(SquashfsError, match="damaged"):
        read_tree(path)


def test_a_file_that_cannot_be_unpacked_is_found(gvmi):
    path = gvmi({}, lambda root: (root / "data" / "x").write_text("0123456789abcdef\n" * 5000))
    data = bytearray(path.read_bytes())
    data[100:110] = bytes(10)  # after the superblock come the files' data
    path.write_bytes(data)
    assert read_tree(path)
    with pytest.raises(SquashfsError, match="damaged"):
        verify(path)
