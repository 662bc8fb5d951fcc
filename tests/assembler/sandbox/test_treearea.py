"""Folders of unpacked images: which of them stay, and which are swept away."""

from __future__ import annotations

import fcntl
import itertools
import os

import pytest
from support.interruption import interrupted

from assembler.sandbox import placing, treearea
from assembler.sandbox.treearea import TreeArea
from layers import leftovers


@pytest.fixture
def area(tmp_path):
    return TreeArea(tmp_path)


@pytest.fixture
def trees(tmp_path):
    folder = tmp_path / "trees"
    folder.mkdir()
    return folder


def full(folder):
    """*folder*, with contents that only their owner may remove, and only after chmod."""
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "c").write_text("c")
    (folder / "a" / "link").symlink_to("/etc")
    (folder / "a" / "b").chmod(0)
    return folder


def test_a_folder_lasts_as_long_as_its_context(area, trees):
    with area.folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        full(folder)
    assert not list(trees.iterdir())


def test_a_folder_goes_though_there_was_an_error(area, trees):
    with pytest.raises(RuntimeError), area.folder() as folder:
        full(folder)
        raise RuntimeError
    assert not list(trees.iterdir())


def test_nobody_else_passes_into_the_area(area, tmp_path):
    with area.folder():
        assert (tmp_path / "trees").stat().st_mode & 0o777 == 0o700


def test_what_is_kept_is_named_after_this_start_of_the_machine(area, tmp_path, monkeypatch):
    boot = tmp_path / "boot"
    boot.write_text("0123456789abcdef\n")
    monkeypatch.setattr(treearea, "_BOOT_ID", boot)
    assert area.kept("x-own").name == "x-own.01234567"
    monkeypatch.setattr(treearea, "_BOOT_ID", tmp_path / "none")
    assert area.kept("x-own").name == "x-own.0"


def test_the_first_who_keeps_a_folder_wins(area):
    target = area.kept("x")
    for text in ("first", "second"):
        with area.folder() as folder:
            draft = folder / "lower"
            draft.mkdir()
            (draft / "file").write_text(text)
            area.keep(draft, target)
    assert (target / "file").read_text() == "first"
    assert area.folders() == [target]


def test_what_cannot_be_kept_is_an_error(area, tmp_path):
    with area.folder() as folder, pytest.raises(OSError):
        area.keep(folder / "none", tmp_path / "trees" / "x")


def test_sweeping_removes_orphans_and_other_boots_folders(area, trees):
    full(trees / ".tmp.orphan")
    os.utime(full(trees / "image-own.00000000"), (1000, 1000))
    kept = full(area.kept("image-own"))
    area.sweep()
    assert list(trees.iterdir()) == [kept]
    kept.joinpath("a", "b").chmod(0o700)


def test_sweeping_keeps_what_another_machine_may_be_using(area, trees):
    used = full(trees / "image-own.00000000")
    area.sweep()
    assert used.is_dir()


def test_a_signal_at_any_moment_leaves_no_folder(tmp_path):
    def make():
        with TreeArea(tmp_path).folder() as folder:
            (folder / "f").touch()

    for number in itertools.count(1):
        came = interrupted(make, [treearea, placing], number)
        leftovers.remove_all()
        assert [path.name for path in tmp_path.rglob("*")] in ([], ["trees"]), number
        if not came:
            break
    assert number > 100


def test_sweeping_keeps_what_somebody_holds(area, trees):
    held = full(trees / ".tmp.held")
    descriptor = os.open(held, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        area.sweep()
        assert held.is_dir()
    finally:
        os.close(descriptor)
    area.sweep()
    assert not held.exists()


def test_sweeping_follows_no_link(area, trees, tmp_path):
    out = full(tmp_path / "out")
    (trees / ".tmp.link").symlink_to(out)
    area.sweep()
    assert (out / "a").is_dir()
    out.joinpath("a", "b").chmod(0o700)


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(area, trees, monkeypatch):
    real, made = treearea.make_folder, []

    def make(named):
        path = real(named)
        made.append(path)
        if len(made) == 1:
            TreeArea(trees.parent).sweep()
        return path

    monkeypatch.setattr(treearea, "make_folder", make)
    with area.folder() as folder:
        assert folder == made[1]
        assert folder.is_dir()


def test_there_may_be_no_area_yet(area):
    area.sweep()
    assert area.folders() == []


def test_kept_folders_can_be_removed(area):
    kept = full(area.kept("image"))
    area.remove(kept)
    assert area.folders() == []
