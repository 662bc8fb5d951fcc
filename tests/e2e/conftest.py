"""The installed command in a folder of its own, and a small context to be built by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assembler.cli import main

COMMAND = Path(sys.executable).with_name("golem-assemble")


@pytest.fixture(scope="session")
def command():
    """The installed program."""
    return COMMAND


@pytest.fixture
def run(tmp_path):
    """Run the command in a folder of its own, with a store of its own."""

    def run(*arguments, status=0, **options):
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(
            [COMMAND, *arguments],
            **(
                {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
                | options
            ),
            check=False,
        )
        assert status in {done.returncode, None}, done.stderr
        return done

    return run


@pytest.fixture
def here(monkeypatch, tmp_path, capsys):
    """Run a command line in this process; return its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def here(*arguments, status=0):
        ended = main.run(list(arguments))
        captured = capsys.readouterr()
        assert ended == status, captured.err
        return captured

    return here


@pytest.fixture
def project(tmp_path):
    """A context with a few files, and a function that writes its Dockerfile."""
    for name in ("a.txt", "dir/b.txt", "dir/deep/c.txt", "kept/d.txt"):
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, (1_500_000_000, 1_500_000_000))

    def write(text, ignore=None):
        (tmp_path / "project" / "Dockerfile").write_text(text)
        if ignore is not None:
            (tmp_path / "project" / ".dockerignore").write_text(ignore)
        return tmp_path / "project"

    return write
