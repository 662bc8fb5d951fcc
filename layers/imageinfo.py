"""What PyFilesystem's info namespaces say of a node, and how they change it."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fs.enums import ResourceType
from fs.info import Info
from fs.permissions import Permissions

from layers.imagepaths import decode, encode
from layers.kinds import FORMATS, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from layers.tree import Node

_TYPES = {
    Kind.FILE: ResourceType.file,
    Kind.DIRECTORY: ResourceType.directory,
    Kind.SYMLINK: ResourceType.symlink,
    Kind.CHAR: ResourceType.character,
    Kind.BLOCK: ResourceType.block_special_file,
    Kind.FIFO: ResourceType.fifo,
}


def make_info(name: str, node: Node, entry: Node, namespaces: Collection[str]) -> Info:
    """Describe *node*, which *name* leads to; `link`, `lstat` and `image` tell of *entry*.

    *entry* is the symbolic link that the name itself stands for, or *node* again.
    """
    raw: dict[str, Any] = {"basic": {"name": name, "is_dir": node.is_directory}}
    if "details" in namespaces:
        raw["details"] = {
            "_write": ["modified"],
            "type": int(_TYPES[node.kind]),
            "size": node.size,
            "modified": node.mtime,
        }
    if "access" in namespaces:
        raw["access"] = {
            "_write": ["permissions", "uid", "gid"],
            "permissions": list(_permissions(node.mode)),
            "uid": node.uid,
            "gid": node.gid,
        }
    if "stat" in namespaces:
        raw["stat"] = _stat(node)
    if "lstat" in namespaces:
        raw["lstat"] = _stat(entry)
    if "link" in namespaces:
        raw["link"] = {"target": decode(entry.target) if entry.kind is Kind.SYMLINK else None}
    if "image" in namespaces:
        raw["image"] = {
            "_write": ["xattrs"],
            "kind": entry.kind.value,
            "device": list(entry.device),
            "xattrs": {decode(key): value.hex() for key, value in (entry.xattrs or {}).items()},
        }
    return Info(raw)


def apply_info(node: Node, raw: Mapping[str, Mapping[str, Any]]) -> None:
    """Set what *raw* gives and an image can hold: `modified`, permissions, ids, xattrs.

    Times are cut to whole seconds. Raises `ValueError` for a negative id.
    """
    before = (node.mtime, node.mode, node.uid, node.gid, node.xattrs)
    modified = raw.get("details", {}).get("modified")
    if modified is not None:
        node.mtime = math.floor(modified)
    _apply_access(node, raw.get("access", {}))
    xattrs = raw.get("image", {}).get("xattrs")
    if xattrs is not None:
        node.xattrs = {encode(key): bytes.fromhex(value) for key, value in xattrs.items()} or None
    if before != (node.mtime, node.mode, node.uid, node.gid, node.xattrs):
        node.origin = None


def _apply_access(node: Node, access: Mapping[str, Any]) -> None:
    uid, gid = (access.get("uid"), access.get("gid"))
    for number in (uid, gid):
        if number is not None and number < 0:
            raise ValueError(f"{number} is no user or group id: they begin at 0")
    node.uid = node.uid if uid is None else int(uid)
    node.gid = node.gid if gid is None else int(gid)
    if access.get("permissions") is not None:
        node.mode = Permissions(names=access["permissions"]).mode


def _stat(node: Node) -> dict[str, int]:
    return {
        "st_mode": FORMATS[node.kind] | node.mode,
        "st_uid": node.uid,
        "st_gid": node.gid,
        "st_size": node.size,
        "st_mtime": node.mtime,
        "st_rdev": os.makedev(*node.device),
    }


@lru_cache(maxsize=256)
def _permissions(mode: int) -> tuple[str, ...]:
    return tuple(Permissions(mode=mode).dump())
