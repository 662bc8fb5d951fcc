"""Where COPY reads: folders, other file systems, links in them, and what happens meanwhile."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from fs.memoryfs import MemoryFS
from trees import directory, file, link, tree

from assembler.copysource import FolderSource, TextSource, TreeSource, resolve
from assembler.dockerfile.ignore import Rules
from assembler.errors import BuildError
from assembler.folder import Folder


def source(folder, *patterns):
    return FolderSource(Folder(str(folder)), Rules.of(patterns), "the build context", ".ignore")


def contents(found, path):
    folder, _, name = path.rpartition(b"/")
    return b"".join(found.read(path, found.names(folder)[name]))


def test_a_folder_is_shown_as_it_is(tmp_path):
    (tmp_path / "b").write_bytes(b"bb")
    (tmp_path / "a").mkdir(mode=0o710)
    (tmp_path / "l").symlink_to("l")
    os.link(tmp_path / "b", tmp_path / "c")
    os.mkfifo(tmp_path / "p")
    os.utime(tmp_path / "b", (5, 7.9))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        found = source(tmp_path)
        names = found.names(b"")
    assert list(names) == [b"a", b"b", b"c", b"l", b"p"]
    assert names[b"b"] is names[b"c"]
    assert (names[b"b"].mtime, names[b"b"].uid, names[b"a"].mode) == (7, 0, 0o710)
    assert names[b"l"].target == b"l"
    assert found.skipped == ["s"]
    assert contents(found, b"b") == b"bb"


def test_the_order_of_a_directory_does_not_matter(tmp_path, monkeypatch):
    for name in "cab":
        (tmp_path / name).touch()
    for order in (sorted, lambda infos, key: sorted(infos, key=key, reverse=True)):
        infos = order(Folder(str(tmp_path)).scandir("/"), key=lambda info: info.name)
        monkeypatch.setattr(Folder, "scandir", lambda *_, found=infos, **__: iter(found))
        assert list(source(tmp_path).names(b"")) == [b"a", b"b", b"c"]
        monkeypatch.undo()


def test_names_that_are_no_text_are_kept(tmp_path):
    (tmp_path / os.fsdecode(b"\xff\n")).write_bytes(b"x")
    found = source(tmp_path)
    assert list(found.names(b"")) == [b"\xff\n"]
    assert contents(found, b"\xff\n") == b"x"


def test_ignored_folders_are_not_read(tmp_path):
    (tmp_path / "closed" / "deep").mkdir(parents=True)
    (tmp_path / "open" / "kept").mkdir(parents=True)
    found = source(tmp_path, "closed")
    assert list(found.names(b"")) == [b"open"]
    assert b"closed" not in found._listed
    taken_back = source(tmp_path, "open", "!open/kept")
    assert list(taken_back.names(b"open")) == [b"kept"]
    assert list(source(tmp_path, "open", "!open/none").names(b"")) == [b"closed"]


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    found = source(tmp_path)
    node = found.names(b"")[b"f"]
    os.utime(tmp_path / "f", (1, 1))
    with pytest.raises(BuildError, match="f: it changed while the build read the context"):
        list(found.read(b"f", node))
    found = source(tmp_path)
    chunks = found.read(b"f", found.names(b"")[b"f"])
    next(chunks)
    os.utime(tmp_path / "f", (2, 2))
    with pytest.raises(BuildError, match="changed"):
        list(chunks)
    found = source(tmp_path)
    node = found.names(b"")[b"f"]
    with (tmp_path / "f").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BuildError, match="changed"):
        list(found.read(b"f", node))
    found = source(tmp_path)
    node = found.names(b"")[b"f"]
    (tmp_path / "f").unlink()
    with pytest.raises(BuildError, match="f: it changed while"):
        list(found.read(b"f", node))


@pytest.fixture
def outside(tmp_path_factory):
    """A file that is none of the context's."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "f").write_bytes(b"secret")
    (folder / "sub").mkdir()
    (folder / "sub" / "f").write_bytes(b"secret")
    return folder


def swap_file(context, outside):
    (context / "d" / "f").unlink()
    (context / "d" / "f").symlink_to(outside / "f")


def swap_parent(context, outside):
    (context / "d").rename(context / "gone")
    (context / "d").symlink_to(outside)


def swap_for_a_pipe(context, outside):
    (context / "d" / "f").unlink()
    os.mkfifo(context / "d" / "f")


