"""Whose a file is, where all files belong to one id."""

from __future__ import annotations

import os

import pytest

from assembler.sandbox.attributes import OWNER
from assembler.sandbox.manner import ExactOwners, RecordedOwners

HIDDEN = {b"mail": (8, 12), b"root-file": (0, 5)}
COPIED_UP = {b"user.overlay.origin": b""}


def status(inode=1, uid=0, gid=0, links=1):
    return os.stat_result((0o100644, inode, 1, links, uid, gid, 0, 0, 0, 0))


def owner(path, marks, was=None, inode=1):
    return RecordedOwners(HIDDEN, (1000, 1001)).of(path, status(inode), marks, was)


def test_what_is_new_belongs_to_who_ran_the_command():
    assert owner(b"new", {}) == (1000, 1001)


def test_what_was_there_keeps_its_owner():
    assert owner(b"mail", COPIED_UP, status()) == (8, 12)
    assert owner(b"plain", COPIED_UP, status()) == (0, 0)


def test_a_recorded_owner_is_the_owner():
    assert owner(b"new", {OWNER: b"3:4"}) == (3, 4)
    assert owner(b"mail", {OWNER: b"3:4"}, status()) == (3, 4)


@pytest.mark.parametrize("recorded", [b"-1:4", b"3:-1", b"-1:-1"])
def test_half_an_owner_leaves_the_other_half(recorded):
    uid, gid = map(int, recorded.split(b":"))
    assert owner(b"mail", {OWNER: recorded} | COPIED_UP, status()) == (
        8 if uid < 0 else uid, 12 if gid < 0 else gid,
    )  # fmt: skip


def test_what_takes_a_files_place_as_roots_keeps_that_files_owner():
    assert owner(b"mail", {OWNER: b"0:0"}, status(inode=1), inode=2) == (8, 12)


def test_what_had_several_names_keeps_its_owner_as_nothing_tells_that_it_is_another():
    assert owner(b"mail", {}, status(inode=1, links=2), inode=2) == (8, 12)


def test_the_root_directory_is_always_the_same():
    rooted = RecordedOwners({b"": (5, 6)}, (1000, 1001))
    assert rooted.of(b"", status(inode=2), {}, status(inode=1)) == (5, 6)


def test_what_takes_a_files_place_and_was_given_to_nobody_is_its_makers():
    assert owner(b"mail", {}, status(inode=1), inode=2) == (1000, 1001)
    assert owner(b"mail", {OWNER: b"-1:4"}, status(inode=1), inode=2) == (1000, 4)


def test_the_same_file_given_to_root_is_roots():
    assert owner(b"mail", {OWNER: b"0:0"} | COPIED_UP, status(inode=1), inode=2) == (0, 0)
    assert owner(b"mail", {OWNER: b"0:0"}, status(inode=1), inode=1) == (0, 0)


@pytest.mark.parametrize(
    "nonsense", [b"", b"1", b"1:", b"a:b", b"-2:1", b"1:2:3", b"99999999999:1", b"4294967295:0"]
)
def test_what_a_command_writes_there_itself_means_nothing(nonsense):
    assert owner(b"new", {OWNER: nonsense}) == (1000, 1001)


def test_exact_owners_are_those_on_disk_but_for_hidden_ones():
    exact = ExactOwners(HIDDEN)
    assert exact.of(b"mail", status(uid=3, gid=4), {}, None) == (3, 4)
    assert exact.of(b"mail", status(), {}, None) == (8, 12)
    assert exact.of(b"new", status(), {}, None) == (0, 0)
