"""Stores that others could have changed, and what is in a blob's place but is no blob."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from builders import descriptor

from layers.errors import ImageNotFound, StoreError
from layers.store import ContentStore, Remembered

DATA = b"data"
BLOB = descriptor(DATA)
KEY = "ab" * 32
FOLDERS = ["", "blobs", "blobs/sha256", "steps", "tmp"]


@pytest.fixture
def root(tmp_path):
    return ContentStore(tmp_path / "store").root


def give_away(path, monkeypatch):
    """Make another user the owner; who is not root becomes another user himself."""
    if os.geteuid() == 0:
        os.chown(path, 4321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4321)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_a_store_is_made_for_nobody_else_whatever_the_umask(tmp_path, umask):
    script = (
        "import os, sys; from pathlib import Path; from layers.store import ContentStore;"
        f"os.umask({umask}); ContentStore(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "store"], check=True)
    for name in FOLDERS:
        assert stat.S_IMODE((tmp_path / "store" / name).stat().st_mode) == 0o700, name


@pytest.mark.parametrize("name", [*FOLDERS, "trees", "blobs/sha512"])
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_a_store_that_others_can_write_to_is_refused_unless_somebody_is_told(root, name, mode):
    (root / name).mkdir(exist_ok=True)
    (root / name).chmod(mode)
    with pytest.raises(StoreError, match=rf"{root / name} \(mode {mode:04o}\).*--store"):
        ContentStore(root)
    told = []
    ContentStore(root, told.append)
    assert [str(root / name) in text for text in told] == [True]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_store_of_another_user_is_refused_unless_somebody_is_told(root, name, monkeypatch):
    give_away(root / name, monkeypatch)
    with pytest.raises(StoreError, match="belongs to another user"):
        ContentStore(root)
    told = []
    ContentStore(root, told.append)
    assert len(told) == 1


def test_a_directory_that_somebody_else_made_first_is_left_empty(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o777)
    with pytest.raises(StoreError):
        ContentStore(tmp_path / "store")
    assert os.listdir(tmp_path / "store") == []


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o500])
def test_a_store_that_others_can_only_read_is_used(root, mode):
    root.chmod(mode)
    ContentStore(root)


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256", "steps", "tmp", "index.json", "lock"])
def test_no_link_is_followed_in_a_store(root, tmp_path, name):
    aside = tmp_path / "aside"
    if (root / name).exists():
        (root / name).rename(aside)
    (root / name).symlink_to(aside)
    for warn in (None, print):
        with pytest.raises(StoreError, match=f"{root / name}: a symbolic link"):
            ContentStore(root, warn)


def test_the_store_itself_may_be_named_by_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    ContentStore(tmp_path / "link").add(DATA)
    assert (root / "blobs" / "sha256" / BLOB.digest.hex).exists()


def put_link(path):
    aside = path.parent / ("0" * 64)
    aside.write_bytes(DATA)
    path.symlink_to(aside)


@pytest.mark.parametrize("put", [put_link, os.mkfifo, os.mkdir])
def test_what_is_no_file_in_a_blobs_place_is_not_opened(root, put):
    store = ContentStore(root)
    path = store.path(BLOB.digest)
    put(path)
    assert not store.has(BLOB)
    with pytest.raises(StoreError, match=f"{path}: not a regular file"):
        store.read(BLOB)
    with pytest.raises(StoreError, match=f"{path}: not a regular file"), store.open_blob(BLOB):
        pass
    if put is os.mkdir:
        with pytest.raises(StoreError, match="Is a directory"):
            store.ingest(BLOB, [DATA])
        return
    store.ingest(BLOB, [DATA])
    assert stat.S_ISREG(path.lstat().st_mode)
    assert store.read(BLOB) == DATA


def test_what_is_no_file_in_a_steps_place_is_not_remembered(root, tmp_path):
    store = ContentStore(root)
    store.remember(KEY, Remembered(None))
    assert store.recall(KEY) is not None
    (root / "steps" / KEY).rename(tmp_path / "aside")
    (root / "steps" / KEY).symlink_to(tmp_path / "aside")
    assert store.recall(KEY) is None
    (root / "steps" / KEY).unlink()
    os.mkfifo(root / "steps" / KEY)
    assert store.recall(KEY) is None


def test_a_fifo_in_the_place_of_the_tags_is_told(root):
    store = ContentStore(root)
    (root / "index.json").unlink()
    os.mkfifo(root / "index.json")
    with pytest.raises(StoreError, match=r"index\.json: not a regular file"):
        store.tags()


def test_a_blob_that_is_not_there_is_told_as_before(root):
    with pytest.raises(ImageNotFound):
        ContentStore(root).open_file(BLOB.digest)
