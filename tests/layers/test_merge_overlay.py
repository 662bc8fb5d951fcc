"""Our merge held against the kernel: layers as commands on an overlay make them.

Random edits are made on an overlay of everything before them; each upper directory becomes a
layer, its entries in any order. What the overlay shows is what the merged layers must be.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import tarfile
from contextlib import contextmanager, suppress

import pytest
from builders import as_snapshot, merged
from support.layers import char, directory, fifo, file, hardlink, layer, opaque, symlink, whiteout
from support.mounts import NODEV, leave_the_mount_namespace, mount, scratch, unmount
from support.trees import ROOT, differences, snapshot_directory

STACKS = int(os.environ.get("GOLEM_TEST_STACKS", "300"))
BATCHES = 10
NAMES = ["a", "b", "c", "d", "n" * 150, "caf\udce9"]
TARGETS = [
    "a",
    "b",
    "../c",
    "a/b",
    "../../b/c",
    "/a",
    "/b/c",
    ".",
    "/",
    "a/",
    "../" * 40 + "x" * 90,
]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting overlays needs root")


class Editor:
    """Edits below *root* as a command would make them; never through a symbolic link."""

    def __init__(self, root, rng):
        self.root = root
        self.rng = rng

    def edit(self):
        folder = self.folder()
        path = os.path.join(folder, self.rng.choice(NAMES))
        # What the kernel refuses (a rename into itself, of a lower directory) is no edit.
        with suppress(OSError):
            self.rng.choice(
                [self.write, self.write, self.make, self.make, self.point, self.point,
                 self.remove, self.remove, self.move, self.link, self.change, self.special]
            )(path)  # fmt: skip

    def folder(self):
        here = self.root
        for _ in range(self.rng.randrange(4)):
            inner = [
                entry.path for entry in os.scandir(here) if entry.is_dir(follow_symlinks=False)
            ]
            if not inner:
                break
            here = self.rng.choice(sorted(inner))
        return here

    def clear(self, path):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)

    def write(self, path):
        self.clear(path)
        with open(path, "wb") as new:
            new.write(self.rng.randbytes(3))

    def make(self, path):
        self.clear(path)
        os.mkdir(path, self.rng.choice([0o755, 0o700, 0o1777]))

    def point(self, path):
        self.clear(path)
        os.symlink(self.rng.choice(TARGETS), path)

    def remove(self, path):
        self.clear(path)

    def move(self, path):
        os.rename(path, os.path.join(self.folder(), self.rng.choice(NAMES)))

    def link(self, path):
        os.link(path, os.path.join(self.folder(), self.rng.choice(NAMES)), follow_symlinks=False)

    def change(self, path):
        if not os.path.islink(path):
            os.chmod(path, self.rng.choice([0o600, 0o711]))
        os.chown(path, self.rng.randrange(3), self.rng.randrange(3), follow_symlinks=False)

    def special(self, path):
        self.clear(path)
        os.mkfifo(path)


def items_of(upper, rng):
    """The layer of an upper directory, its entries and whiteouts in any order.

    But hard links come last: one before its target means what a lower layer has there.
    """
    items, inodes = [], {}
    for folder, folders, files in os.walk(upper):
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            items += _items(path, os.path.relpath(path, upper), inodes)
    rng.shuffle(items)
    return sorted(items, key=lambda item: item.kind == tarfile.LNKTYPE)


def _items(path, name, inodes):
    status = os.lstat(path)
    fields = {"uid": status.st_uid, "gid": status.st_gid, "mtime": int(status.st_mtime)}
    fields["mode"] = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        yield directory(name, **fields)
        if "trusted.overlay.opaque" in os.listxattr(path):
            yield opaque(name)
    elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        yield whiteout(name)
    elif status.st_nlink > 1 and status.st_ino in inodes:
        yield hardlink(name, inodes[status.st_ino])
    else:
        inodes[status.st_ino] = name
        yield _single(path, name, status, fields)


def _single(path, name, status, fields):
    if stat.S_ISLNK(status.st_mode):
        return symlink(name, os.readlink(path), **fields)
    if stat.S_ISFIFO(status.st_mode):
        return fifo(name, **fields)
    if stat.S_ISCHR(status.st_mode):
        return char(name, os.major(status.st_rdev), os.minor(status.st_rdev), **fields)
    with open(path, "rb") as old:
        return file(name, old.read(), **fields)


@contextmanager
def overlay(folder, number):
    """A writable overlay upon the first *number* layers; its upper directory is the next one."""
    lower = ":".join(f"{folder}/{n}" for n in reversed(range(number)))
    upper, work, view = (f"{folder}/{name}" for name in (number, f"work{number}", "view"))
    for path in (upper, work):
        os.mkdir(path)
    options = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off,metacopy=off"
    mount("overlay", view, "overlay", NODEV, options)
    try:
        yield view, upper
    finally:
        unmount(view)


def compare(folder, seed):
    """Make one stack of layers; return what our merge makes of it otherwise than the kernel."""
    rng = random.Random(seed)
    os.mkdir(f"{folder}/view")
    os.mkdir(f"{folder}/0")
    stack = []
    for number in range(1, rng.randrange(2, 5) + 1):
        with overlay(folder, number) as (view, upper):
            editor = Editor(view, rng)
            for _ in range(rng.randrange(1, 14)):
                editor.edit()
            shown = snapshot_directory(view)
        stack.append(items_of(upper, rng))
    del shown[ROOT]
    return stack, differences(shown, as_snapshot(merged(*(layer(*items) for items in stack))))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_layers_merge_as_the_overlays_they_were_made_on(tmp_path, batch):
    leave_the_mount_namespace()
    for seed in range(batch, STACKS, BATCHES):
        with scratch(tmp_path) as folder:
            stack, found = compare(os.fsdecode(folder), seed)
        assert found == [], f"seed {seed}: {stack}"
