"""ext4 can be asked to spread trees; others need not be."""

from __future__ import annotations

import itertools
import subprocess

from assembler.sandbox import placing
from assembler.sandbox.placing import make_folder, spread


def test_a_directory_is_marked_where_the_file_system_knows_how(tmp_path):
    if spread(tmp_path):
        shown = subprocess.run(["lsattr", "-d", tmp_path], capture_output=True, text=True).stdout
        assert "T" in shown.split()[0]


def test_a_file_system_without_the_mark_is_left_alone():
    assert spread("/proc") is False


def test_a_place_where_files_are_slow_to_make_is_not_taken(tmp_path, monkeypatch):
    answers = iter([False, False, True])
    monkeypatch.setattr(placing, "_takes_files", lambda folder: next(answers))
    numbers = itertools.count()
    assert make_folder(lambda: tmp_path / str(next(numbers))) == tmp_path / "2"
    assert [path.name for path in tmp_path.iterdir()] == ["2"]


def test_the_last_place_is_taken_where_all_are_slow(tmp_path, monkeypatch):
    monkeypatch.setattr(placing, "_SLOW", 0.0)
    numbers = itertools.count()
    made = make_folder(lambda: tmp_path / str(next(numbers)))
    assert list(tmp_path.iterdir()) == [made]
    assert list(made.iterdir()) == []
