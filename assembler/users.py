"""User and group names, looked up in the image's own `/etc/passwd` and `/etc/group`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assembler.errors import BuildError
from layers.decimals import decimal
from layers.tree import TreeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layers.tree import Tree

_DATABASE_LIMIT = 16 * 1024 * 1024
_ID_MAX = 0xFFFFFFFF


def resolve_user(tree: Tree, user: str) -> tuple[int, int]:
    """Return (uid, gid) for `USER`'s forms: name, uid, name:group, uid:gid; empty is 0:0.

    A user without a group has the group that `/etc/passwd` gives it; a uid that is not there has
    group 0. An unknown name is a `BuildError`.
    """
    name, colon, group = user.partition(":")
    uid, gid = _user(tree, name)
    if colon and group:
        gid = _group(tree, group)
    return uid, gid


def supplementary_groups(tree: Tree, user: str) -> tuple[int, ...]:
    """Return the groups of a process of that USER: its own, then those that list it as a member.

    As in BuildKit, a user whose group was named has that one alone, and no USER means root.
    """
    user = user or "0"
    _, gid = resolve_user(tree, user)
    name, _, group = user.partition(":")
    record = _record(tree, name or "0")
    if group or record is None:
        return (gid,)
    found = [gid]
    for fields in _records(tree, b"etc/group"):
        number = _number(fields[2]) if len(fields) > 3 else None
        if number is not None and record[0] in fields[3].split(",") and number not in found:
            found.append(number)
    return tuple(found)


def home_of(tree: Tree, user: str) -> str:
    """Return the home directory that `/etc/passwd` gives a USER; `/` if it gives none."""
    record = _record(tree, user.partition(":")[0] or "0")
    return (record[5] if record is not None and len(record) > 5 else "") or "/"


def resolve_owner(tree: Tree, owner: str) -> tuple[int, int]:
    """Return (uid, gid) for `--chown`: as for USER, but a number alone is the group's too."""
    number = _number(owner)
    return (number, number) if number is not None else resolve_user(tree, owner)


def _user(tree: Tree, name: str) -> tuple[int, int]:
    if not name:
        return 0, 0
    record = _record(tree, name)
    if record is not None:
        return int(record[2]), int(record[3])
    number = _number(name)
    if number is None:
        raise BuildError(f"the user {name!r} is not in the image's /etc/passwd; use its number")
    return number, 0


def _record(tree: Tree, name: str) -> list[str] | None:
    """Return the first sound record of `/etc/passwd` with that name or uid."""
    number = _number(name)
    for fields in _records(tree, b"etc/passwd"):
        if len(fields) < 4:
            continue
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is not None and gid is not None and (fields[0] == name or uid == number):
            return fields
    return None


def _group(tree: Tree, name: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    for fields in _records(tree, b"etc/group"):
        gid = _number(fields[2]) if len(fields) > 2 else None
        if fields[0] == name and gid is not None:
            return gid
    raise BuildError(f"the group {name!r} is not in the image's /etc/group; use its number")


def _number(text: str) -> int | None:
    return decimal(text, _ID_MAX)


def _records(tree: Tree, path: bytes) -> Iterator[list[str]]:
    try:
        node = tree.find(path)
    except TreeError:
        return
    if node is None or node.data is None or node.data.segments is not None:
        return
    if node.data.size > _DATABASE_LIMIT:
        raise BuildError(
            f"the image's /{path.decode()} has {node.data.size:,} bytes, too many to read"
        )
    raw = node.data.file.read_at(node.data.offset, node.data.size)
    for line in raw.decode("utf-8", "surrogateescape").splitlines():
        yield line.split(":")
