"""Tar headers, decoded: the 512-byte block and PAX records.

Pure functions on bytes. POSIX.1-2017 `pax` (ustar and pax interchange formats), and the GNU tar
manual's "Basic Tar Format" and "Storing Sparse Files" for GNU's numbers, long names and holes.
Every problem is a `ValueError` whose text completes the sentence "entry ...: ".
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 512
MTIME_MAX = 0xFFFFFFFF
"""The latest time that squashfs holds: unsigned 32-bit seconds."""
# name, mode, uid, gid, size, mtime, checksum, typeflag, linkname, magic and version, (user and
# group names), device numbers, prefix, (padding)
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s64x16s155s12x")
_ADLER_MODULUS = 65521
_NOT_SET = 0xFFFFFFFF
_XATTR_NAME_MAX = 255


class RawHeader(NamedTuple):
    """The fields of one header block; names are bytes up to their NUL, `size` is what follows."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    typeflag: bytes
    linkname: bytes
    major: int
    minor: int


def parse_header(block: bytes) -> RawHeader:
    """Decode one block that is not all zeros; its checksum must be right."""
    name, mode, uid, gid, size, mtime, checksum, typeflag, linkname, magic, device, prefix = (
        _FIELDS.unpack(block)
    )
    _verify_checksum(block, checksum)
    name = name.partition(b"\0")[0]
    if prefix[0] and typeflag not in b"LKxg":
        prefix = _prefix(magic, prefix, block[508:])
        if prefix:
            name = prefix + b"/" + name
    fields = mode[:7] + uid[:7] + gid[:7] + size[:11] + mtime[:11]
    ends = mode[7:] + uid[7:] + gid[7:] + size[11:] + mtime[11:]
    if fields.isdigit() and not ends.strip(b"\0 ") and b"8" not in fields and b"9" not in fields:
        # What nearly all tars hold: digits up to a terminator. This is the hot path.
        numbers = (
            int(fields[:7], 8) & 0o7777, int(fields[7:14], 8), int(fields[14:21], 8),
            int(fields[21:32], 8), int(fields[32:], 8),
        )  # fmt: skip
    else:
        numbers = (
            number(mode) & 0o7777, _owner(_wrapping_number(uid)), _owner(_wrapping_number(gid)),
            number(size), number(mtime, signed=True),
        )  # fmt: skip
    major = minor = 0
    if typeflag in b"34" and magic[:5] == b"ustar":
        # As many bits as mknod(2) keeps.
        major = _wrapping_number(device[:8]) & 0xFFF
        minor = _wrapping_number(device[8:]) & 0xFFFFF
    return RawHeader(
        name, *numbers, typeflag, linkname.partition(b"\0")[0], major, minor
    )  # fmt: skip


def _prefix(magic: bytes, field: bytes, trailer: bytes) -> bytes:
    """Return the front of a long name, empty where the field is none."""
    if magic[:6] == b"ustar\0":
        # star has times behind a shorter prefix.
        return field[: 131 if trailer == b"tar\0" else None].partition(b"\0")[0]
    if magic != b"ustar  \0":
        return b""
    # GNU has two times here. Go up to 1.7, and with it Docker of that time, wrote a prefix where a
    # large number made it choose this magic: what cannot be times is that.
    try:
        for time in (field[:12], field[12:24]):
            if time[0]:
                number(time, signed=True)
    except ValueError:
        prefix = field.partition(b"\0")[0]
        return prefix if prefix.isascii() else b""
    return b""


