from __future__ import annotations

import os
import subprocess
import sys

import pytest

from layers.tempfiles import TempArea


def test_a_file_is_gone_unless_it_was_published(tmp_path):
    area = TempArea(tmp_path, "out")
    with area.file() as temp:
        temp.write(b"x")
        assert temp.path.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    with area.file() as temp:
        temp.write(b"x")
        temp.publish(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), TempArea(tmp_path).file():
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_living_are_not_swept(tmp_path):
    area = TempArea(tmp_path)
    with area.file() as temp:
        assert TempArea(tmp_path).sweep() == 0
        assert temp.path.exists()


def test_files_of_the_dead_are_swept(tmp_path):
    code = (
        "import os, sys, pathlib; from layers.tempfiles import TempArea\n"
        "with TempArea(pathlib.Path(sys.argv[1]), 'x').file(): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert TempArea(tmp_path, "y").sweep() == 0
    assert TempArea(tmp_path, "x").sweep() == 1
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_folder_is_not_followed(tmp_path):
    (tmp_path / "kept").write_bytes(b"")
    (tmp_path / ".tmp.0.part").symlink_to(tmp_path / "kept")
    assert TempArea(tmp_path).sweep() == 0
    assert (tmp_path / "kept").exists()


def test_an_anonymous_file_has_no_name(tmp_path):
    descriptor = TempArea(tmp_path).anonymous()
    assert list(tmp_path.iterdir()) == []
    os.write(descriptor, b"abc")
    assert os.pread(descriptor, 3, 0) == b"abc"
    os.close(descriptor)


def test_long_names_leave_room_for_the_random_part(tmp_path):
    with TempArea(tmp_path, "n" * 255).file() as temp:
        assert len(temp.path.name) <= 255
