"""Who writes the maps of a user namespace, and what comes of it when that fails."""

from __future__ import annotations

import os

import pytest
from sandboxes import in_child

from assembler.sandbox import linux, userns
from assembler.sandbox.job import UserNamespace
from assembler.sandbox.userns import MapError

MAP = ((0, 1000, 1), (1, 100_000, 65_536))


def helper(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_helpers_are_told_the_process_and_its_maps(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("newuidmap", "newgidmap"):
        helper(tmp_path, name, f'echo "$@" > {tmp_path}/{name}.said')
    assert userns._write_from_outside(7, UserNamespace(MAP, MAP[:1], "helpers")) == 0
    assert (tmp_path / "newuidmap.said").read_text() == "7 0 1000 1 1 100000 65536\n"
    assert (tmp_path / "newgidmap.said").read_text() == "7 0 1000 1\n"


@pytest.mark.parametrize("text", ["exit 1", None])
def test_helpers_that_fail_or_are_missing_are_a_failure(tmp_path, monkeypatch, text):
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    if text is not None:
        helper(tmp_path, "newuidmap", text)
    assert userns._write_from_outside(7, UserNamespace(MAP, MAP, "helpers")) == 1


def test_a_map_that_cannot_be_written_is_a_failure():
    assert userns._write_from_outside(2**22 + 1, UserNamespace(MAP, MAP, "parent")) == 1


def test_an_entry_without_maps_is_an_error(monkeypatch):
    def run():
        monkeypatch.setattr(linux, "unshare", lambda _: None)
        monkeypatch.setattr(userns, "_write_from_outside", lambda *_: 1)
        userns.enter(UserNamespace(MAP, MAP, "helpers"))

    assert in_child(run) == "MapError: helpers could not map the ids (status 1)"


def test_a_namespace_that_is_refused_leaves_no_process_behind(monkeypatch):
    def refuse(_):
        raise PermissionError(1, "Operation not permitted", "unshare")

    def run():
        monkeypatch.setattr(linux, "unshare", refuse)
        monkeypatch.setattr(userns, "_write_from_outside", lambda *_: 0)
        try:
            userns.enter(UserNamespace(MAP, MAP, "parent"))
        except PermissionError:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return "nobody"

    assert in_child(run) == "nobody"


def test_maps_are_lines_as_the_kernel_wants_them():
    assert userns._lines(MAP) == "0 1000 1\n1 100000 65536\n"
    assert issubclass(MapError, OSError)