def number(field: bytes, *, signed: bool = False) -> int:
    """Decode an octal field, or GNU's base-256 (first bit set)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
    else:
        digits = field.partition(b"\0")[0].strip()
        try:
            if digits and not digits.removeprefix(b"-").isdigit():
                raise ValueError
            value = int(digits, 8) if digits else 0
        except ValueError:
            raise ValueError(f"{field!r} is not a number") from None
    if value < 0 and not signed:
        raise ValueError(f"{field!r} is a negative number")
    return value


def _wrapping_number(field: bytes) -> int:
    """Decode a number of which low bits count; only in base-256 may it be negative, as in Go."""
    return number(field, signed=bool(field[0] & 0x80))


def pax_owner(value: bytes) -> int:
    """Decode a PAX owner, which some write as a negative number of 32 bits."""
    number = pax_number(value.removeprefix(b"-"))
    return _owner(-number if value.startswith(b"-") else number)


def _owner(value: int) -> int:
    """Return an owner as chown(2) takes it, in 32 bits.

    The last of them means "not set" there: files that root unpacks stay root's, as with umoci.
    """
    if not -(1 << 31) <= value <= _NOT_SET:
        raise ValueError(f"its owner {value} is none that Linux has (32 bits)")
    value &= _NOT_SET
    return 0 if value == _NOT_SET else value


def parse_pax(block: bytes) -> dict[bytes, bytes]:
    r"""Decode `length key=value\\n` records; a later record of the same key wins."""
    return dict(pax_records(block))


def pax_records(block: bytes) -> list[tuple[bytes, bytes]]:
    """Decode the records in order, repeated keys and all (sparse format 0.0 needs that)."""
    records = []
    position, end = 0, len(block)
    while position < end:
        space = block.find(b" ", position, position + 20)
        digits = block[position:space]
        if space < 0 or not digits.isdigit():
            if not block[position:].strip(b"\0"):
                break
            raise ValueError("a PAX record does not begin with its length")
        stop = position + int(digits)
        key, equals, value = block[space + 1 : stop - 1].partition(b"=")
        if stop > end or stop <= space or not equals or block[stop - 1 : stop] != b"\n":
            raise ValueError("a PAX record's length is wrong")
        records.append((key, value))
        position = stop
    return records


def pax_number(value: bytes) -> int:
    """Decode a PAX decimal of whole numbers."""
    digits = value.lstrip(b"0")
    if not value.isdigit() or len(digits) > 40:
        raise ValueError(f"{value[:40]!r} is not a number")
    return int(digits or b"0")


def pax_seconds(value: bytes) -> int:
    """Decode a PAX time; a fraction is cut towards the past."""
    whole, _, fraction = value.partition(b".")
    negative = whole.startswith(b"-")
    digits = whole.lstrip(b"-")
    if (
        len(digits) > 20
        or (digits and not digits.isdigit())
        or (fraction and not fraction.isdigit())
    ):
        raise ValueError(f"{value[:40]!r} is not a time")
    seconds = int(digits or b"0")
    if not negative:
        return seconds
    return -seconds - (1 if fraction.strip(b"0") else 0)


_SCHILY = b"SCHILY.xattr."
_LIBARCHIVE = b"LIBARCHIVE.xattr."


def pax_xattrs(
    records: dict[bytes, bytes], warn: Callable[[str], None] | None = None
) -> dict[bytes, bytes] | None:
    """Return the extended attributes among PAX records, `None` if there are none.

    *warn* is told of those of libarchive that cannot be read. They are ignored: no tool that
    unpacks images reads any of them.
    """
    found: dict[bytes, bytes] = {}
    for key, value in records.items():
        if key.startswith(_LIBARCHIVE):
            try:
                name, data = _libarchive_xattr(key, value)
            except ValueError as error:
                if warn:
                    shown = key[:100].decode("ascii", "backslashreplace")
                    warn(f"its extended attribute {shown} {error}; it is ignored")
            else:
                found.setdefault(name, data)
        elif key.startswith(_SCHILY):
            name = key[len(_SCHILY) :]
            if not _is_xattr_name(name):
                raise ValueError(
                    f"the name of an extended attribute, {name[:40]!r}, is empty, too long or "
                    "holds a NUL byte"
                )
            found[name] = value
    return found or None


def _libarchive_xattr(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    name = unquote_to_bytes(key[len(_LIBARCHIVE) :])
    if not _is_xattr_name(name):
        raise ValueError("has no name that Linux allows")
    try:
        return name, base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise ValueError("is not base64") from None


def _is_xattr_name(name: bytes) -> bool:
    return 0 < len(name) <= _XATTR_NAME_MAX and b"\0" not in name


def _verify_checksum(block: bytes, field: bytes) -> None:
    stored = number(field)
    # Adler-32's low half is the sum of the bytes plus one, modulo 65521: a checksum at C speed.
    expected = (stored - 8 * 32 + sum(field) + 1) % _ADLER_MODULUS
    if zlib.adler32(block) & 0xFFFF == expected:
        return
    # Some old tars summed signed characters.
    blanked = block[:148] + b" " * 8 + block[156:]
    if sum(byte - 256 if byte > 127 else byte for byte in blanked) != stored:
        raise ValueError("the checksum of its tar header is wrong")
