"""The `.gvmi` file: a squashfs, padded, and a trailer that a provider's runtime reads from the end.

squashfs (a multiple of 4096 bytes)
CRC-32 of the JSON      4 bytes, little endian
JSON                    n bytes, one object: Docker's ContainerConfig
n                       8 ASCII decimal digits
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from assembler.errors import GvmiError
from assembler.superblock import Superblock, read_superblock
from layers import jsontext

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DIGITS = 8
_CRC = 4
_JSON_MAX = 4 * 1024 * 1024
"""Bytes. Eight digits allow for more, but Linux takes 2 MiB of environment and arguments."""
_PADDING = 4096
_INT = 1 << 63
_CHUNK = 1 << 20

_TYPES: dict[str, type] = {
    **dict.fromkeys(
        ("Hostname", "Domainname", "User", "Image", "WorkingDir", "MacAddress", "StopSignal"), str
    ),
    **dict.fromkeys(
        ("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce",
         "ArgsEscaped", "NetworkDisabled"), bool,
    ),
    "StopTimeout": int,
    "Healthcheck": dict,
}  # fmt: skip
_STRING_LISTS = ("Env", "Cmd", "Entrypoint", "OnBuild", "Shell")
_EMPTY_OBJECT_MAPS = ("Volumes", "ExposedPorts")


def encode_trailer(config: Mapping[str, Any]) -> bytes:
    """Return the trailer for a ContainerConfig; the same config gives the same bytes."""
    raw = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if len(raw) > _JSON_MAX:
        raise GvmiError(
            f"the image's config is {len(raw):,} bytes of JSON, more than a trailer may have "
            f"({_JSON_MAX:,})"
        )
    return struct.pack("<I", zlib.crc32(raw)) + raw + b"%08d" % len(raw)


def type_problems(config: Mapping[str, Any]) -> list[str]:
    """Return what a provider's strictly typed reader would not take; empty if all is well."""
    problems = [
        f"{key} must be of type {kind.__name__}"
        for key, kind in _TYPES.items()
        if not _has_type(config.get(key), kind)
    ]
    problems += [
        f"{key} must fit 64 bits"
        for key, kind in _TYPES.items()
        if kind is int and isinstance(config.get(key), int) and not -_INT <= config[key] < _INT
    ]
    for key in _STRING_LISTS:
        value = config.get(key)
        if value is not None and not (
            isinstance(value, list) and all(isinstance(item, str) for item in value)
        ):
            problems.append(f"{key} must be a list of strings")
    for key in _EMPTY_OBJECT_MAPS:
        value = config.get(key)
        if value is not None and not (
            isinstance(value, dict) and all(item == {} for item in value.values())
        ):
            problems.append(f"{key} must be an object whose values are empty objects")
    labels = config.get("Labels")
    if labels is not None and not (
        isinstance(labels, dict) and all(isinstance(item, str) for item in labels.values())
    ):
        problems.append("Labels must be an object of strings")
    return problems


def _has_type(value: Any, kind: type) -> bool:
    if value is None:
        return True
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


@dataclass(frozen=True, slots=True)
class GvmiFile:
    """A `.gvmi` that was opened and found sound: its config, its squashfs, its sizes in bytes."""

    path: Path
    size: int
    squashfs_size: int
    superblock: Superblock
    config: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read trailer and superblock; raise `GvmiError` for what is broken."""
        try:
            # Whoever opens a FIFO would wait for a writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise GvmiError(f"{path}: there is no such file") from None
        except OSError as error:
            raise GvmiError(f"{path}: it cannot be opened ({error.strerror})") from None
        try:
            size = _size(descriptor)
            raw = _read_trailer(descriptor, size)
            squashfs_size = size - _CRC - len(raw) - _DIGITS
            return cls(
                path,
                size,
                squashfs_size,
                read_superblock(descriptor, squashfs_size),
                _parse_config(raw),
            )
        except (ValueError, OSError) as error:
            raise GvmiError(f"{path} is not a sound .gvmi: {error}") from None
        finally:
            os.close(descriptor)


def _size(descriptor: int) -> int:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("it is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    return status.st_size


def _read_trailer(descriptor: int, size: int) -> bytes:
    """Return the JSON bytes, as a provider would read them: from the end."""
    if size < _DIGITS + _CRC:
        raise ValueError("it is too short to hold a trailer")
    digits = os.pread(descriptor, _DIGITS, size - _DIGITS)
    if not digits.isdigit():
        raise ValueError(
            "it does not end in eight digits, the length of a trailer (was it cut off?)"
        )
    length = int(digits)
    if length > size - _DIGITS - _CRC:
        raise ValueError(f"its trailer claims {length} bytes, more than the file has")
    if length > _JSON_MAX:
        raise ValueError(f"its trailer has {length:,} bytes, more than {_JSON_MAX:,}")
    raw = os.pread(descriptor, length, size - _DIGITS - length)
    (expected,) = struct.unpack("<I", os.pread(descriptor, _CRC, size - _DIGITS - length - _CRC))
    actual = zlib.crc32(raw)
    if actual != expected:
        raise ValueError(
            f"the CRC-32 of its trailer is {actual:08x}, but {expected:08x} is written"
        )
    return raw


def _parse_config(raw: bytes) -> dict[str, Any]:
    try:
        config = jsontext.parse_exact(raw)  # a provider's reader replaces nothing
    except ValueError as error:
        raise ValueError(f"its trailer is not valid JSON ({error})") from None
    if isinstance(config, dict):
        return config
    raise ValueError("its trailer is not a JSON object")


def padding(size: int) -> int:
    """Return how many zero bytes bring a squashfs of *size* bytes to the next 4096."""
    return -size % _PADDING


def image_hash(path: Path) -> str:
    """Return the SHA3-224 of the whole file in hex: what the SDKs call `image_hash`."""
    state = hashlib.sha3_224()
    try:
        with path.open("rb", buffering=0) as file:
            buffer = bytearray(_CHUNK)
            view = memoryview(buffer)
            while count := file.readinto(view):
                state.update(view[:count])
    except FileNotFoundError:
        raise GvmiError(f"{path}: there is no such file") from None
    except OSError as error:
        raise GvmiError(f"{path}: it cannot be read ({error.strerror})") from None
    return state.hexdigest()
