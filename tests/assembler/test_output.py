from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from assembler.errors import OutputError
from assembler.output import atomic, check_target


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic(target) as temp:
        temp.write(b"new")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    with atomic(target) as temp:
        temp.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out"]


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / ".out.0123456789abcdef.part").write_bytes(b"left")
    with atomic(tmp_path / "out") as temp:
        temp.write(b"x")
    assert os.listdir(tmp_path) == ["out"]


def test_what_others_left_beside_it_is_neither_waited_for_nor_removed(tmp_path):
    os.mkfifo(tmp_path / ".out.0123456789abcdef.part")
    os.mkfifo(tmp_path / ".out.x.part")
    (tmp_path / ".out.notes.part").write_bytes(b"somebody's")
    before = set(os.listdir(tmp_path))
    with atomic(tmp_path / "out") as temp:
        temp.write(b"x")
    assert set(os.listdir(tmp_path)) == before | {"out"}


def test_an_output_has_no_name_before_it_is_complete(tmp_path):
    with atomic(tmp_path / "out") as temp:
        temp.write(b"x")
        assert os.listdir(tmp_path) == []
    assert os.listdir(tmp_path) == ["out"]


def test_what_goes_to_a_stream_waits_in_a_file_of_nobody_elses(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with atomic(Path("/dev/null")) as temp:
        assert stat.S_IMODE(os.fstat(temp.fileno()).st_mode) == 0o600
    assert os.listdir(tmp_path) == []


def test_impossible_targets_are_told_before_the_work(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        check_target(tmp_path / "no" / "out")
    with pytest.raises(OutputError, match="is a folder"):
        check_target(tmp_path)


@pytest.mark.parametrize(
    ("number", "problem"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "cannot be written")]
)
def test_the_disks_refusals_become_sentences(tmp_path, number, problem):
    with pytest.raises(OutputError, match=problem), atomic(tmp_path / "out"):
        raise OSError(number, os.strerror(number))
    with pytest.raises(OSError, match="Input/output"), atomic(tmp_path / "out"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert os.listdir(tmp_path) == []
