"""A judge of .gvmi trailers: reads one as strictly as a provider's runtime does.

Written apart from the project's own reader on purpose: a mistake made there is not repeated here.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_DIGITS = 8
_CRC = struct.Struct("<I")
_PADDING = 4096

# Superblock fields up to bytes_used: magic, four skipped, compressor, ..., major, minor, root.
_SUPERBLOCK = struct.Struct("<4s16xH6xHH8xQ")
_COMPRESSORS = {1: "gzip", 3: "lzo", 4: "xz", 5: "lz4"}


class TrailerError(Exception):
    """The file is one that a provider would not deploy; the message says why."""


@dataclass(frozen=True, slots=True)
class Trailer:
    """What a provider takes from the trailer's JSON."""

    volumes: tuple[str, ...]
    env: tuple[str, ...]
    work_dir: str
    uid: int
    gid: int


def read_trailer(image: Path) -> Trailer:
    """Read and judge the trailer of *image*, and the squashfs superblock in front of it."""
    try:
        payload, start = _payload(image)
        _check_superblock(image, start)
    except OSError as error:
        raise TrailerError(f"{image}: cannot be read: {error.strerror}") from error
    config = _parse(payload, image)
    _check_types(config, image)
    volumes = tuple(sorted(config.get("Volumes") or {}))
    for volume in volumes:
        _check_volume(volume, image)
    env = tuple(config.get("Env") or ())
    work_dir = config.get("WorkingDir") or ""
    if any("\0" in text for text in (*volumes, *env, work_dir)):
        raise TrailerError(f"{image}: a NUL in the trailer's Volumes, Env or WorkingDir")
    uid, gid = _user(config.get("User") or "")
    return Trailer(volumes, env, work_dir if work_dir.strip() else "/", uid, gid)


def _payload(image: Path) -> tuple[bytes, int]:
    """Return the JSON bytes, CRC checked, and the offset at which the trailer begins."""
    with image.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _DIGITS))
        digits = file.read()
        if not re.fullmatch(rb"[0-9]{8}", digits):
            raise TrailerError(f"{image}: no trailer, its last 8 bytes are not digits: {digits!r}")
        length = int(digits)
        start = size - _DIGITS - length - _CRC.size
        if start < 0:
            raise TrailerError(f"{image}: the trailer says {length} bytes, the file has {size}")
        file.seek(start)
        (expected,) = _CRC.unpack(file.read(_CRC.size))
        payload = file.read(length)
    actual = zlib.crc32(payload)
    if actual != expected:
        raise TrailerError(f"{image}: the trailer's CRC is {expected:08x}, its JSON's {actual:08x}")
    return payload, start


def _check_superblock(image: Path, trailer_start: int) -> None:
    with image.open("rb") as file:
        head = file.read(_SUPERBLOCK.size)
    if len(head) < _SUPERBLOCK.size or not head.startswith(b"hsqs"):
        raise TrailerError(f"{image}: does not begin with a squashfs")
    _, compressor, major, minor, bytes_used = _SUPERBLOCK.unpack(head)
    if (major, minor) != (4, 0):
        raise TrailerError(f"{image}: squashfs version {major}.{minor}, the guest mounts 4.0")
    if compressor not in _COMPRESSORS:
        known = ", ".join(_COMPRESSORS.values())
        raise TrailerError(f"{image}: squashfs compressor {compressor}; the guest knows {known}")
    padded = -(-bytes_used // _PADDING) * _PADDING
    if trailer_start != padded:
        raise TrailerError(
            f"{image}: the trailer begins at byte {trailer_start}, the padded squashfs ends at "
            f"{padded}"
        )


def _parse(payload: bytes, image: Path) -> dict[str, Any]:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        config = json.loads(payload.decode(), parse_constant=refuse)
        # A lone surrogate passes json.loads, but no UTF-8 string can hold it.
        json.dumps(config, ensure_ascii=False).encode()
    except ValueError as error:
        raise TrailerError(f"{image}: the trailer's JSON cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise TrailerError(f"{image}: the trailer's JSON is not an object")
    return config


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_set(value: object) -> bool:
    return isinstance(value, dict) and all(each == {} for each in value.values())


def _is_health_check(value: object) -> bool:
    return isinstance(value, dict) and all(
        kind[1](value[key]) for key, kind in _HEALTH_CHECK.items() if value.get(key) is not None
    )


_TEXT = ("a string", _is_text)
_TEXTS = ("an array of strings", _is_texts)
_BOOL = ("a boolean", _is_bool)
_INTEGER = ("an integer", _is_integer)
_SET = ("an object of empty objects", _is_set)

_HEALTH_CHECK: dict[str, tuple[str, Callable[[object], bool]]] = {
    "Test": _TEXTS,
    "Interval": _INTEGER,
    "Timeout": _INTEGER,
    "Retries": _INTEGER,
    "StartPeriod": _INTEGER,
}
_KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("Hostname", "Domainname", "User", "Image", "WorkingDir", "StopSignal"), _TEXT),
    **dict.fromkeys(("Env", "Cmd", "Entrypoint", "OnBuild", "Shell"), _TEXTS),
    **dict.fromkeys(("Tty", "OpenStdin", "StdinOnce", "ArgsEscaped", "NetworkDisabled"), _BOOL),
    **dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr"), _BOOL),
    **dict.fromkeys(("Volumes", "ExposedPorts"), _SET),
    "Labels": ("an object of strings", _is_text_map),
    "StopTimeout": _INTEGER,
    "Healthcheck": ("a health check", _is_health_check),
}


def _check_types(config: dict[str, Any], image: Path) -> None:
    for key, (kind, holds) in _KINDS.items():
        value = config.get(key)
        if value is not None and not holds(value):
            raise TrailerError(f"{image}: the trailer's {key} is not {kind}: {value!r}")


def _check_volume(volume: str, image: Path) -> None:
    """Refuse the paths that make the guest's first process stop on an assertion."""
    root, *components = volume.split("/")
    if root or not components or {"", ".", ".."} & set(components):
        raise TrailerError(
            f'{image}: the volume "{volume}" is not an absolute path of plain components'
        )


def _user(user: str) -> tuple[int, int]:
    """Return UID and GID; every *user* that is not two numbers is 0:0 to a provider."""
    match = re.fullmatch(r"([0-9]+):([0-9]+)", user)
    return (int(match[1]), int(match[2])) if match else (0, 0)
