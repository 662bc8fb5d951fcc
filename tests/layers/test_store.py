from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import damage, descriptor

from layers import descriptor as media
from layers import tempfiles
from layers.descriptor import Descriptor, Platform
from layers.digest import Digest
from layers.errors import DigestMismatch, ImageNotFound, MalformedLayer, StoreError
from layers.store import ContentStore, default_root

DATA = b"blob " * 100_000
BLOB = descriptor(DATA)


@pytest.fixture
def store(tmp_path):
    return ContentStore(tmp_path / "store")


def files(store):
    return sorted(
        str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()
    )


# Where it is.


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("/x/cache", "/x/cache/golem-assemble"),
        ("", "/home/me/.cache/golem-assemble"),
        ("relative", "/home/me/.cache/golem-assemble"),
        (None, "/home/me/.cache/golem-assemble"),
    ],
)
def test_the_store_is_in_the_user_s_cache(monkeypatch, base, expected):
    monkeypatch.setenv("HOME", "/home/me")
    if base is None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert default_root() == Path(expected)


def test_a_store_is_an_oci_layout_from_its_beginning(store):
    assert files(store) == ["index.json", "oci-layout"]
    assert json.loads((store.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((store.root / "index.json").read_bytes()) == {
        "schemaVersion": 2,
        "manifests": [],
    }


def test_a_store_that_is_there_is_opened_as_it_is(store):
    digest = store.add(b"x")
    store.tag("t", descriptor(b"x"))
    again = ContentStore(store.root)
    assert again.path(digest).read_bytes() == b"x"
    assert again.resolve("t").digest == digest


def test_what_another_process_began_first_stays(tmp_path, monkeypatch):
    # Both saw no index.json; the other one has linked, and tagged, in the meantime.
    ContentStore(tmp_path).tag("t", BLOB)
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    assert ContentStore(tmp_path).resolve("t").digest == BLOB.digest


def test_leftovers_of_killed_processes_are_swept(store, monkeypatch):
    # Where the file system makes files without names, none is left.
    monkeypatch.setattr(tempfiles, "_open_unnamed", lambda _folder, _mode: None)
    code = (
        "import os, sys, pathlib; from layers import tempfiles; from layers.store import *\n"
        "tempfiles._open_unnamed = lambda _folder, _mode: None\n"
        "with ContentStore(pathlib.Path(sys.argv[1])).area.file(): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    assert len(list((store.root / "tmp").iterdir())) == 1
    with store.area.file():
        ContentStore(store.root)
        assert len(list((store.root / "tmp").iterdir())) == 1


def test_a_fifo_among_temporary_files_is_not_waited_for(store):
    for name in (".tmp.a.part", ".tmp.0123456789abcdef.part"):
        os.mkfifo(store.root / "tmp" / name)
    assert ContentStore(store.root).add(b"x")


@pytest.mark.parametrize("name", ["store", "store/blobs", "store/tmp"])
def test_a_file_in_the_place_of_a_folder_is_told(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(StoreError, match=r"store: the content store cannot be written .*--store"):
        ContentStore(tmp_path / "store")


def test_a_relative_store_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = ContentStore(Path("store"))
    monkeypatch.chdir("/")
    store.ingest(BLOB, [DATA])
    assert store.root == tmp_path / "store"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    with pytest.raises(StoreError, match="XDG_CACHE_HOME"):
        default_root()


# Blobs.


def test_a_blob_is_stored_once_under_its_digest(store):
    assert not store.has(BLOB)
    store.ingest(BLOB, [DATA[:7], DATA[7:]])
    assert store.has(BLOB)
    assert store.path(BLOB.digest).read_bytes() == DATA
    store.ingest(BLOB, iter(lambda: pytest.fail("what is here is not read again"), None))
    assert store.read(BLOB) == DATA
    with store.open_blob(BLOB) as chunks:
        assert b"".join(chunks) == DATA
    assert len(files(store)) == 3


def test_blobs_of_other_algorithms_have_their_own_folder(store):
    blob = Descriptor("", Digest("sha512", hashlib.sha512(DATA).hexdigest()), len(DATA))
    store.ingest(blob, [DATA])
    assert store.path(blob.digest) == store.root / "blobs" / "sha512" / blob.digest.hex
    assert store.read(blob) == DATA


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b"x" * len(DATA), b""])
def test_what_is_not_what_it_should_be_is_not_kept(store, data):
    with pytest.raises(DigestMismatch, match=f"^blob {BLOB.digest}: "):
        store.ingest(BLOB, [data])
    assert not store.has(BLOB)
    assert files(store) == ["index.json", "oci-layout"]


def test_a_source_that_fails_leaves_nothing(store):
    def chunks():
        yield DATA[:100]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.ingest(BLOB, chunks())
    assert files(store) == ["index.json", "oci-layout"]


def test_a_blob_that_is_not_there_is_told(store):
    problem = f"^{store.root}: blob {BLOB.digest} is not there$"
    with pytest.raises(ImageNotFound, match=problem):
        store.read(BLOB)
    with pytest.raises(ImageNotFound, match=problem), store.open_blob(BLOB):
        pass


def test_a_blob_of_another_size_is_fetched_anew(store):
    store.ingest(BLOB, [DATA])
    os.truncate(store.path(BLOB.digest), 10)
    assert not store.has(BLOB)
    store.ingest(BLOB, [DATA])
    assert store.read(BLOB) == DATA


def test_a_damaged_blob_is_removed_when_it_is_read(store):
    store.ingest(BLOB, [DATA])
    damage(store.path(BLOB.digest))
    with pytest.raises(
        StoreError, match=f"blob {BLOB.digest} was damaged on disk and has been rem"
    ):
        store.read(BLOB)
    assert not store.has(BLOB)


def test_a_damaged_blob_that_another_process_mended_meanwhile_is_kept(store, monkeypatch):
    store.ingest(BLOB, [DATA])
    (store.root / "before").write_bytes(b"as it was before")
    damaged = [os.open(store.root / "before", os.O_RDONLY)]
    open_file = store.open_file
    monkeypatch.setattr(store, "open_file", lambda d: damaged.pop() if damaged else open_file(d))
    with pytest.raises(DigestMismatch):
        store.read(BLOB)
    assert store.has(BLOB)


@pytest.mark.parametrize("error", [DigestMismatch("x", "y", "z"), MalformedLayer("x", "y")])
def test_a_blob_that_its_reader_finds_broken_is_removed_if_the_disk_is_to_blame(store, error):
    store.ingest(BLOB, [DATA])
    with pytest.raises(type(error)), store.open_blob(BLOB):
        raise error
    assert store.has(BLOB)
    damage(store.path(BLOB.digest))
    again = pytest.raises(StoreError, match="run the command again to fetch it anew")
    with again as caught, store.open_blob(BLOB):
        raise error
    assert isinstance(caught.value.__cause__, DigestMismatch)
    assert not store.has(BLOB)


def test_other_failures_of_its_reader_are_none_of_the_blob_s_business(store):
    store.ingest(BLOB, [DATA])
    damage(store.path(BLOB.digest))
    with pytest.raises(KeyError), store.open_blob(BLOB):
        raise KeyError
    assert store.has(BLOB)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_leaves_nothing(store, monkeypatch, number):
    def full(*_arguments):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for act in (lambda: store.add(DATA), lambda: store.tag("t", BLOB)):
            with pytest.raises(StoreError, match=r"/store: .*; make room .*--store"):
                act()
    assert not store.has(BLOB)
    assert store.resolve("t") is None
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_store_that_is_not_ours_to_write_is_told(store, monkeypatch, number):
    def refuse(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match=rf"cannot be written \({os.strerror(number)}\); name ano"):
        store.add(DATA)


def test_what_the_system_says_otherwise_is_passed_on(store, monkeypatch):
    def fail(*_arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match="Input/output error"):
        store.add(DATA)


# Tags.


def test_a_tag_points_where_it_was_pointed_last(store):
    one, other = (
        Descriptor(media.OCI_MANIFEST, Digest.of(data), 1, Platform("linux", "arm64"))
        for data in (b"1", b"2")
    )
    assert store.resolve("t") is None
    store.tag("t", one)
    store.tag("u", one)
    store.tag("t", other)
    assert (store.resolve("t").digest, store.resolve("u").digest) == (other.digest, one.digest)
    assert store.resolve("t").platform == Platform("linux", "arm64")
    index = json.loads((store.root / "index.json").read_bytes())
    assert [item["annotations"] for item in index["manifests"]] == [
        {"org.opencontainers.image.ref.name": name} for name in ("u", "t")
    ]


@pytest.mark.parametrize("text", ["", "[]", '{"manifests": {}}', '{"manifests": [7]}'])
def test_a_damaged_index_is_told_with_the_way_out(store, text):
    (store.root / "index.json").write_text(text)
    for act in (lambda: store.resolve("t"), lambda: store.tag("t", BLOB)):
        with pytest.raises(StoreError, match=r"; remove .*/index.json to begin with no tags$"):
            act()
    (store.root / "index.json").unlink()
    ContentStore(store.root).tag("t", BLOB)


# Several processes.

WORKER = """
import pathlib, sys
from layers.descriptor import Descriptor
from layers.digest import Digest
from layers.store import ContentStore, default_root

root, name = pathlib.Path(sys.argv[1]), sys.argv[2]
shared = b"shared " * 200_000
sys.stdin.readline()
for number in range(12):
    store = ContentStore(root)
    store.ingest(Descriptor("", Digest.of(shared), len(shared)), [shared[:99], shared[99:]])
    digest = store.add(f"{name} {number}".encode())
    store.tag(f"{name}-{number}", Descriptor("", digest, 1))
    store.tag("all", Descriptor("", digest, 1))
"""


def test_processes_share_a_store(tmp_path):
    names = ["one", "two", "three"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "store"), name],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in names
    ]
    for worker in workers:
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    assert [worker.communicate()[1] for worker in workers] == [b""] * 3
    store = ContentStore(tmp_path / "store")
    for name in names:
        for number in range(12):
            data = f"{name} {number}".encode()
            assert store.resolve(f"{name}-{number}").digest == Digest.of(data)
            assert store.read(descriptor(data)) == data
    shared = b"shared " * 200_000
    assert store.read(descriptor(shared)) == shared
    assert store.resolve("all") is not None
    assert len(json.loads((store.root / "index.json").read_bytes())["manifests"]) == 37
    assert list((store.root / "tmp").iterdir()) == []
