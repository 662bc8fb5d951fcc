from __future__ import annotations

import os
import subprocess
import tarfile
import threading
from io import BytesIO

import pytest
from builders import Memory, as_snapshot, contents, merged, rendered, told
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import (
    GNU,
    PAX,
    USTAR,
    block,
    char,
    directory,
    entry,
    fifo,
    file,
    hardlink,
    layer,
    symlink,
    whiteout,
)
from support.trees import ROOT, differences, snapshot_directory

from layers import tarstream
from layers.merge import LayerIndex, merge
from layers.sparse import Segment
from layers.spool import Spool
from layers.tarindex import index_layer
from layers.tarstream import Range
from layers.tarwriter import END
from layers.tempfiles import TempArea
from layers.tree import Data

LOWER = [
    directory("etc", mode=0o750, uid=1, gid=2, mtime=3),
    file("etc/passwd", b"root", mode=0o640, mtime=1_600_000_000),
    file("big", bytes(range(256)) * 5000),
    hardlink("alias", "etc/passwd"),
    symlink("link", "etc/passwd", mtime=5),
    file("sub/deep/" + "n" * 200, b"long name"),
]
UPPER = [
    whiteout("big"),
    file("etc/shadow", b"secret", xattrs={"user.a": b"1"}, mtime=1.5),
    file("su", b"setuid", mode=0o4711, uid=70_000, gid=2**31),
    fifo("pipe", mtime=6),
]
DEVICES = [char("null", 1, 3, mtime=7), block("disk", 8, 1, mtime=8)]


def names_of(tar):
    with tarfile.open(fileobj=BytesIO(tar)) as archive:
        return archive.getnames()


def reread(tar):
    return merged(tar)


# What readers see.


def test_gnu_tar_extracts_the_tree(tmp_path):
    tree = merged(LOWER, [*UPPER, *DEVICES] if os.geteuid() == 0 else UPPER)
    subprocess.run(
        ["tar", "-xp", "--delay-directory-restore", "--xattrs", "-C", tmp_path],
        input=rendered(tree),
        check=True,
        capture_output=True,
    )
    found = snapshot_directory(tmp_path)
    del found[ROOT]
    # A user other than root gets all files for himself.
    ignored = set() if os.geteuid() == 0 else {"uid", "gid"}
    assert differences(as_snapshot(tree), found, ignore=ignored) == []


def test_tarfile_reads_the_tree():
    tar = rendered(merged(LOWER, UPPER))
    with tarfile.open(fileobj=BytesIO(tar)) as archive:
        infos = {info.name: info for info in archive}
        assert archive.extractfile("etc/shadow").read() == b"secret"
        assert archive.extractfile("etc/passwd").read() == b"root"
    assert "big" not in infos
    assert (infos["etc"].mode, infos["etc"].uid, infos["etc"].mtime) == (0o750, 1, 3)
    assert infos["su"].gid == 2**31
    assert infos["etc/shadow"].pax_headers["SCHILY.xattr.user.a"] == "1"
    assert infos["etc/shadow"].mtime == 1


def test_an_empty_tree_is_an_end_marker():
    assert list(tarstream.spans(merged())) == [END]


def test_hard_links_come_after_the_name_with_the_data():
    # "alias" sorts before "etc/passwd" and carries the data.
    tar = rendered(merged(LOWER, [hardlink("etc/again", "alias")]))
    with tarfile.open(fileobj=BytesIO(tar)) as archive:
        seen = set()
        for info in archive:
            if info.islnk():
                assert info.linkname in seen
            seen.add(info.name)
    assert told(reread(tar))[b"etc/again"][-1] == (b"alias", b"etc/again", b"etc/passwd")


def test_links_to_symbolic_links_devices_and_fifos_stay_links():
    items = [symlink("s", "x"), hardlink("s2", "s"), fifo("p"), hardlink("p2", "p")]
    items += [char("c", 1, 3), hardlink("c2", "c")]
    tree = merged(items)
    assert told(reread(rendered(tree))) == told(tree)


def test_a_link_carries_the_data_when_the_first_name_is_gone():
    tree = merged([file("a", b"data", mode=0o600), hardlink("b", "a")], [whiteout("a")])
    tar = rendered(tree)
    assert names_of(tar) == ["b"]
    assert contents(reread(tar).find(b"b")) == b"data"


