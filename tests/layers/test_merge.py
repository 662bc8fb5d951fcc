from __future__ import annotations

import pytest
from builders import merged, paths, refused, text, told
from support.layers import (
    GNU,
    char,
    directory,
    fifo,
    file,
    hardlink,
    layer,
    opaque,
    pax_header,
    raw,
    raw_header,
    symlink,
    whiteout,
)

from layers.errors import LimitExceeded, MalformedLayer
from layers.kinds import Kind
from layers.limits import Limits
from layers.merge import Mark, parse_whiteout

# Order.


def test_upper_layers_win():
    tree = merged([file("a", b"1"), file("b", b"1")], [file("a", b"2")])
    assert (text(tree, "a"), text(tree, "b")) == (b"2", b"1")


def test_a_later_entry_of_a_layer_wins():
    assert text(merged([file("a", b"1"), file("b"), file("a", b"2")]), "a") == b"2"


def test_an_image_without_layers_is_an_empty_root():
    assert told(merged()) == told(merged([])) == {}
    assert merged().root.mode == 0o755


def test_the_same_layer_twice_changes_nothing():
    items = [directory("d"), file("d/a", b"1"), whiteout("x")]
    assert told(merged(items, items)) == told(merged(items))


# Whiteouts.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a", None),
        (b".whx", None),
        (b".wh.a", (Mark.REMOVE, b"a")),
        (b".wh..a", (Mark.REMOVE, b".a")),
        (b".wh..wh.a", (Mark.DROP, b"")),
        (b".wh..wh..opq", (Mark.OPAQUE, b"")),
        (b".wh..wh.aufs", (Mark.DROP, b"")),
        (b".wh..wh.plnk", (Mark.DROP, b"")),
        (b".wh..wh.orph", (Mark.DROP, b"")),
    ],
)
def test_a_name_tells_what_it_hides(name, expected):
    assert parse_whiteout(name) == expected


def test_a_whiteout_removes_a_name_and_all_below_it():
    lower = [file("a"), directory("d/e"), file("d/e/f"), file("keep")]
    tree = merged(lower, [whiteout("a"), whiteout("d"), whiteout("never-there"), whiteout("x/y")])
    assert paths(tree) == ["keep"]


def test_whiteouts_act_on_lower_layers_wherever_they_stand():
    for items in ([whiteout("a"), file("a", b"new")], [file("a", b"new"), whiteout("a")]):
        tree = merged([directory("a"), file("a/old")], items)
        assert text(tree, "a") == b"new"


def test_a_whiteout_hides_nothing_of_its_own_layer():
    tree = merged([file("d/old")], [file("d/new"), whiteout("d"), whiteout("d/new")])
    assert paths(tree) == ["d", "d/new"]


def test_an_opaque_directory_keeps_entries_of_its_own_layer():
    lower = [directory("d", mode=0o700), file("d/old"), directory("d/sub"), file("d/sub/old")]
    for items in (
        [opaque("d"), file("d/new"), file("d/sub/new")],
        [file("d/new"), file("d/sub/new"), opaque("d")],
    ):
        tree = merged(lower, items)
        assert paths(tree) == ["d", "d/new", "d/sub", "d/sub/new"]
        assert tree.find(b"d").mode == 0o700


def test_an_opaque_root_empties_the_image():
    assert paths(merged([file("a"), directory("d")], [file("b"), opaque()])) == ["b"]


def test_an_opaque_marker_where_no_directory_is_does_nothing():
    lower = [file("f"), symlink("dangling", "nowhere")]
    upper = [opaque("f"), opaque("dangling"), opaque("none"), whiteout("f/x"), whiteout("f/x/y")]
    tree = merged(lower, upper)
    assert paths(tree) == ["dangling", "f"]


def test_a_whiteout_follows_links_on_its_way_but_removes_a_link_itself():
    lower = [directory("usr/bin"), file("usr/bin/sh"), symlink("bin", "usr/bin")]
    assert paths(merged(lower, [whiteout("bin/sh")])) == ["bin", "usr", "usr/bin"]
    assert paths(merged(lower, [whiteout("bin")])) == ["usr", "usr/bin", "usr/bin/sh"]


def test_auf_s_own_names_are_dropped():
    upper = [
        file(".wh..wh.aufs"),
        directory(".wh..wh.plnk"),
        file(".wh..wh.plnk/1.2"),
        directory("d/.wh..wh.orph"),
        file("d/.wh..wh.orph/x"),
        file("a"),
    ]
    assert paths(merged([directory("d")], upper)) == ["a", "d"]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh."])
def test_a_whiteout_of_nothing_is_an_error(name):
    problem = refused([directory("d")], [file(name)])
    assert problem == f'entry "{name}": a whiteout must name what it removes'


@pytest.mark.parametrize("name", [".wh.d/x", "a/.wh.d/x", ".wh..wh..opq/x"])
def test_a_path_through_a_whiteout_is_an_error(name):
    assert refused([], [file(name)]) == f'entry "{name}": its path runs through a whiteout'


def test_a_whiteout_below_a_loop_of_links_is_an_error():
    assert "more than 40 symbolic links" in refused([symlink("l", "l")], [whiteout("l/x")])


