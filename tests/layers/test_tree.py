from __future__ import annotations

import pytest

from layers.kinds import Kind
from layers.tree import LinkLoop, Node, NotADirectory, Tree


def directory(**children):
    node = Node(Kind.DIRECTORY, 0o755)
    node.children = {name.encode(): child for name, child in children.items()}
    return node


def link(target):
    node = Node(Kind.SYMLINK, 0o777)
    node.target = target.encode()
    return node


def file():
    return Node(Kind.FILE, 0o644)


def tree(**children):
    return Tree(directory(**children))


def test_links_are_followed_inside_the_root():
    leaf = file()
    t = tree(usr=directory(bin=directory(sh=leaf)), bin=link("usr/bin"), up=link("/../../usr"))
    assert t.find(b"/bin/sh") is leaf
    assert t.find(b"up/bin/../bin/sh") is leaf
    assert t.resolve(b"bin/new") == (b"usr", b"bin", b"new")


def test_the_last_link_is_followed_on_request_only():
    t = tree(a=link("b"), b=file())
    assert t.find(b"a") is t.root.children[b"b"]
    assert t.find(b"a", follow=False) is t.root.children[b"a"]


def test_what_is_not_there_is_none():
    t = tree(a=directory(), dangling=link("a/x/y"))
    assert t.find(b"a/b") is None
    assert t.find(b"dangling") is None
    assert t.resolve(b"dangling/../z") == (b"a", b"x", b"z")
    assert t.resolve(b"a/x/../../b") == (b"b",)


def test_forty_links_are_followed_and_no_more():
    chain = {f"l{n}": link(f"l{n + 1}") for n in range(41)}
    t = tree(**chain, l41=file(), loop=link("loop"))
    assert t.find(b"l1") is t.root.children[b"l41"]
    with pytest.raises(LinkLoop):
        t.find(b"l0")
    with pytest.raises(LinkLoop):
        t.find(b"loop")


def test_a_path_through_a_file_is_an_error():
    with pytest.raises(NotADirectory, match='"a" is not a directory'):
        tree(a=file()).find(b"a/b")
    with pytest.raises(NotADirectory):
        tree(a=file()).make_directories(b"a", 0)


def test_missing_directories_are_made_where_links_lead():
    t = tree(bin=link("usr/bin"))
    made = t.make_directories(b"bin/x", 7, uid=1, gid=2)
    assert t.find(b"usr/bin/x") is made
    assert (made.mode, made.mtime, made.uid, made.gid) == (0o755, 7, 1, 2)
    assert t.make_directories(b"/usr/bin/x", 9).mtime == 7


def test_walking_goes_parents_first_in_byte_order():
    t = tree(b=file(), a=directory(z=file(), y=file()))
    assert [path for path, _ in t.walk()] == [b"a", b"a/y", b"a/z", b"b"]