def test_a_name_that_comes_first_but_is_not_the_origin_s_gets_a_header_of_its_own():
    tree = merged([file("b", b"data"), hardlink("a", "b")])
    assert names_of(rendered(tree)) == ["a", "b"]
    assert told(reread(rendered(tree))) == told(tree)


def test_directories_come_before_what_is_in_them():
    tar = rendered(merged([file("x/y/f", b"1")], [directory("x/y", mode=0o700), directory("x")]))
    assert names_of(tar) == ["x", "x/y", "x/y/f"]


# Passing through.


@pytest.mark.parametrize("fmt", [GNU, PAX, USTAR])
def test_unchanged_files_are_one_run_of_their_layer(fmt):
    items = [file("a", b"1" * 700), file("b"), file("p/" + "c" * 90, b"2"), file("d", b"3" * 512)]
    if fmt != USTAR:
        items.append(file("q/" + "n" * 200, b"long"))
    tar = layer(directory("p"), directory("q"), *items, fmt=fmt)
    tree = merged(tar)
    ranges = [span for span in tarstream.spans(tree) if isinstance(span, Range)]
    start = len(entry(directory("p"))) * 2
    assert [(span.offset, span.length) for span in ranges] == [(start, len(tar) - 1024 - start)]
    assert rendered(tree)[start:] == tar[start:]


def test_files_go_in_the_order_of_layers_and_offsets():
    lower = [file("z", b"1"), file("m", b"2"), file("a", b"3")]
    upper = [file("y", b"4"), file("b", b"5")]
    # The layer of the first path in the tree goes first: that is the lower one, by "a".
    assert names_of(rendered(merged(lower, upper))) == ["z", "m", "a", "y", "b"]


def test_a_removed_file_splits_the_run_and_nothing_more():
    lower = layer(file("a", b"1"), file("b", b"2"), file("c", b"3"), file("d", b"4"))
    found = list(tarstream.spans(merged(lower, [whiteout("b")])))
    assert [(s.offset, s.length) for s in found[:-1]] == [(0, 1024), (2048, 2048)]
    assert found[-1] == END


def test_a_changed_node_gets_a_new_header_and_keeps_its_data():
    tree = merged([file("a", b"1"), file("b", b"data"), file("c", b"3")])
    node = tree.find(b"b")
    node.mode, node.origin = 0o755, None
    found = list(tarstream.spans(tree))
    assert [type(span) is Range for span in found] == [True, False, True, False, True, False]
    assert told(reread(rendered(tree))) == told(tree)
    assert found[1][:2] == b"b\0"


def test_small_pieces_are_joined_but_not_without_bound():
    tree = merged([directory(f"d{number}") for number in range(1000)])
    sizes = [len(span) for span in tarstream.spans(tree)]
    assert sum(sizes) == 512 * 1000 + 1024
    assert all(1 << 16 <= size < 1 << 17 for size in sizes[:-1])


def test_neighbours_are_joined_whatever_they_are():
    one, other = Memory(b"x" * 9), Memory(b"y" * 9)
    pieces = [Range(one, 0, 2), Range(one, 2, 3), Range(other, 5, 1), b"a", b"b", Range(one, 6, 1)]
    assert list(tarstream._joined(pieces)) == [
        Range(one, 0, 5), Range(other, 5, 1), b"ab", Range(one, 6, 1),
    ]  # fmt: skip


def test_the_total_is_known_before_anything_is_read():
    tree = merged(LOWER, UPPER)
    assert tarstream.total_size(tarstream.spans(tree)) == len(rendered(tree))


def test_an_empty_file_that_was_changed_has_no_range():
    tree = merged([file("a")])
    tree.find(b"a").origin = None
    assert [type(span) for span in tarstream.spans(tree)] == [bytes]
    tree.find(b"a").data = None
    assert names_of(rendered(tree)) == ["a"]


# Sparse files.


@pytest.mark.parametrize(
    ("segments", "size"),
    [
        ([(0, 3)], 3),
        ([(0, 3)], 600),
        ([(5, 3)], 8),
        ([(5, 1), (7, 2)], 2000),
        ([(100_000, 3)], 300_000),
        ([], 0),
        ([], 513),
        ([], 200_000),
    ],
)
def test_holes_are_written_as_zeros(segments, size):
    stored = Memory(b"....abc")
    tree = merged([file("s"), file("t", b"after")])
    tree.find(b"s").data = Data(stored, 4, size, tuple(Segment(*pair) for pair in segments))
    tree.find(b"s").origin = None
    expected, taken = bytearray(size), 4
    for offset, length in segments:
        expected[offset : offset + length] = stored.data[taken : taken + length]
        taken += length
    again = reread(rendered(tree))
    assert contents(again.find(b"s")) == bytes(expected)
    assert contents(again.find(b"t")) == b"after"