def test_names_that_only_look_like_whiteouts_are_ordinary():
    assert paths(merged([file("x.wh.y"), file("d/.whale")])) == ["d", "d/.whale", "x.wh.y"]


# The same path again.


def test_a_directory_over_a_directory_gives_it_metadata_and_keeps_children():
    lower = [directory("d", mode=0o700, uid=1, mtime=1, xattrs={"user.a": b"1"}), file("d/f")]
    tree = merged(lower, [directory("d", mode=0o1777, uid=2, gid=3, mtime=4)])
    node = tree.find(b"d")
    assert (node.mode, node.uid, node.gid, node.mtime, node.xattrs) == (0o1777, 2, 3, 4, None)
    assert paths(tree) == ["d", "d/f"]


@pytest.mark.parametrize(
    "upper", [file("d", b"x"), symlink("d", "e"), fifo("d"), char("d", 1, 3), hardlink("d", "e/f")]
)
def test_anything_else_over_a_directory_takes_its_children_away(upper):
    tree = merged([directory("d"), file("d/f"), file("e/f")], [upper])
    assert paths(tree) == ["d", "e", "e/f"]
    assert tree.root.children[b"d"].kind is not Kind.DIRECTORY


def test_a_directory_over_anything_else_begins_empty():
    lower = [directory("e"), file("e/f"), symlink("l", "e"), file("f")]
    tree = merged(lower, [directory("l", mode=0o711), directory("f")])
    assert paths(tree) == ["e", "e/f", "f", "l"]
    assert (tree.find(b"l", follow=False).kind, tree.find(b"l").mode) == (Kind.DIRECTORY, 0o711)


def test_the_root_s_own_entry_sets_its_metadata():
    root = merged([directory("./", mode=0o711, uid=5, gid=6, mtime=7)]).root
    assert (root.mode, root.uid, root.gid, root.mtime) == (0o711, 5, 6, 7)
    upper = layer(raw(raw_header(b".", kind=b"5", mode=0o750)), fmt=GNU)
    assert merged([directory("./", mode=0o711)], upper).root.mode == 0o750


def test_a_directory_that_was_replaced_is_not_written_into():
    # Both share a parent with the entry before them, whose node must not be kept in mind.
    tree = merged([directory("d"), file("d/a"), symlink("d", "e"), directory("e"), file("d/b")])
    assert paths(tree) == ["d", "e", "e/b"]
    tree = merged([file("x/d/a"), file("x"), directory("x"), file("x/d/b")])
    assert paths(tree) == ["x", "x/d", "x/d/b"]


# Hard links.


def test_names_of_one_inode_share_it():
    tree = merged([file("a", b"x", mode=0o600), hardlink("b", "a"), hardlink("d/c", "b")])
    assert tree.find(b"a") is tree.find(b"b") is tree.find(b"d/c")


def test_a_link_to_a_lower_layer_shares_its_inode():
    tree = merged([file("a", b"lower", uid=7)], [hardlink("b", "a", uid=0)])
    assert tree.find(b"a") is tree.find(b"b")
    assert tree.find(b"b").uid == 7


@pytest.mark.parametrize(
    "upper",
    [[whiteout("a")], [file("a", b"new")], [directory("a")], [symlink("a", "b")]],
)
def test_a_link_outlives_its_other_name(upper):
    tree = merged([file("a", b"old"), hardlink("b", "a")], upper)
    assert text(tree, "b") == b"old"


def test_a_link_to_what_its_own_layer_removed_is_to_nothing():
    problem = refused([file("a")], [whiteout("a"), hardlink("b", "a")])
    assert problem == 'entry "b": it is a hard link to "a", which does not exist'


def test_a_link_before_its_target_is_made_once_the_layer_is_read():
    # umoci and Docker refuse these; GNU tar writes them when it is told to.
    tree = merged([hardlink("c", "b"), hardlink("b", "d/a"), file("d/a", b"x")])
    assert tree.find(b"c") is tree.find(b"b") is tree.find(b"d/a")


def test_a_link_that_waits_is_replaced_by_a_later_entry_of_its_name():
    tree = merged([hardlink("b", "a"), file("b", b"own"), file("a", b"x")])
    assert text(tree, "b") == b"own"
    assert paths(merged([hardlink("b", "a"), directory("b"), hardlink("b", "c"), file("c")])) == [
        "b", "c",
    ]  # fmt: skip


def test_a_link_to_a_lower_file_takes_that_one_though_a_new_one_follows():
    tree = merged([file("a", b"old")], [hardlink("b", "a"), file("a", b"new")])
    assert (text(tree, "a"), text(tree, "b")) == (b"new", b"old")


def test_a_link_to_a_symbolic_link_shares_the_symbolic_link():
    tree = merged([file("f"), symlink("s", "f"), hardlink("h", "s")])
    assert tree.root.children[b"h"] is tree.root.children[b"s"]


def test_a_link_s_target_is_found_through_links():
    tree = merged([file("usr/bin/sh"), symlink("bin", "/usr/bin")], [hardlink("a", "bin/sh")])
    assert tree.find(b"a") is tree.find(b"usr/bin/sh")