def swap_for_another(context, outside):
    other = context / "d" / "other"
    os.utime(context / "d" / "f", ns=(5, 5))
    other.write_bytes(b"inside")
    os.utime(other, ns=(5, 5))
    other.rename(context / "d" / "f")


def remove(context, outside):
    (context / "d" / "f").unlink()


@pytest.mark.parametrize("swap", [swap_file, swap_for_a_pipe, swap_for_another, remove])
def test_what_is_swapped_after_the_listing_is_not_read(tmp_path, outside, swap):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"inside")
    found = source(tmp_path)
    node = found.names(b"d")[b"f"]
    swap(tmp_path, outside)
    with pytest.raises(BuildError, match="^d/f: it changed while the build read the context$"):
        list(found.read(b"d/f", node))


def test_a_parent_that_is_swapped_for_a_link_is_not_followed(tmp_path, outside):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"inside")
    found = source(tmp_path)
    node = found.names(b"d")[b"f"]
    swap_parent(tmp_path, outside)
    # The directory that was listed is still open.
    assert b"".join(found.read(b"d/f", node)) == b"inside"
    found.names(b"")
    (tmp_path / "other").mkdir()
    found.names(b"other")
    with pytest.raises(BuildError, match="it changed while the build read the context"):
        list(found.read(b"d/f", node))


def test_a_directory_that_is_swapped_for_a_link_is_not_listed(tmp_path, outside):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    found = source(tmp_path)
    assert list(found.names(b"")) == [b"d"]
    swap_parent(tmp_path, outside)
    for folder in (b"d", b"d/sub"):
        with pytest.raises(BuildError, match="it changed while the build read the context"):
            found.names(folder)


def test_a_folder_closes_what_it_opened(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    with Folder(str(tmp_path)) as folder, folder.openbin("/d/f") as file:
        assert file.read() == b"x"
        assert list(folder.scandir("/"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_closed_file_is_not_readable():
    # Not in pytest's own folder, into which others do not pass.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        Path(folder, "f").touch(mode=0)
        found = source(Path(folder))
        node = found.names(b"")[b"f"]
        with somebody_else():
            assert not found.readable(b"f", node)


@contextmanager
def somebody_else():
    """Be no longer root, who may read everything, for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(1000, 1000, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_what_may_be_read_is_readable(tmp_path):
    for name, mode in (("a", 0o644), ("b", 0o600)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    found = source(tmp_path)
    assert all(found.readable(name, node) for name, node in found.names(b"").items())
    memory = MemoryFS()
    memory.writebytes("f", b"")
    found = FolderSource(memory, Rules(), "it", ".ignore")
    assert found.readable(b"f", found.names(b"")[b"f"])


def test_file_systems_without_inodes_work():
    memory = MemoryFS()
    memory.makedirs("d/e")
    memory.writebytes("d/f", b"abc")
    found = FolderSource(memory, Rules.of(["d/e"]), "it", ".ignore")
    assert [node.kind.value for node in found.names(b"").values()] == ["d"]
    assert list(found.names(b"d")) == [b"f"]
    assert found.size(b"d/f", found.names(b"d")[b"f"]) == 3
    assert contents(found, b"d/f") == b"abc"
    assert "excludes it" in found.why_missing(b"d/e")


def test_links_are_followed_inside_and_never_out():
    found = TreeSource(
        tree(
            a=directory(f=file(b"x"), up=link("../b"), out=link("../../x"), root=link("/a/f")),
            b=directory(g=file(b"y")), l=link("a/up/g"), loop=link("loop"), none=link("x/y"),
        ),
        "the image",
    )  # fmt: skip
    assert resolve(found, b"l")[0] == b"b/g"
    assert resolve(found, b"a/up/g")[0] == b"b/g"
    assert resolve(found, b"a/root")[0] == b"a/f"
    assert resolve(found, b"/a//./f/")[0] == b"a/f"
    assert resolve(found, b"a/../b/g")[0] == b"b/g"
    assert resolve(found, b"")[1].is_directory
    assert resolve(found, b"none") == (b"x/y", None)
    assert resolve(found, b"a/f/x") == (b"a/f/x", None)
    assert resolve(found, b"a/out") == (b"x", None)
    with pytest.raises(BuildError, match="loop"):
        resolve(found, b"loop")
    assert found.names(b"a/f") == {}
    assert found.why_missing(b"x") == ""


def test_a_text_is_one_file():
    found = TextSource("name", "text", 5)
    assert list(found.names(b"")) == [b"name"]
    assert found.names(b"x") == {}
    assert contents(found, b"name") == b"text"
    assert found.why_missing(b"x") == ""
