"""Small disks, mounted for one command: what is full is named, with its status."""

from __future__ import annotations

import os
import subprocess

import pytest
from support.images import oci_layout
from support.layers import file, layer

# A mount that nobody else sees, and that ends with the command.
UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
MOUNT = 'mount -t tmpfs -o size="$1" disk "$2" && shift 2 && exec "$@"'


@pytest.fixture
def image(tmp_path):
    layers = [layer(file("f", os.urandom(600_000)))]
    return f"oci:{oci_layout(tmp_path / 'image', layers, {'Volumes': {'/v': {}}}).path}"


@pytest.fixture
def full(command, tmp_path):
    """Run the command with a disk of 200 kB, under TMPDIR and at `disk`."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def full(*arguments, status, size="200k", store="store"):
        done = subprocess.run(
            [*UNSHARE, "sh", "-c", MOUNT, "sh", size, disk, command, *arguments,
             "--store", tmp_path / store],
            cwd=tmp_path, env=os.environ | {"TMPDIR": str(disk)}, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert b"gave no reason" not in done.stderr
        return done.stderr.decode().rpartition("golem-assemble: ")[2].strip()

    return full


def test_an_output_on_the_disk_of_temporary_files(full, image, tmp_path):
    disk = tmp_path / "disk"
    error = full("convert", "-o", disk / "x.gvmi", image, status=17)
    assert error == (
        f"{disk}: no space left on device; make room there, or choose another place by -o"
    )
    error = full("convert", "-o", disk / "x.tar", "-o", f"type=tar,dest={disk}/y", image, status=17)
    assert f"{disk}: no space left on device" in error


def test_standard_output_by_way_of_a_full_disk(full, image, tmp_path):
    error = full("convert", "-o", "-", image, status=17)
    assert error == (
        f"{tmp_path}/disk: no space left on device; make room there, or set TMPDIR "
        "to another folder"
    )


@pytest.mark.parametrize("size", ["200k", "4k"])
def test_temporary_files_have_no_disk_to_fill_otherwise(full, image, tmp_path, size):
    full("convert", "-q", "-o", tmp_path / "x.gvmi", image, status=0, size=size)
    full("convert", "-q", "-o", tmp_path / "x.gvmi", "--report", tmp_path / "r", image, status=0)


def test_a_report_on_a_full_disk(full, image, tmp_path):
    error = full(
        "convert", "-o", tmp_path / "x.gvmi", "--report", tmp_path / "disk" / "sub" / "r",
        image, status=17,
    )  # fmt: skip
    assert "by --report" in error


def test_a_store_on_a_full_disk(full, image, tmp_path):
    error = full("convert", "-o", tmp_path / "x.gvmi", image, status=14, store="disk/store")
    assert "no space left on device; make room there, or name another place by --store" in error


def test_looking_without_a_store_and_without_room_for_one(full):
    # The disk has inodes for its root and one more, and then none.
    error = full("images", status=14, size="4k,nr_inodes=3", store="none")
    assert "no space left on device" in error
