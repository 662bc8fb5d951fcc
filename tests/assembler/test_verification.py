from __future__ import annotations

import json
import os
import subprocess
import zlib

import pytest

from assembler.errors import GvmiError, SquashfsError
from assembler.squashlist import check_contents, read_tree
from assembler.verification import verify
from layers.kinds import Kind
from layers.tree import Node, Tree


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
        ({"Volumes": 5, "WorkingDir": "/work"}, "Volumes must be"),
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


def test_a_long_list_of_problems_ends(gvmi):
    volumes = {f"/data/{number}/": {} for number in range(50_000)}
    with pytest.raises(GvmiError, match="and 49,980 more") as caught:
        verify(gvmi({"Volumes": volumes}))
    assert len(str(caught.value)) < 5000


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


FORGED = "one" + "".join(
    f"\n{name} D 0 755 0 0" for name in ("dev", "etc", "proc", "sys", "tmp", "work")
)


@pytest.mark.parametrize(
    "target",
    [f"{FORGED}\n#", f"{FORGED}\nzz S 0 777 0 0 x", f"{FORGED}\n#\n# START OF DATA\n#\nx"],
    ids=["end", "link", "whole end"],
)
def test_a_links_target_cannot_add_to_the_listing(gvmi, target):
    def spoil(root):
        for name in ("dev", "proc", "sys"):
            (root / name).rmdir()
        (root / "aa").symlink_to(target)
        (root / "zz").write_text("")
        (root / "zz").chmod(0o4755)

    path = gvmi({}, spoil)
    tree, _ = read_tree(path)
    assert sorted(tree.root.children) == [b"aa", b"data", b"etc", b"tmp", b"work", b"zz"]
    assert tree.find(b"aa", follow=False).target == target.encode()
    assert tree.find(b"zz").mode == 0o4755
    with pytest.raises(GvmiError, match=r"/proc is not a directory; /sys .*; /dev is not"):
        verify(path)


def test_names_cannot_end_the_listing_or_look_like_links(gvmi):
    names = ("#", "#x", "# START OF DATA", "a\n#", "b -> c", "c\nd D 0 755 0 0", " ", "\n", '"')

    def spoil(root):
        for name in names:
            (root / "data" / name).write_text("x")
            (root / "work" / name).symlink_to(name)
            (root / "work" / f"hard {name}").hardlink_to(root / "work" / name)
        (root / "zz").write_text("")

    path = gvmi({}, spoil)
    tree, _ = read_tree(path)
    assert sorted(tree.root.children[b"data"].children) == sorted(map(str.encode, names))
    for name in names:
        node = tree.root.children[b"work"].children[name.encode()]
        assert node.target == name.encode()
    assert b"zz" in tree.root.children
    assert len(verify(path)) == 8


def test_the_superblocks_count_of_inodes_must_be_that_of_the_tree(gvmi):
    path = gvmi({}, lambda root: (root / "data" / "a").write_text("x"))
    data = bytearray(path.read_bytes())
    data[4] += 1
    path.write_bytes(data)
    with pytest.raises(GvmiError, match="its superblock says 10 inodes, and it has 9"):
        verify(path)


def test_a_damaged_squashfs_is_an_error(gvmi):
    path = gvmi({})
    data = bytearray(path.read_bytes())
    data[96:4096] = bytes(4000)
    path.write_bytes(data)
    with pytest.raises(
        GvmiError, match=r"x.gvmi is not a sound .gvmi: its squashfs is damaged: \w"
    ):
        read_tree(path)


def test_a_file_that_cannot_be_unpacked_is_found(gvmi):
    path = gvmi({}, lambda root: (root / "data" / "x").write_text("0123456789abcdef\n" * 5000))
    data = bytearray(path.read_bytes())
    data[100:110] = bytes(10)  # after the superblock come the files' data
    path.write_bytes(data)
    assert read_tree(path)
    with pytest.raises(GvmiError, match=r"damaged: .*failed to read/uncompress file .*/data/x"):
        verify(path)


ENTRIES = (
    "/^#/d; s,^/ S .* (.*),- $5 -> \\1,p;t; s,^/ .*,- $5,p;t; "
    "s,^([^ ]+) S .* (.*),- $5/\\1 -> \\2,p;t; s,^([^ ]+).*,- $5/\\1,p"
)
"""Makes a listing by `-lln` of a pseudo-file's lines."""


def unsquashfs(tmp_path, monkeypatch, script):
    """Put another unsquashfs before the real one; its two listings have the same entries."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "unsquashfs"
    program.write_text(
        f"#!/bin/sh\nfake() {{\n{script}\n}}\n"
        f'[ "$3" = -lln ] || {{ fake "$@"; exit; }}\nfake "$@" >{tmp_path}/out\n'
        f'<{tmp_path}/out sed -nE "{ENTRIES}"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_unsquashfs_cannot_remove_what_it_writes_to(tmp_path, monkeypatch):
    # It removes its output by name after some errors: as root, once, the machine's /dev/stdout.
    unsquashfs(
        tmp_path, monkeypatch, f'[ "$3" = -lln ] || {{ echo "$4" >{tmp_path}/name; exit 1; }}'
    )
    for look in (read_tree, check_contents):
        with pytest.raises(GvmiError, match="stops at it, with exit status 1"):
            look(tmp_path / "x.gvmi")
        name = (tmp_path / "name").read_text().strip()
        with pytest.raises(PermissionError):
            os.unlink(name.replace("self", str(os.getpid())))
        assert name.startswith("/proc/self/fd/")


@pytest.mark.parametrize(
    ("script", "error", "problem"),
    [
        ("exit 3", GvmiError, "exit status 3"),
        ("kill -SEGV $$", GvmiError, r"crashed on it \(SIGSEGV\)"),
        ("kill -KILL $$", SquashfsError, "out of memory"),
        ("echo '-pf: invalid option' >&2; exit 1", SquashfsError, "invalid option"),
        ("echo 'lzo, this is unsupported by this version' >&2; exit 1", SquashfsError, "lzo"),
        ("echo FATAL ERROR: odd >&2; exit 1", GvmiError, "damaged: odd$"),
        ("head -c 1000000 /dev/zero >&2; exit 1", GvmiError, r"damaged: [?]{500}$"),
        ("echo nonsense; echo '#'", GvmiError, "makes no sense"),
        ("echo '/ D 0 755 0 0'; echo 'a D 0 755 0 0'; echo 'a/b L a'; echo '#'", GvmiError, "a/b"),
        ("echo '/ D 0 755 0 0'; echo 'a F 0 755 0 0'; echo 'a/b D 0 755 0 0'", GvmiError, "a/b"),
        ("echo '/ S 0 755 0 0 l'; echo '#'", GvmiError, "makes no sense"),
        (
            "echo '/ D 0 755 0 0'; echo 'l S 0 777 0 0 l'; echo 'x L l/x'; echo '#'",
            GvmiError,
            "l/x",
        ),
        ("echo '/ D 0 755 0 0'; echo 'c C 0 755 0 0 1'; echo '#'", GvmiError, "makes no sense"),
    ],
)
def test_what_unsquashfs_does_wrong_is_told(tmp_path, monkeypatch, script, error, problem):
    unsquashfs(tmp_path, monkeypatch, script)
    with pytest.raises(error, match=problem):
        read_tree(tmp_path / "x.gvmi")
    assert Tree().root.children == {}
    assert Node(Kind.FILE, 0).children == {}
