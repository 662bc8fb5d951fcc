"""Paths in images that lead nowhere: through a file, or a link to itself."""

from __future__ import annotations

import pytest
from support.images import oci_layout
from support.layers import directory, file, layer, symlink

NOWHERE = ["/loop", "/a/b/loop/x", "/to-file/x"]
WAYS = [
    symlink("loop", "loop"), symlink("to-loop", "a/b/loop"), directory("a"), directory("a/b"),
    symlink("a/b/loop", "../b/loop"), file("file", b"x"), symlink("to-file", "/file"),
]  # fmt: skip


@pytest.fixture
def base(tmp_path):
    """Make a base image of the ways that lead nowhere and of *entries*; return its options."""

    def base(*entries, **config):
        oci_layout(tmp_path / "base", [layer(*WAYS, *entries)], config)
        return ["--build-context", "x=oci:base"]

    return base


def refused(done):
    assert "this is a bug" not in done.stderr
    assert done.stderr.count("golem-assemble: ") == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("path", [*NOWHERE, "/file", "/loop/x", "/file/x/..", "/to-loop"])
def test_a_volume_that_cannot_be_made_is_refused(run, base, project, path):
    base(Volumes={path: {}})
    assert f"volume {path.removesuffix('/x/..')}" in refused(run("convert", "oci:base", status=16))
    project(f"FROM x\nVOLUME {path}\n")
    refused(run("build", *base(), "project", status=16))


@pytest.mark.parametrize("path", NOWHERE)
def test_a_working_directory_that_cannot_be_made_is_refused(run, base, project, path):
    base(WorkingDir=path)
    assert f"WORKDIR {path}: " in refused(run("convert", "oci:base", status=16))
    project(f"FROM x\nWORKDIR {path}\n")
    assert "Dockerfile:2: WORKDIR: " in refused(run("build", *base(), "project", status=3))
    project("FROM x\nRUN true\n")
    options = base(WorkingDir=path)
    assert "Dockerfile:2: RUN: " in refused(run("build", *options, "project", status=3))


@pytest.mark.parametrize("path", NOWHERE)
def test_a_destination_that_cannot_be_made_is_refused(run, base, project, path):
    for words in (f"a.txt {path}", f"a.txt dir {path}/", f"dir {path}"):
        project(f"FROM x\nCOPY {words}\n")
        assert "Dockerfile:2: COPY: " in refused(run("build", *base(), "project", status=3))


@pytest.mark.parametrize("path", NOWHERE)
def test_a_source_that_leads_nowhere_is_refused(run, base, project, path):
    project(f"FROM scratch\nCOPY --from=x {path} /\n")
    assert "Dockerfile:2: COPY: " in refused(run("build", *base(), "project", status=3))


@pytest.mark.parametrize("path", NOWHERE)
def test_ls_of_what_leads_nowhere_is_refused(run, base, path):
    base()
    assert f"{path}: " in refused(run("ls", "oci:base", path, status=15))


@pytest.mark.parametrize("name", ["etc/passwd", "etc"])
@pytest.mark.parametrize("make", [lambda name: symlink(name, "/loop"), directory], ids=["l", "d"])
def test_databases_of_users_that_cannot_be_read_are_empty(run, base, project, name, make):
    base(make(name), User="me:we")
    options = ["--keep-user", "oci:base"]
    assert "not in the image's /etc/" in refused(run("convert", *options, status=15))
    project("FROM x\nUSER me:we\nWORKDIR /w\n")
    assert "not in the image's /etc/" in refused(
        run("build", *base(make(name)), "project", status=3)
    )


@pytest.mark.parametrize("name", ["tmp", "etc"])
def test_a_mount_point_that_is_a_loop_is_refused(run, base, name):
    base(symlink(name, name))
    assert f"/{name} is not a directory" in refused(run("convert", "oci:base", status=16))


def test_a_file_of_etc_that_is_a_loop_is_replaced(run, base):
    base(directory("etc"), symlink("etc/hosts", "hosts"), Volumes={"/v": {}})
    assert "/etc/hosts was a link to hosts" in run("convert", "-o", "x.gvmi", "oci:base").stderr
    run("verify", "x.gvmi")


@pytest.mark.parametrize("name", ["n" * 256, "n" * 2000])
def test_a_volume_or_workdir_of_too_long_a_name_is_refused(run, base, project, name):
    base(Volumes={f"/{name}": {}})
    assert "255 bytes" in refused(run("convert", "oci:base", status=16))
    base(WorkingDir=f"/{name}")
    assert "255" in refused(run("convert", "oci:base", status=16))
    project(f"FROM x\nWORKDIR /{name}\n")
    assert "255" in refused(run("build", *base(), "project", status=3))
    project(f"FROM x\nCOPY a.txt /{name}/\n")
    assert "255" in refused(run("build", *base(), "project", status=3))
