"""What the sandbox's tests share: trees in real files, overlays, edits as a command makes them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass

import builders
from hypothesis import strategies as st
from support.layers import char, directory, fifo, file, hardlink, layer, symlink
from support.mounts import NODEV, mount, unmount
from support.trees import ROOT, Entry, snapshot_directory

from assembler.sandbox.harvest import harvest
from assembler.sandbox.manner import ExactOwners, Manner
from assembler.sandbox.records import EVERYONE, IdRanges, pack, records_of, unpack_records
from assembler.sandbox.unpacking import unpack
from layers.limits import Limits
from layers.merge import LayerIndex, apply_layer
from layers.tarindex import index_layer
from layers.tree import Tree

AS_ROOT = os.geteuid() == 0
IDS = EVERYONE if AS_ROOT else IdRanges((), ())
EXACT = Manner(ExactOwners())


class Spooled:
    """Bytes in a file without a name, as a layer's spool has them."""

    def __init__(self, data: bytes) -> None:
        self._descriptor, path = tempfile.mkstemp()
        os.unlink(path)
        os.write(self._descriptor, data)
        self.size = len(data)

    def fileno(self) -> int:
        return self._descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)


def apply(tree: Tree, tar: bytes) -> Tree:
    """*tree*, changed by a layer."""
    spool = Spooled(tar)
    apply_layer(tree, LayerIndex("a layer", list(index_layer(spool, "a layer", Limits())), spool))
    return tree


def tree_of(*items) -> Tree:
    return apply(Tree(), layer(directory(".", mtime=1_600_000_000), *items))


def told(tree: Tree):
    """A tree as `support.trees` tells of real ones, the root included."""
    root = tree.root
    xattrs = tuple(sorted((os.fsdecode(key), v) for key, v in (root.xattrs or {}).items()))
    entry = Entry("directory", root.mode, root.uid, root.gid, root.mtime, xattrs=xattrs)
    return {ROOT: entry} | builders.as_snapshot(tree)


@dataclass
class Base:
    """A tree that is unpacked somewhere."""

    tree: Tree
    root: bytes
    records: list
    files: list
    omissions: object

    @property
    def descriptors(self):
        return [file.fileno() for file in self.files]


def unpacked(tree: Tree, root, *, ids=IDS, devices=AS_ROOT) -> Base:
    """Unpack as the child would: what it gets has crossed a process boundary."""
    records, files = records_of(tree)
    records = unpack_records(pack(records))
    omissions = unpack(
        records, [file.fileno() for file in files], os.fspath(root), ids, devices=devices
    )
    return Base(tree, os.fsencode(root), records, files, omissions)


def harvested(root, original, manner=EXACT):
    """What `harvest` tells, and the tar it wrote."""
    with tempfile.TemporaryFile() as out:
        result = harvest(root, original, out.fileno(), manner)
        assert os.fstat(out.fileno()).st_size == result.size
        return result, os.pread(out.fileno(), result.size, 0)


def names_in(tar: bytes) -> list[bytes]:
    return [entry.path for entry in builders.index(tar)]


# Overlays.


@contextmanager
def overlay(folder: bytes, lower: bytes, *, user: bool):
    """An overlay on *lower*: its merged view, and its upper directory."""
    upper, work, merged = (folder + name for name in (b"/upper", b"/work", b"/merged"))
    for path in (upper, work, merged):
        os.mkdir(path)
    # What the root of the merged view shows is the upper directory's.
    copy_metadata(lower, upper)
    options = b"lowerdir=%s,upperdir=%s,workdir=%s" % (lower, upper, work)
    options += b",redirect_dir=nofollow,index=off,metacopy=off" + b",userxattr" * user
    mount("overlay", merged, "overlay", NODEV, options)
    try:
        yield merged, upper
    finally:
        unmount(merged)


def copy_metadata(source: bytes, target: bytes) -> None:
    status = os.lstat(source)
    os.chown(target, status.st_uid, status.st_gid)
    shutil.copystat(source, target)


# Random trees and edits. Names are few, so that edits meet what is there.

NAMES = [b"a", b"b", b"c", b"\xff\xfe", b"new\nline", b"n" * 255]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
CONTENTS = st.one_of(st.binary(max_size=3), st.just(b"x" * 200_000))
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o4755, 0o2711, 0o1777, 0])
# No setgid: a real directory would hand it, and its group, to what is made in it.
FOLDER_MODES = st.sampled_from([0o755, 0o700, 0o1777, 0])
OWNED = {"uid": st.integers(0, 2), "gid": st.integers(0, 2)}
TIMES = st.integers(1, 2**31 - 1)
XATTRS = st.dictionaries(
    st.sampled_from(["user.one", "user.two", "trusted.three"]), st.binary(max_size=2), max_size=2
)
# Relative and inside, or nowhere: edits go through links, and these tests run as root.
TARGETS = st.sampled_from([b"a", b"b", b"./c", b"nowhere", b"/nowhere/at/all", b"\xfe"])
PLAIN = st.fixed_dictionaries({**OWNED, "mtime": TIMES})


