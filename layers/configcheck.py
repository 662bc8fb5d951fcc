"""Whether an image's config has the types that config.md gives it, as far as they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layers.descriptor import Platform
from layers.digest import Digest
from layers.errors import MalformedImage

if TYPE_CHECKING:
    from collections.abc import Mapping

_STRING_LISTS = ("Env", "Cmd", "Entrypoint", "OnBuild", "Shell")
_STRINGS = ("User", "WorkingDir", "StopSignal")
_OBJECTS = ("Volumes", "ExposedPorts", "Labels")
_HISTORY_STRINGS = ("created", "created_by", "author", "comment")


def check_config(data: Mapping[str, Any], what: str) -> None:
    """Raise `MalformedImage` for a type that is wrong; `null` stands for what is not there."""
    rootfs = _object(data.get("rootfs"), f"{what}: rootfs")
    for item in _list(rootfs.get("diff_ids"), f"{what}: rootfs.diff_ids"):
        Digest.parse(item)
    for key in ("created", "author"):
        _string(data.get(key), f"{what}: {key}")
    for number, entry in enumerate(_list(data.get("history"), f"{what}: history")):
        _check_history(entry, f"{what}: history[{number}]")
    Platform.from_json(data)
    _check_settings(_object(data.get("config"), f"{what}: config"), f"{what}: config")


def _check_history(entry: Any, what: str) -> None:
    fields = _object(entry, what)
    for key in _HISTORY_STRINGS:
        _string(fields.get(key), f"{what}.{key}")
    if not isinstance(fields.get("empty_layer"), bool | None):
        raise MalformedImage(f"{what}.empty_layer must be true or false")


def _check_settings(settings: Mapping[str, Any], what: str) -> None:
    for key in _STRING_LISTS:
        items = settings.get(key)
        if items is None:
            continue
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise MalformedImage(f"{what}.{key} must be a list of strings")
    for key in _STRINGS:
        _string(settings.get(key), f"{what}.{key}")
    for key in _OBJECTS:
        _object(settings.get(key), f"{what}.{key}")
    labels = settings.get("Labels") or {}
    if not all(isinstance(value, str) for value in labels.values()):
        raise MalformedImage(f"{what}.Labels must be an object of strings")


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict | None):
        raise MalformedImage(f"{what} must be an object")
    return value or {}


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list | None):
        raise MalformedImage(f"{what} must be a list")
    return value or []


def _string(value: Any, what: str) -> None:
    if not isinstance(value, str | None):
        raise MalformedImage(f"{what} must be a string")
