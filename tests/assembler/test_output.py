from __future__ import annotations

import errno
import os

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
    (tmp_path / ".out.0123.part").write_bytes(b"left")
    with atomic(tmp_path / "out") as temp:
        temp.write(b"x")
    assert os.listdir(tmp_path) == ["out"]


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
