"""Sizes that are small each and large together: refused in little time and space."""

from __future__ import annotations

import pytest
from support.images import oci_layout
from support.layers import sparse_files
from support.runs import small_base

GIB = 1 << 30


@pytest.fixture
def refused(run):
    """Run the command, which has to end with the status of a limit, and return what it says."""

    def refused(*arguments):
        done = run(*arguments, status=None, timeout=20)
        assert done.returncode == 12, done.stderr
        return done.stderr

    return refused


def test_sparse_files_that_add_unpacks_are_not_written_out(refused, project):
    folder = project("FROM scratch\nADD a.tar /x/\n")
    (folder / "a.tar").write_bytes(sparse_files(3, 10 * GIB))
    assert "Dockerfile:2: ADD: a.tar: the size of the holes in its files passes" in refused(
        "build", folder
    )


def test_sparse_files_of_layers_do_not_reach_mksquashfs(refused, tmp_path):
    layout = oci_layout(tmp_path / "image", [sparse_files(3, 10 * GIB)])
    assert "(hole_bytes)" in refused("convert", f"oci:{layout.path}", "-o", "x.gvmi")


def test_a_file_that_is_copied_again_and_again_meets_the_total(refused, project, tmp_path):
    layout = oci_layout(tmp_path / "image", [sparse_files(1, 64 << 20)])
    again = "".join(f"COPY --from=oci:{layout.path} /f0 /f{n}\n" for n in range(5))
    folder = project(f"FROM scratch\n{again}")
    error = refused("build", folder, "--limit", "total_bytes=300000000", "-o", "x.gvmi")
    assert "Dockerfile:6: COPY: all that COPY and ADD write passes the limit" in error


def test_what_run_leaves_is_limited_before_it_is_packed(refused, project, tmp_path):
    layout = oci_layout(tmp_path / "image", [small_base()], {"Env": ["PATH=/bin"]})
    commands = "RUN truncate -s 10G /a\nRUN truncate -s 10G /b\n"
    folder = project(f"FROM oci:{layout.path}\n{commands}")
    error = refused("build", folder, "-o", "x.gvmi")
    assert "the image: the size of the holes in its files passes" in error
