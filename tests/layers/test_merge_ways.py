"""Where the path of an entry or a whiteout leads: parents, links on the way, what they replace."""

from __future__ import annotations

import pytest
from builders import Memory, merged, paths, refused, text
from support.layers import (
    char,
    directory,
    fifo,
    file,
    hardlink,
    layer,
    opaque,
    symlink,
    whiteout,
)

from layers.errors import MalformedLayer
from layers.kinds import Kind
from layers.merge import LayerIndex, merge
from layers.tarindex import index_layer

# Parents.


def test_missing_parents_are_made():
    parent = merged([file("a/b/f", uid=7, mtime=9)]).find(b"a/b")
    assert (parent.mode, parent.uid, parent.gid, parent.mtime) == (0o755, 0, 0, 9)


def test_links_on_the_way_are_followed_inside_the_root():
    lower = [directory("usr/bin"), symlink("bin", "usr/bin"), symlink("abs", "/usr")]
    lower += [symlink("usr/up", "../../../usr/bin")]
    tree = merged(lower, [file("bin/a"), file("abs/b"), file("usr/up/c"), file("abs/up/d")])
    assert paths(tree) == [
        "abs", "bin", "usr", "usr/b", "usr/bin", "usr/bin/a", "usr/bin/c", "usr/bin/d", "usr/up",
    ]  # fmt: skip


def test_what_a_dangling_link_points_at_is_made():
    tree = merged([symlink("l", "/new/place")], [file("l/f", mtime=3)])
    assert paths(tree) == ["l", "new", "new/place", "new/place/f"]
    assert tree.find(b"new").mtime == 3


def test_a_link_at_the_end_of_the_path_is_replaced_not_followed():
    tree = merged([file("t", b"target"), symlink("l", "t")], [file("l", b"new")])
    assert (text(tree, "t"), text(tree, "l")) == (b"target", b"new")
    assert tree.root.children[b"l"].kind is Kind.FILE


@pytest.mark.parametrize(
    ("upper", "there"),
    [
        ([file("f/x")], ["f", "f/x"]),
        ([directory("f/x")], ["f", "f/x"]),
        ([file("f/x/y"), file("f/z")], ["f", "f/x", "f/x/y", "f/z"]),
        ([hardlink("f/x", "keep")], ["f", "f/x"]),
        ([hardlink("f/x", "f/y"), file("f/y")], ["f", "f/x", "f/y"]),
    ],
)
@pytest.mark.parametrize("lower", [file("f"), fifo("f"), char("f", 1, 3)])
def test_an_entry_below_what_is_no_directory_puts_one_in_its_place(lower, upper, there):
    # As umoci 0.6 and overlays have it.
    tree = merged([lower, file("keep")], upper)
    assert paths(tree) == [*there, "keep"]
    assert (tree.find(b"f").mode, tree.find(b"f").uid) == (0o755, 0)
    # In one layer, too: a later entry wins.
    assert paths(merged([lower, file("keep"), *upper])) == [*there, "keep"]


def test_an_entry_below_a_link_to_a_file_puts_a_directory_in_the_file_s_place():
    tree = merged([file("f"), symlink("l", "f")], [file("l/x")])
    assert paths(tree) == ["f", "f/x", "l"]
    # "f/.." is told by the names alone where "f" is no directory.
    tree = merged([file("f"), symlink("l", "f/../g")], [file("l/x")])
    assert paths(tree) == ["f", "g", "g/x", "l"]


@pytest.mark.parametrize("links", [[symlink("l", "l")], [symlink("l", "b"), symlink("b", "l")]])
def test_an_entry_below_a_loop_of_links_is_an_error(links):
    assert "more than 40 symbolic links on the way (a loop?)" in refused(links, [file("l/x")])


def warnings(*stack):
    """What merging tells of layers that others may apply otherwise."""
    told = []
    indexes = []
    for number, items in enumerate(stack):
        memory = Memory(layer(*items))
        entries = list(index_layer(memory, f"layer {number}"))
        indexes.append(LayerIndex(f"layer {number}", entries, memory))
    merge(indexes, warn=told.append)
    return told


