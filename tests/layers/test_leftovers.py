"""Whatever moment a signal picks, what was owed is removed at the end."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys

import pytest
from support.interruption import interrupted

from layers import leftovers, tempfiles
from layers.tempfiles import TempArea


def make_a_file(folder):
    with TempArea(folder).file() as file:
        file.write(b"x")


def publish_a_file(folder):
    with TempArea(folder).file() as file:
        file.publish(folder / "published")
    (folder / "published").unlink()


def publish_a_copy(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", refuse)
        publish_a_file(folder)


def refuse(*_arguments, **_options):
    raise PermissionError(errno.EPERM, "")


def make_a_nameless_file(folder):
    TempArea(folder).anonymous()


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    "action", [make_a_file, publish_a_file, publish_a_copy, make_a_nameless_file]
)
def test_a_signal_at_any_moment_leaves_no_temporary_file(action, named, tmp_path, monkeypatch):
    if named:
        monkeypatch.setattr(tempfiles, "_open_unnamed", lambda _folder, _mode: None)
    for number in itertools.count(1):
        came = interrupted(lambda: action(tmp_path), [tempfiles], number)
        (tmp_path / "published").unlink(missing_ok=True)
        leftovers.remove_all()
        assert not list(tmp_path.iterdir()), number
        if not came:
            break
    assert number > 20


def test_what_is_settled_stays(tmp_path):
    stays, goes = tmp_path / "stays", tmp_path / "goes"
    for path in (stays, goes):
        leftovers.owe(path, path.unlink)
        path.touch()
    leftovers.settle(stays)
    leftovers.remove_all()
    assert list(tmp_path.iterdir()) == [stays]


def test_what_is_owed_when_python_ends_is_removed(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from layers import tempfiles;"
        "tempfiles._open_unnamed = lambda _folder, _mode: None;"
        "file = tempfiles.TempArea(Path(sys.argv[1])).file(); file.__enter__();"
        "print(len(os.listdir(sys.argv[1])) == 1)"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert done.stdout == "True\n"
    assert not list(tmp_path.iterdir())


def test_one_that_cannot_be_removed_does_not_keep_the_others(tmp_path):
    leftovers.owe(tmp_path / "first", (tmp_path / "first").touch)
    leftovers.owe(tmp_path / "second", (tmp_path / "second").unlink)
    leftovers.remove_all()
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
