from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys

import pytest

from layers import tempfiles
from layers.tempfiles import TempArea

NAME = ".tmp.0123456789abcdef.part"
NO_UNNAMED = "tempfiles._open_unnamed = lambda _folder, _mode: None\n"


@pytest.fixture(params=["unnamed", "named"])
def way(request, monkeypatch):
    """With files that have no names, and as where the file system makes none such."""
    if request.param == "named":
        monkeypatch.setattr(tempfiles, "_open_unnamed", lambda _folder, _mode: None)
    return request.param


def test_a_file_is_gone_unless_it_was_published(tmp_path, way):
    area = TempArea(tmp_path, "out")
    with area.file() as temp:
        temp.write(b"x")
        assert len(os.listdir(tmp_path)) == (way == "named")
        assert temp.proc_path.read_bytes() == b"x"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").write_bytes(b"old")
    with area.file() as temp:
        temp.write(b"x")
        temp.publish(tmp_path / "out")
        assert os.pread(temp.fileno(), 1, 0) == b"x"
    assert (tmp_path / "out").read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("way")
def test_what_is_published_as_new_replaces_nothing(tmp_path):
    for data in (b"first", b"second"):
        with TempArea(tmp_path).file() as temp:
            temp.write(data)
            if data == b"first":
                temp.publish_new(tmp_path / "out")
            else:
                with pytest.raises(FileExistsError):
                    temp.publish_new(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.usefixtures("way")
def test_a_failure_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), TempArea(tmp_path).file():
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_living_are_not_swept(tmp_path, way):
    area = TempArea(tmp_path)
    with area.file():
        assert TempArea(tmp_path).sweep() == 0
        assert len(os.listdir(tmp_path)) == (way == "named")


@pytest.mark.parametrize("way", ["unnamed", "named"])
def test_files_of_the_dead_are_swept(tmp_path, way):
    code = (
        "import os, sys, pathlib; from layers import tempfiles\n"
        f"{NO_UNNAMED if way == 'named' else ''}"
        "with tempfiles.TempArea(pathlib.Path(sys.argv[1]), 'x').file(): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    left = int(way == "named")
    assert len(list(tmp_path.iterdir())) == left
    assert TempArea(tmp_path, "y").sweep() == 0
    assert TempArea(tmp_path, "x").sweep() == left
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_killed_while_it_publishes_leaves_what_is_swept(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from layers.tempfiles import TempArea\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), 9)\n"
        "with TempArea(Path(sys.argv[1])).file() as temp: temp.publish(Path('x'))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(os.listdir(tmp_path)) == 1
    assert TempArea(tmp_path).sweep() == 1


def test_a_file_is_copied_where_it_can_have_no_name_later(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise OSError(errno.EOPNOTSUPP, "")

    monkeypatch.setattr(os, "link", refuse)
    with TempArea(tmp_path, mode=0o640).file() as temp:
        temp.write(b"x" * 100_000)
        temp.publish(tmp_path / "out")
        assert os.fstat(temp.fileno()).st_ino == (tmp_path / "out").stat().st_ino
        assert os.pread(temp.fileno(), 1, 99_999) == b"x"
    assert os.listdir(tmp_path) == ["out"]
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def put_link(path):
    (path.parent / "kept").write_bytes(b"")
    path.symlink_to(path.parent / "kept")


def put_linked_file(path):
    (path.parent / "kept").write_bytes(b"")
    path.hardlink_to(path.parent / "kept")


@pytest.mark.parametrize("put", [put_link, put_linked_file, os.mkfifo, os.mkdir])
def test_what_is_no_file_of_ours_is_neither_waited_for_nor_removed(tmp_path, put):
    put(tmp_path / NAME)
    before = sorted(os.listdir(tmp_path))
    assert TempArea(tmp_path).sweep() == 0
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "name", [".tmp.a.part", ".tmp.notes.part", f"{NAME}x", NAME.upper(), ".tmp..part"]
)
def test_files_with_names_that_are_only_like_ours_stay(tmp_path, name):
    (tmp_path / name).write_bytes(b"somebody's")
    (tmp_path / NAME).write_bytes(b"ours")
    assert TempArea(tmp_path).sweep() == 1
    assert os.listdir(tmp_path) == [name]


def test_files_of_other_users_stay(tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes(b"somebody's")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert TempArea(tmp_path).sweep() == 0
    assert os.listdir(tmp_path) == [NAME]


def test_a_file_that_is_swapped_while_it_is_looked_at_stays(tmp_path, monkeypatch):
    (tmp_path / NAME).write_bytes(b"")
    flock = fcntl.flock

    def swap(descriptor, how):
        (tmp_path / NAME).unlink()
        (tmp_path / NAME).symlink_to("/etc/passwd")
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", swap)
    assert TempArea(tmp_path).sweep() == 0
    assert (tmp_path / NAME).is_symlink()


def test_a_file_whose_name_was_taken_by_another_is_not_published(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfiles, "_open_unnamed", lambda _folder, _mode: None)
    with TempArea(tmp_path).file() as temp:
        (name,) = tmp_path.iterdir()
        name.unlink()
        name.symlink_to("/etc/passwd")
        with pytest.raises(OSError, match="replaced"):
            temp.publish(tmp_path / "out")
    assert os.listdir(tmp_path) == [name.name]


@pytest.mark.usefixtures("way")
def test_an_anonymous_file_has_no_name(tmp_path):
    descriptor = TempArea(tmp_path).anonymous()
    assert list(tmp_path.iterdir()) == []
    os.write(descriptor, b"abc")
    assert os.pread(descriptor, 3, 0) == b"abc"
    os.close(descriptor)


@pytest.mark.usefixtures("way")
def test_a_file_has_the_mode_of_its_area(tmp_path):
    with TempArea(tmp_path, mode=0o600).file() as temp:
        assert stat.S_IMODE(os.fstat(temp.fileno()).st_mode) == 0o600


@pytest.mark.parametrize("forced", ["", NO_UNNAMED])
def test_a_file_can_be_inherited_where_there_is_no_standard_input(tmp_path, forced):
    code = (
        "import os, sys; from pathlib import Path; from layers import tempfiles\n"
        f"{forced}"
        "for number in range(3): os.close(number)\n"
        "with tempfiles.TempArea(Path(sys.argv[1])).file() as temp:\n"
        "    (Path(sys.argv[1]) / 'number').write_text(str(temp.fileno()))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert int((tmp_path / "number").read_text()) > 2


@pytest.mark.usefixtures("way")
def test_long_names_leave_room_for_the_random_part(tmp_path):
    with TempArea(tmp_path, "n" * 255).file() as temp:
        temp.publish(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]
