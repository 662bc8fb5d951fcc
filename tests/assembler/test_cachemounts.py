"""Caches of RUN: shared, locked or one's own, counted, and given back."""

from __future__ import annotations

import os
import threading

import pytest

from assembler import images
from assembler.cachemounts import CacheName, caches, open_cache, remove_cache
from assembler.dockerfile.mounts import parse_mount
from assembler.dockerfile.mounttext import MountText
from layers.errors import StoreError
from layers.store import ContentStore

NAME = CacheName("/root/.cache")


@pytest.fixture
def store(tmp_path):
    return ContentStore(tmp_path / "store")


def fill(root, name, size=0, used=None):
    with open_cache(root, name) as path:
        (path / "f").write_bytes(b"x" * size)
    if used is not None:
        os.utime(path.parent / "lock", (used, used))
    return path


def test_what_is_in_a_cache_is_there_the_next_time(store):
    first = fill(store.root, NAME, 5)
    with open_cache(store.root, NAME, "locked") as again:
        assert again == first
        assert (again / "f").read_bytes() == b"xxxxx"
    assert first.stat().st_mode & 0o7777 == 0o755


def test_mode_owner_and_sandbox_make_another_cache(store):
    names = [
        NAME,
        CacheName(NAME.identity, mode=0o1777),
        CacheName(NAME.identity, fidelity="exact"),
    ]
    made = [fill(store.root, name) for name in names]
    assert len(set(made)) == 3
    assert made[1].stat().st_mode & 0o7777 == 0o1777
    mount = parse_mount(MountText.parse("type=cache,target=/a,id=i,mode=700,uid=5"))
    assert CacheName.of(mount, "f") == CacheName("i", 0o700, 5, None, "f")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_a_new_cache_has_the_owner_that_was_asked_for(store):
    path = fill(store.root, CacheName("i", uid=5, gid=6))
    assert (path.stat().st_uid, path.stat().st_gid) == (5, 6)


def test_shared_caches_are_used_at_once(store):
    with open_cache(store.root, NAME) as one, open_cache(store.root, NAME) as other:
        assert one == other


def test_a_locked_cache_is_waited_for(store):
    order = []

    def wait():
        with open_cache(store.root, NAME, "locked"):
            order.append("second")

    other = threading.Thread(target=wait)
    with open_cache(store.root, NAME, "locked"):
        other.start()
        other.join(0.2)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]


def test_a_private_cache_is_another_one_while_the_first_is_used(store):
    with (
        open_cache(store.root, NAME, "private") as one,
        open_cache(store.root, NAME, "private") as two,
        open_cache(store.root, NAME, "private") as three,
    ):
        assert len({one, two, three}) == 3
    with open_cache(store.root, NAME, "private") as again:
        assert again == one


def test_of_many_who_share_a_new_cache_one_makes_it(store):
    found = []

    def use():
        with open_cache(store.root, NAME) as path:
            found.append(path.stat().st_ino)

    threads = [threading.Thread(target=use) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert len(set(found)) == 1


def test_a_failure_while_a_cache_is_used_lets_it_go(store):
    with pytest.raises(KeyError), open_cache(store.root, NAME, "locked"):
        raise KeyError
    with open_cache(store.root, NAME, "private") as path:
        assert path.parent.name == NAME.digest


def test_caches_are_listed_by_their_last_use_and_counted(store):
    assert caches(store.root) == []
    fill(store.root, CacheName("new"), 100_000, used=2000)
    path = fill(store.root, CacheName("old"), 10, used=1000)
    os.link(path / "f", path / "g")
    (path.parent / "info.json").write_text("no json")
    found = caches(store.root)
    assert [cache.used for cache in found] == [1000, 2000]
    assert found[1].name == "cache new"
    assert found[0].identity == CacheName("old").digest
    assert 100_000 <= found[1].size < 200_000
    assert found[0].size < 50_000
    used = images.usage(store)
    assert used.caches == images.Share(2, found[0].size + found[1].size)


def test_prune_removes_caches_and_blobs_the_longest_unused_first(store):
    digest = store.add(b"x" * 1000)
    os.utime(store.path(digest), (1500, 1500))
    old = fill(store.root, CacheName("old"), 10, used=1000)
    new = fill(store.root, CacheName("new"), 10, used=2000)
    sizes = {cache.identity: cache.size for cache in caches(store.root)}
    dry = images.prune(store, dry=True)
    assert [one.name for one in dry] == ["cache old", str(digest), "cache new"]
    gone = images.prune(store, keep=sizes["new"] + 1000)
    assert [one.name for one in gone] == ["cache old"]
    assert not old.exists()
    assert new.exists()
    images.prune(store)
    assert caches(store.root) == []
    assert not store.path(digest).exists()


def test_what_nobody_may_read_is_removed_all_the_same(store):
    path = fill(store.root, NAME)
    (path / "d" / "e").mkdir(parents=True)
    (path / "d" / "e" / "f").write_bytes(b"")
    (path / "l").symlink_to("/")
    (path / "d" / "e").chmod(0)
    (path / "d").chmod(0)
    path.chmod(0)
    images.prune(store)
    assert not path.parent.exists()


def test_what_cannot_be_removed_is_told(store):
    fill(store.root, NAME)

    def refuse(path):
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(StoreError, match=r"cache /root/\.cache cannot be removed"):
        remove_cache(caches(store.root)[0], refuse)