def test_a_sparse_file_of_gnu_tar_comes_out_whole(tmp_path):
    with (tmp_path / "s").open("wb") as sink:
        sink.seek(1 << 20)
        sink.write(b"middle")
        sink.truncate(3 << 20)
    for options in (["--format=gnu"], ["--format=posix"]):
        command = ["tar", "-S", *options, "-cf-", "-C", tmp_path, "s"]
        tar = subprocess.run(command, check=True, capture_output=True).stdout
        assert len(tar) < 1 << 20
        again = reread(rendered(merged(tar)))
        assert contents(again.find(b"s")) == (tmp_path / "s").read_bytes()


# Round trips.

PATHS = st.lists(st.sampled_from(["a", "b", "c", "n" * 120]), min_size=1, max_size=2).map("/".join)
FIELDS = {"uid": st.integers(0, 2**32 - 1), "mtime": st.integers(0, 2**32 - 1)}
ITEMS = st.one_of(
    st.builds(
        file,
        PATHS.map("f/{}f".format),
        st.binary(max_size=1100),
        xattrs=st.dictionaries(st.just("user.a"), st.binary(max_size=9)),
        **FIELDS,
    ),
    st.builds(directory, PATHS.map("d{}".format), st.integers(0, 0o7777), **FIELDS),
    st.builds(symlink, PATHS.map("s/{}s".format), PATHS, **FIELDS),
    st.builds(fifo, PATHS.map("p/{}p".format), **FIELDS),
    st.builds(whiteout, PATHS.map("f/{}f".format)),
    st.builds(hardlink, PATHS.map("h/{}h".format), st.just("fixed")),
)
STACKS = st.lists(st.lists(ITEMS, max_size=6), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(STACKS)
def test_what_is_streamed_reads_as_the_same_tree(stack):
    # No xattrs, plain owners and times: as GNU tars they pass through as they are.
    tars = [
        layer(*items, fmt=PAX if any(item.xattrs for item in items) else GNU) for items in stack
    ]
    tree = merged(layer(file("fixed", b"data")), *tars)
    once = rendered(tree)
    assert told(reread(once)) == told(tree)
    assert len(once) == tarstream.total_size(tarstream.spans(tree))
    assert rendered(merged(layer(file("fixed", b"data")), *tars)) == once


# Sending.


@pytest.fixture
def spooled(tmp_path):
    """A tree whose data are in a real file, as a build has it."""
    with Spool(TempArea(tmp_path)) as spool:
        spool.append(layer(*LOWER, file("huge", bytes(20 << 20)), file("end", b"end")))
        entries = list(index_layer(spool, ""))
        yield merge([LayerIndex("", entries, spool)]), spool


class Pipe:
    """A pipe, and a thread that reads it to its end."""

    def __init__(self):
        self.source, self.target = os.pipe()
        self.received = b""
        self._thread = threading.Thread(target=self._read)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        os.close(self.target)
        self._thread.join()

    def _read(self):
        with open(self.source, "rb") as stream:
            self.received = stream.read()


def test_spans_go_through_a_pipe(spooled):
    tree, _ = spooled
    counts = []
    with Pipe() as pipe:
        tarstream.send(tarstream.spans(tree), pipe.target, counts.append)
    assert pipe.received == rendered(tree)
    assert sum(counts) == len(pipe.received)
    assert all(count > 0 for count in counts)


def test_a_reader_that_is_gone_is_told(spooled):
    tree, _ = spooled
    source, target = os.pipe()
    os.close(source)
    try:
        with pytest.raises(BrokenPipeError):
            tarstream.send(tarstream.spans(tree), target, lambda _count: None)
    finally:
        os.close(target)


def test_a_spool_that_became_shorter_is_told(spooled):
    tree, spool = spooled
    os.ftruncate(spool.fileno(), 4096)
    with Pipe() as pipe, pytest.raises(OSError, match=r"plain tar ended \d+ bytes early"):
        tarstream.send(tarstream.spans(tree), pipe.target, lambda _count: None)