@st.composite
def items(draw):
    """The entries of a random tree."""
    placed: dict[bytes, object] = {}
    folders = {b""}
    for _ in range(draw(st.integers(0, 10))):
        path = draw(PATHS)
        parents = [path[:end] for end in range(len(path)) if path[end : end + 1] == b"/"]
        if path in placed or any(parent in placed for parent in parents if parent not in folders):
            continue
        for parent in parents:
            if parent not in folders:
                placed[parent] = directory(parent, mtime=draw(TIMES))
                folders.add(parent)
        item = draw(_item(path, [name for name in placed if name not in folders]))
        if item.kind == b"5":
            folders.add(path)
        placed[path] = item
    return list(placed.values())


@st.composite
def _item(draw, path, others):
    more = draw(PLAIN)
    kind = draw(st.sampled_from("fffddlpch"))
    if kind == "f":
        xattrs = draw(XATTRS)
        return file(path, draw(CONTENTS), draw(MODES), xattrs=xattrs, **more)
    if kind == "d":
        return directory(path, draw(FOLDER_MODES), xattrs=draw(XATTRS), **more)
    if kind == "l":
        return symlink(path, draw(TARGETS), **more)
    if kind == "p":
        return fifo(path, draw(MODES), **more)
    if kind == "c":
        return char(path, 1, draw(st.integers(3, 9)), draw(MODES), **more)
    return hardlink(path, draw(st.sampled_from(others)), **more) if others else file(path, **more)


def _opened(root, path, mode):
    """A file, opened; fifos and devices are left alone."""
    if os.path.lexists(root + path) and not os.path.isfile(root + path):
        raise OSError
    return open(root + path, mode)


def _write(root, path, data):
    with _opened(root, path, "wb") as file:
        file.write(data)


def _write_beside(root, path, data):
    """As careful editors do: a new file takes the old one's place."""
    _write(root, b".draft", data)
    os.rename(root + b".draft", root + path)


def _append(root, path, data):
    with _opened(root, path, "ab") as file:
        file.write(data)


def _open(root, path):
    with _opened(root, path, "r+b"):
        pass


def _rewrite(root, path):
    """A file as it was, but another one."""
    status = os.stat(root + path)
    with _opened(root, path, "rb") as file:
        data = file.read()
    _write(root, b".draft", data)
    shutil.copystat(root + path, root + b".draft")
    os.chown(root + b".draft", status.st_uid, status.st_gid)
    os.chmod(root + b".draft", status.st_mode & 0o7777)
    os.rename(root + b".draft", root + path)


def _remove(root, path):
    if os.path.isdir(root + path) and not os.path.islink(root + path):
        shutil.rmtree(root + path)
    else:
        os.unlink(root + path)


def _move(root, path, other):
    try:
        os.rename(root + path, root + other)
    except OSError:
        shutil.move(os.fsdecode(root + path), os.fsdecode(root + other))


def _replace_by_directory(root, path, name):
    _remove(root, path)
    os.mkdir(root + path)
    _write(root, path + b"/" + name, b"new")


EDITS = st.one_of(
    st.tuples(st.just(_write), PATHS, CONTENTS),
    st.tuples(st.just(_write_beside), PATHS, CONTENTS),
    st.tuples(st.just(_append), PATHS, st.binary(max_size=2)),
    st.tuples(st.just(_open), PATHS),
    st.tuples(st.just(_rewrite), PATHS),
    st.tuples(st.just(_remove), PATHS),
    st.tuples(st.just(_remove), PATHS),
    st.tuples(st.just(_move), PATHS, PATHS),
    st.tuples(st.just(_replace_by_directory), PATHS, st.sampled_from(NAMES)),
    st.tuples(st.just(lambda root, path: os.mkdir(root + path)), PATHS),
    st.tuples(st.just(lambda root, path, to: os.symlink(to, root + path)), PATHS, TARGETS),
    st.tuples(
        st.just(lambda root, one, two: os.link(root + one, root + two, follow_symlinks=False)),
        PATHS,
        PATHS,
    ),
    st.tuples(st.just(lambda root, path, mode: os.chmod(root + path, mode)), PATHS, MODES),
    st.tuples(
        st.just(lambda root, path, uid, gid: os.lchown(root + path, uid, gid)),
        PATHS,
        *OWNED.values(),
    ),
    st.tuples(st.just(lambda root, path, t: os.utime(root + path, (t, t))), PATHS, TIMES),
    st.tuples(
        st.just(lambda root, path, value: os.setxattr(root + path, "user.one", value)),
        PATHS,
        st.binary(max_size=2),
    ),
    st.tuples(st.just(lambda root, path: os.removexattr(root + path, "user.one")), PATHS),
    st.tuples(st.just(lambda root, path: os.mkfifo(root + path)), PATHS),
    st.tuples(st.just(lambda root, path: os.mknod(root + path, 0o20644, os.makedev(1, 3))), PATHS),
)


def edit(root: bytes, edits) -> None:
    """Do what can be done of random *edits* below *root*."""
    for act, *words in edits:
        try:
            act(root + b"/", *words)
        except (OSError, shutil.Error):
            if os.path.lexists(root + b"/.draft"):
                os.unlink(root + b"/.draft")


def look(root) -> dict:
    return snapshot_directory(os.fsdecode(root))


def in_child(function):
    """What *function* returns, something that JSON knows, in a process of its own."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        try:
            answer = json.dumps(function())
        except BaseException as error:
            answer = json.dumps(f"{type(error).__name__}: {error}")
        os.write(theirs, answer.encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return json.loads(answer)