def test_devices_and_fifos_can_have_two_names():
    tree = merged([char("a", 1, 3), fifo("p"), hardlink("b", "a"), hardlink("q", "p")])
    assert tree.find(b"b").device == (1, 3)
    assert tree.find(b"q") is tree.find(b"p")


@pytest.mark.parametrize("items", [[hardlink("a", "a")], [hardlink("d", "d/f")]])
def test_what_a_link_replaces_cannot_be_its_target(items):
    problem = refused([file("a"), file("d/f")], items)
    assert f'it is a hard link to "{items[0].target}", which does not exist' in problem


def test_one_name_of_an_inode_may_be_linked_to_another_again():
    lower = [file("a", b"x"), hardlink("b", "a")]
    tree = merged(lower, [hardlink("b", "a"), hardlink("a", "b")])
    assert tree.find(b"a") is tree.find(b"b")


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([hardlink("h", "none")], 'entry "h": it is a hard link to "none", which does not exist'),
        ([hardlink("h", "no/ne")], 'entry "h": it is a hard link to "no/ne", which does not exist'),
        ([hardlink("h", "h")], 'entry "h": it is a hard link to "h", which does not exist'),
        ([hardlink("a", "b"), hardlink("b", "a")], "which does not exist"),
        ([file("f"), hardlink("h", "f/x")], '"f/x", which does not exist'),
        ([directory("d"), hardlink("h", "d")], 'entry "h": it is a hard link to the directory "d"'),
        ([hardlink("h", "d"), directory("d")], 'entry "h": it is a hard link to the directory "d"'),
        ([hardlink("h", "/")], 'entry "h": it is a hard link to the root directory'),
        ([raw(raw_header(b"h", kind=b"1"))], 'entry "h": it is a hard link to the root directory'),
        ([symlink("l", "l"), hardlink("h", "l/x")], "more than 40 symbolic links"),
    ],
)  # fmt: skip
def test_links_to_nothing_and_to_directories_are_errors(items, problem):
    assert problem in refused(items)


def test_a_link_into_aufs_directory_may_come_before_its_target():
    tree = merged([hardlink("b", ".wh..wh.plnk/1"), file(".wh..wh.plnk/1", b"x")])
    assert (paths(tree), text(tree, "b")) == (["b"], b"x")


@pytest.mark.parametrize(
    "items",
    [
        [hardlink("h", ".wh..wh.plnk/1")],
        [hardlink("h", ".wh..wh.plnk/1"), hardlink(".wh..wh.plnk/1", ".wh..wh.plnk/1")],
        [
            hardlink("h", ".wh..wh.plnk/1"), hardlink(".wh..wh.plnk/1", ".wh..wh.plnk/2"),
            hardlink(".wh..wh.plnk/2", ".wh..wh.plnk/1"),
        ],
        [hardlink("h", ".wh..wh.plnk/1"), hardlink(".wh..wh.plnk/1", "none")],
    ],
)  # fmt: skip
def test_a_link_into_aufs_directory_that_ends_nowhere_is_an_error(items):
    problem = 'entry "h": it is a hard link to ".wh..wh.plnk/1", which does not exist'
    assert refused(items) == problem


def test_a_link_may_name_what_aufs_kept_for_a_lower_layer():
    # umoci and GNU tar have it there.
    lower = [file(".wh..wh.plnk/1", b"x"), hardlink("a", ".wh..wh.plnk/1")]
    tree = merged(lower, [hardlink("b", ".wh..wh.plnk/1"), whiteout("a")])
    assert paths(tree) == ["b"]
    assert text(tree, "b") == b"x"
    tree = merged(lower, [file(".wh..wh.plnk/1", b"y"), hardlink("b", ".wh..wh.plnk/1")])
    assert (text(tree, "a"), text(tree, "b")) == (b"x", b"y")


def test_a_link_to_a_directory_of_aufs_is_an_error():
    items = [directory(".wh..wh.plnk"), hardlink("h", ".wh..wh.plnk")]
    assert refused(items) == 'entry "h": it is a hard link to the directory ".wh..wh.plnk"'


def test_holes_of_all_layers_count_for_the_plain_size():
    hole = pax_header({b"GNU.sparse.size": b"%d" % (1 << 30), b"GNU.sparse.map": b""})
    tars = [layer(hole, raw(raw_header(b"f%d" % number))) for number in range(3)]
    limits = Limits(total_bytes=2 << 30)
    merged(*tars[:1], limits=limits)
    with pytest.raises(LimitExceeded, match="layer layer 1: the image's plain size passes"):
        merged(*tars, limits=limits)


# Names.


def test_names_are_bytes():
    tree = merged([file(b"\xff\xfe/caf\xe9"), file("é")])
    assert [path for path, _ in tree.walk()] == ["é".encode(), b"\xff\xfe", b"\xff\xfe/caf\xe9"]


def test_the_error_names_the_layer_and_the_entry():
    with pytest.raises(MalformedLayer, match='^layer layer 1: entry "f/x": .*symbolic links'):
        merged([symlink("f", "f")], [file("f/x")])
