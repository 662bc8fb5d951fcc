import os
import subprocess

import pytest

from support.images import oci_layout
from support.layers import char, directory, fifo, file, hardlink, layer, opaque, symlink, whiteout
from support.trees import (
    ROOT,
    differences,
    snapshot_directory,
    snapshot_squashfs,
    snapshot_umoci,
)


@pytest.fixture
def pair(tmp_path):
    """Two directories of the same content."""
    for name in ("a", "b"):
        root = tmp_path / name
        (root / "sub").mkdir(parents=True)
        (root / "file").write_bytes(b"content")
        (root / "other").write_bytes(b"content")
        (root / "link").symlink_to("file")
        os.link(root / "file", root / "sub" / "hard")
        os.mkfifo(root / "pipe")
        for path in [*root.rglob("*"), root]:
            os.utime(path, (1_000, 1_000), follow_symlinks=False)
    return tmp_path / "a", tmp_path / "b"


def settle(root):
    """Give all the old time again, so that one change is one difference."""
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1_000, 1_000), follow_symlinks=False)


def compare(pair):
    return differences(snapshot_directory(pair[0]), snapshot_directory(pair[1]))


def test_equal_trees_have_no_differences(pair):
    assert compare(pair) == []


def replace_content(root):
    (root / "other").write_bytes(b"CONTENT")


def grow(root):
    (root / "other").write_bytes(b"content and more")


def remove(root):
    (root / "other").unlink()


def add(root):
    (root / "new").touch()


def set_mode(root):
    (root / "other").chmod(0o4755)


def change_type(root):
    (root / "sub" / "hard").unlink()
    (root / "file").unlink()
    (root / "file").mkdir()


def point_elsewhere(root):
    (root / "link").unlink()
    (root / "link").symlink_to("other")


def copy_instead_of_link(root):
    (root / "sub" / "hard").unlink()
    (root / "sub" / "hard").write_bytes(b"content")


def link_instead_of_copy(root):
    (root / "other").unlink()
    os.link(root / "file", root / "other")


def set_xattr(root):
    os.setxattr(root / "other", "user.test", b"\x00\xff")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replace_content, "other: sha256 "),
        (grow, "other: size 16, not 7"),
        (remove, "other: missing"),
        (add, "new: unexpected"),
        (set_mode, "other: mode 0o4755, not 0o644"),
        (change_type, "file: kind 'directory', not 'file'"),
        (point_elsewhere, "link: target b'other', not b'file'"),
        (copy_instead_of_link, "sub/hard: links (), not (b'file', b'sub/hard')"),
        (link_instead_of_copy, "other: links (b'file', b'other', b'sub/hard'), not ()"),
        (set_xattr, r"other: xattrs (('user.test', b'\x00\xff'),), not ()"),
    ],
)
def test_a_change_is_told(pair, change, told):
    change(pair[1])
    settle(pair[1])
    assert any(line.startswith(told) for line in compare(pair)), compare(pair)


def test_times_are_compared_in_whole_seconds(pair):
    os.utime(pair[1] / "other", ns=(0, 1_000_999_999_999))
    assert compare(pair) == []
    os.utime(pair[1] / "other", (0, 1_001))
    assert compare(pair) == ["other: mtime 1001, not 1000"]


def test_the_root_itself_is_compared(pair):
    pair[1].chmod(0o711)
    assert compare(pair) == [f".: mode 0o711, not {oct(pair[0].stat().st_mode & 0o7777)}"]


def test_fields_can_be_left_out(pair):
    (pair[1] / "other").chmod(0o600)
    a, b = (snapshot_directory(root) for root in pair)
    assert differences(a, b, ignore={"mode"}) == []


def test_names_that_are_not_utf8_are_told(pair):
    os.close(os.open(os.fsencode(pair[1]) + b"/\xff", os.O_CREAT))
    settle(pair[1])
    assert compare(pair) == [r"\xff: unexpected"]


def test_umoci_and_unsquashfs_agree_with_the_layers(tmp_path):
    below = layer(
        directory("./", mode=0o755),
        directory("etc"),
        file("etc/gone", b"1"),
        directory("full"),
        file("full/gone", b"2"),
        file("kept", b"3", mode=0o755, xattrs={"user.a": b"b"}),
    )
    above = layer(
        whiteout("etc/gone"),
        opaque("full"),
        file("full/new", b"4"),
        hardlink("again", "kept"),
        symlink("link", "kept"),
        fifo("pipe"),
    )
    layout = oci_layout(tmp_path / "oci", [below, above])
    tree = snapshot_umoci(layout.path)
    assert sorted(tree) == [ROOT, b"again", b"etc", b"full", b"full/new", b"kept", b"link", b"pipe"]
    assert tree[b"kept"].links == (b"again", b"kept")
    assert tree[b"kept"].xattrs == (("user.a", b"b"),)
    merged = tmp_path / "merged.tar"
    merged.write_bytes(
        layer(
            directory("etc"),
            directory("full"),
            file("full/new", b"4"),
            file("kept", b"3", mode=0o755, xattrs={"user.a": b"b"}),
            hardlink("again", "kept"),
            symlink("link", "kept"),
            fifo("pipe"),
        )
    )
    squashfs = tmp_path / "sq"
    with merged.open("rb") as tar:
        subprocess.run(
            ["mksquashfs", "-", squashfs, "-tar", "-quiet", "-no-progress", "-root-mode", "755"],
            stdin=tar,
            check=True,
        )
    unpacked = snapshot_squashfs(squashfs)
    found = differences(tree, unpacked, ignore={"mtime"})
    assert found == []


def test_device_numbers_are_compared(tmp_path):
    null, zero = (
        snapshot_umoci(oci_layout(tmp_path / str(minor), [layer(char("dev", 1, minor))]).path)
        for minor in (3, 5)
    )
    assert differences(null, zero, ignore={"mtime"}) == ["dev: device (1, 5), not (1, 3)"]