def test_a_link_of_a_lower_layer_on_the_way_is_told_once_for_each_layer():
    lower = [directory("usr/bin"), symlink("bin", "usr/bin"), symlink("sbin", "usr/bin")]
    upper = [file("bin/a"), file("bin/b"), file("sbin/c"), whiteout("bin/d")]
    text = (
        'layer layer 1: its entries below "bin", a symbolic link of a lower layer, were placed '
        "where the link leads; where layers are overlays, as under Docker, a directory hides the "
        "link instead"
    )
    assert warnings(lower, upper) == [text]
    assert warnings(lower, [whiteout("bin/d")]) == [text]
    assert len(warnings(lower, upper, upper)) == 2


def test_links_of_the_layer_itself_on_the_way_are_nothing_special():
    assert warnings([directory("a"), symlink("l", "a"), file("l/x")]) == []
    assert warnings([symlink("l", "a")], [symlink("l", "b"), file("l/x")]) == []
    assert warnings([symlink("l", "a")], [directory("l"), file("l/x"), whiteout("l/y")]) == []


# Directories that replace links.

LINKED = [directory("srv/data/sub"), file("srv/data/old"), file("srv/data/sub/deep")]
UNTOUCHED = ["srv", "srv/data", "srv/data/old", "srv/data/sub", "srv/data/sub/deep"]


@pytest.mark.parametrize("target", ["srv/data", "/srv/data", "app", "nowhere", "srv/data/old"])
@pytest.mark.parametrize(
    "hidden",
    [
        [opaque("app")],
        [whiteout("app/old")],
        [opaque("app/sub")],
        [whiteout("app/sub/deep")],
        [opaque("app"), opaque("app/sub"), whiteout("app/old"), whiteout("app")],
    ],
)
def test_whiteouts_below_a_directory_of_their_layer_follow_no_lower_link(target, hidden):
    # `RUN rm /app && mkdir /app && echo new > /app/new`, as an overlay shows it.
    lower = [*LINKED, symlink("app", target)]
    own = [directory("app"), file("app/new", b"new"), directory("app/sub"), file("app/sub/x")]
    shown = ["app", "app/new", "app/sub", "app/sub/x", *UNTOUCHED]
    for position in range(len(own) + 1):
        tree = merged(lower, own[:position] + hidden + own[position:])
        assert paths(tree) == shown, position
        assert text(tree, "app/new") == b"new"


def test_entries_follow_no_lower_link_where_their_layer_makes_a_directory():
    # On an overlay, the directory is there whatever order the tar has.
    lower = [*LINKED, symlink("app", "srv/data")]
    for upper in (
        [file("app/new"), directory("app", mode=0o700)],
        [hardlink("app/too", "app/new"), file("app/new"), directory("app", mode=0o700)],
        [directory("app/sub"), file("app/sub/new"), directory("app", mode=0o700)],
    ):
        tree = merged(lower, upper)
        assert paths(merged(lower, upper))[-len(UNTOUCHED) :] == UNTOUCHED
        assert tree.root.children[b"app"].mode == 0o700
        assert set(paths(tree)) - set(UNTOUCHED) == {"app", *(item.name for item in upper)}


def test_a_directory_replaces_a_link_though_its_layer_spells_it_by_another():
    lower = [directory("real"), symlink("real/sub", "../srv"), symlink("l", "real"), file("srv/x")]
    tree = merged(lower, [directory("l/sub"), whiteout("real/sub/x"), opaque("l/sub")])
    assert paths(tree) == ["l", "real", "real/sub", "srv", "srv/x"]


def test_a_link_that_a_layer_puts_in_place_of_its_own_directory_is_followed():
    lower = [directory("d"), symlink("l", "nowhere")]
    tree = merged(lower, [directory("l"), symlink("l", "d"), file("l/x")])
    assert paths(tree) == ["d", "d/x", "l"]


def test_a_chain_of_forty_links_is_followed():
    chain = [symlink(f"l{number}", f"l{number + 1}") for number in range(40)]
    assert "l40/f" in paths(merged([*chain, directory("l40")], [file("l0/f")]))
    assert "more than 40" in refused([*chain, symlink("l40", "l41")], [file("l0/f")])


def test_a_root_that_is_no_directory_is_an_error():
    # index_layer lets none pass; an index may come from elsewhere.
    memory = Memory(layer(file("x")))
    (entry,) = index_layer(memory, "")
    index = LayerIndex("of another", [entry._replace(path=b"")], memory)
    with pytest.raises(MalformedLayer, match="of another: .* root must be a directory"):
        merge([index])
