from __future__ import annotations

import pytest
from trees import directory, file, link, tree

from assembler.errors import BuildError
from assembler.users import home_of, resolve_user, supplementary_groups

PASSWD = b"root:x:0:0:r:/root:/bin/sh\nme:x:1000:1001:m:/:/\nbad\nodd:x:y:z:::\nshort:x:5:5\n"
GROUP = b"root:x:0:root\nstaff:x:50:me\nbad\nadm:x:4:root,me\nodd:x:y:me\nown:x:1001:me\n"


@pytest.fixture
def image():
    return tree(etc=directory(passwd=file(PASSWD), group=file(GROUP)))


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0)),
        ("root", (0, 0)),
        ("me", (1000, 1001)),
        ("1000", (1000, 1001)),
        ("7", (7, 0)),
        ("me:staff", (1000, 50)),
        ("7:8", (7, 8)),
        ("me:", (1000, 1001)),
        (":staff", (0, 50)),
    ],
)
def test_users_are_looked_up_in_the_image(image, user, expected):
    assert resolve_user(image, user) == expected


@pytest.mark.parametrize("user", ["nobody", "odd", "me:nogroup", "-1", "99999999999"])
def test_unknown_names_are_refused(image, user):
    with pytest.raises(BuildError, match="use its number"):
        resolve_user(image, user)


def test_numbers_need_no_database():
    assert resolve_user(tree(), "5:6") == (5, 6)
    looped = tree(etc=directory(passwd=link("passwd")))
    assert resolve_user(looped, "5") == (5, 0)


def test_a_huge_database_is_not_read():
    image = tree(etc=directory(passwd=file(b"")))
    node = image.find(b"etc/passwd")
    node.data = node.data._replace(size=1 << 30)
    with pytest.raises(BuildError, match="too many to read"):
        resolve_user(image, "me")


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 4)),
        ("root", (0, 4)),
        ("me", (1001, 50, 4)),
        ("1000", (1001, 50, 4)),
        ("me:", (1001, 50, 4)),
        ("me:staff", (50,)),
        ("1000:7", (7,)),
        ("7", (0,)),
    ],
)
def test_groups_are_those_that_list_the_user_unless_one_was_named(image, user, expected):
    assert supplementary_groups(image, user) == expected


@pytest.mark.parametrize(
    ("user", "expected"),
    [("", "/root"), ("root", "/root"), ("0:5", "/root"), ("me", "/"), ("7", "/"), ("short", "/")],
)
def test_a_home_is_what_the_database_says(image, user, expected):
    assert home_of(image, user) == expected


def test_without_databases_there_are_neither_groups_nor_homes():
    assert supplementary_groups(tree(), "") == (0,)
    assert home_of(tree(), "") == "/"
