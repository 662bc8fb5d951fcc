"""Trees as records, and back."""

from __future__ import annotations

from hypothesis import given, settings
from sandboxes import Spooled, items, tree_of
from support.layers import char, directory, file, hardlink, symlink

from assembler.sandbox.records import (
    EVERYONE,
    ROOT_ALONE,
    IdRanges,
    hidden_owners,
    pack,
    records_of,
    unpack_records,
)
from layers.kinds import Kind
from layers.sparse import Segment
from layers.tree import Data, Node, Tree


def test_the_root_comes_first_and_parents_before_what_is_in_them():
    records, _ = records_of(tree_of(file("b/c/d"), file("a")))
    assert [record.path for record in records] == [b"", b"a", b"b", b"b/c", b"b/c/d"]


def test_a_record_tells_all_of_a_node():
    records, files = records_of(
        tree_of(
            file("f", b"data", 0o4711, uid=3, gid=4, mtime=99, xattrs={"user.x": b"\0\xff"}),
            symlink("l", "to/where"),
            char("n", 5, 1),
        )
    )
    _, f, link, device = records
    assert (f.kind, f.mode, f.uid, f.gid, f.mtime) == ("-", 0o4711, 3, 4, 99)
    assert f.xattrs == {b"user.x": b"\0\xff"}
    assert files[f.source[0]].read_at(*f.source[1:3]) == b"data"
    assert (link.kind, link.target) == ("l", b"to/where")
    assert (device.kind, device.device) == ("c", (5, 1))


def test_further_names_of_a_node_name_the_first():
    records, _ = records_of(tree_of(file("b", b"x"), hardlink("c", "b"), hardlink("a", "b")))
    assert [(r.path, r.kind, r.target) for r in records[1:]] == [
        (b"a", "-", b""),
        (b"b", "h", b"a"),
        (b"c", "h", b"a"),
    ]


def test_files_that_data_lie_in_are_listed_once():
    one, two = Spooled(b"one"), Spooled(b"two")
    tree = Tree()
    for name, spool in ((b"a", one), (b"b", two), (b"c", one)):
        node = tree.root.children[name] = Node(Kind.FILE, 0o644)
        node.data = Data(spool, 0, 3)
    records, files = records_of(tree)
    assert files == [one, two]
    assert [record.source[0] for record in records[1:]] == [0, 1, 0]


def test_segments_cross_the_border_too():
    tree = Tree()
    node = tree.root.children[b"a"] = Node(Kind.FILE, 0o644)
    node.data = Data(Spooled(b"xyz"), 0, 4096, (Segment(0, 1), Segment(100, 2)))
    records, _ = records_of(tree)
    assert unpack_records(pack(records)) == records
    assert records[1].source == (0, 0, 4096, ((0, 1), (100, 2)))


@settings(deadline=None)
@given(items())
def test_what_is_packed_is_unpacked_the_same(entries):
    records, _ = records_of(tree_of(*entries))
    assert unpack_records(pack(records)) == records


def test_owners_outside_the_ranges_are_hidden():
    tree = tree_of(
        directory("d", uid=1000, gid=0),
        file("d/f", uid=99, gid=99),
        file("g", uid=0, gid=5000),
        file("r"),
    )
    ids = IdRanges(((0, 100), (1000, 1)), ((0, 100),))
    assert hidden_owners(tree, ids) == {b"g": (0, 5000)}


def test_where_root_is_alone_all_others_are_hidden():
    tree = tree_of(file("a", uid=1), file("b", gid=1), hardlink("c", "b"), file("r"))
    tree.root.uid = 7
    assert hidden_owners(tree, ROOT_ALONE) == {
        b"": (7, 0),
        b"a": (1, 0),
        b"b": (0, 1),
        b"c": (0, 1),
    }


def test_nobody_is_hidden_from_root():
    assert hidden_owners(tree_of(file("a", uid=2**32 - 2, gid=77)), EVERYONE) == {}
