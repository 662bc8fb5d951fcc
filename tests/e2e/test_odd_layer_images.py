"""Layers that are odd but that umoci, skopeo or buildah read: through the installed command."""

from __future__ import annotations

import io
import subprocess
import tarfile

import pytest
from support.images import oci_layout
from support.layers import directory, entry, file, hardlink, layer
from support.trees import ROOT, differences, snapshot_directory, snapshot_squashfs, snapshot_umoci

BASE = layer(directory("etc"), file("etc/base", b"base"))


@pytest.fixture
def inserted(tmp_path):
    """A layout whose last layer `umoci insert` wrote: its tar ends with a file's last byte."""
    layout = oci_layout(tmp_path / "layout", [BASE], {"Cmd": ["/etc/base"]})
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"first" * 300)
    (source / "b").write_bytes(b"last entry")
    command = ["umoci", "insert", "--image", f"{layout.path}:latest", source, "/opt"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return layout


def compare(expected, found, ignore=frozenset()):
    """What umoci unpacks is there; what a provider needs and the image lacks, beside it."""
    expected.pop(ROOT)
    assert expected.keys() <= found.keys()
    there = {path: found[path] for path in expected}
    assert differences(expected, there, ignore=ignore) == []


@pytest.mark.parametrize("kind", ["squashfs", "tar"])
def test_what_umoci_inserts_is_built_from(run, project, tmp_path, inserted, kind):
    folder = project("FROM base\n")
    output = ["--output", f"type={kind},dest=out"]
    run("build", "-q", *output, "--build-context", f"base=oci:{inserted.path}", folder)
    if kind == "squashfs":
        found = snapshot_squashfs(tmp_path / "out")
    else:
        (tmp_path / "unpacked").mkdir()
        command = ["tar", "--numeric-owner", "-xpf", tmp_path / "out", "-C", tmp_path / "unpacked"]
        subprocess.run(command, check=True)
        found = snapshot_directory(tmp_path / "unpacked")
    # tar gives directories the time at which it put files into them.
    compare(snapshot_umoci(inserted.path), found, ignore={"mtime"})


def test_what_umoci_inserts_is_converted(run, tmp_path, inserted):
    run("convert", "-q", "-o", "x.gvmi", f"oci:{inserted.path}")
    compare(snapshot_umoci(inserted.path), snapshot_squashfs(tmp_path / "x.gvmi"))


def test_an_archive_without_its_last_padding_is_unpacked_by_add(run, project, tmp_path):
    folder = project("FROM scratch\nADD cut.tar /d/\n")
    cut = layer(file("one", b"1" * 700), end=b"") + entry(file("two", b"22"))[:514]
    (folder / "cut.tar").write_bytes(cut)
    run("build", "-q", "--output", "type=tar,dest=out.tar", folder)
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "out.tar").read_bytes())) as archive:
        assert archive.extractfile("d/one").read() == b"1" * 700
        assert archive.extractfile("d/two").read() == b"22"


def test_what_aufs_keeps_for_itself_is_the_contents_of_what_links_to_it(run, tmp_path):
    plink = file(".wh..wh.plnk/12.3", b"data" * 2000, mode=0o4755, uid=7)
    items = [plink, *(hardlink(name, plink.name) for name in ("d/a", "d/b"))]
    layout = oci_layout(tmp_path / "layout", [layer(*items)], compression=None)
    run("convert", "-q", "-o", "x.gvmi", f"oci:{layout.path}")
    found = snapshot_squashfs(tmp_path / "x.gvmi")
    assert not [path for path in found if b".wh." in path]
    one = found[b"d/a"]
    assert (one.size, one.mode, one.uid, one.links) == (8000, 0o4755, 7, (b"d/a", b"d/b"))
