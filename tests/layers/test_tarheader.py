from __future__ import annotations

import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import pax_records, raw_header

from layers import tarheader

EXAMPLES = settings(max_examples=80, deadline=None, derandomize=True, database=None)


def test_a_header_is_decoded_field_by_field():
    block = raw_header(
        b"dev/tty",
        mode=0o104755,
        uid=1000,
        gid=1001,
        size=0,
        mtime=7,
        kind=b"3",
        target=b"t",
        major=4,
        minor=64,
    )
    assert tarheader.parse_header(block) == (
        b"dev/tty", 0o4755, 1000, 1001, 0, 7, b"3", b"t", 4, 64,
    )  # fmt: skip


TIMES = b"14000000000\x0014000000000\0"


@pytest.mark.parametrize(
    ("magic", "prefix", "name"),
    [
        (b"ustar\x0000", b"a", b"a/b"),
        (b"ustar\x0010", b"a", b"a/b"),
        (b"ustar\0\0\0", b"a", b"a/b"),
        (bytes(8), b"a", b"b"),
        # GNU has times there. What Go wrote before 1.8 has a prefix all the same where a number
        # was large: Docker's layers of that time. Go reads both.
        (b"ustar  \0", TIMES, b"b"),
        (b"ustar  \0", TIMES[:12], b"b"),
        (b"ustar  \0", b"", b"b"),
        (b"ustar  \0", b"usr/lib/" + b"n" * 100, b"usr/lib/" + b"n" * 100 + b"/b"),
        (b"ustar  \0", b"a", b"a/b"),
        (b"ustar  \0", "\xe9".encode("latin-1"), b"b"),
    ],
)
def test_a_prefix_is_part_of_the_name_where_the_magic_allows_one(magic, prefix, name):
    assert tarheader.parse_header(raw_header(b"b", prefix=prefix, magic=magic)).name == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000755\0", 0o755),
        (b"   755 \0", 0o755),
        (b"755\0trash", 0o755),
        (b"00000755", 0o755),
        (bytes(8), 0),
        (b"        ", 0),
        (b"\x80" + (1 << 40).to_bytes(11, "big"), 1 << 40),
        (b"\x80\x00\x00\x00\x00\x00\x00\x07", 7),
    ],
)
def test_numbers_are_octal_or_base_256(field, value):
    assert tarheader.number(field) == value


@pytest.mark.parametrize("value", [-1, -1_700_000_000, -(1 << 40)])
def test_negative_numbers_are_for_times_only(value):
    field = value.to_bytes(12, "big", signed=True)
    assert tarheader.number(field, signed=True) == value
    with pytest.raises(ValueError, match="is a negative number"):
        tarheader.number(field)
    with pytest.raises(ValueError, match="is a negative number"):
        tarheader.number(b"-0000017\0")
    assert tarheader.number(b"-0000017\0", signed=True) == -0o17


@pytest.mark.parametrize(
    "field", [b"0000x55\0", b"8000000\0", b"1_0\0", b"0o7\0", b"+7\0", b"7 7\0"]
)
def test_what_is_no_number_is_told(field):
    with pytest.raises(ValueError):
        tarheader.number(field)


def test_numbers_in_odd_forms_make_the_same_header():
    plain = raw_header(b"f", mode=0o644, uid=7, gid=8, size=0, mtime=9)
    odd = raw_header(
        b"f",
        mode=b"   644 ",
        uid=b"7       ",
        gid=b"\x80" + bytes(6) + b"\x08",
        size=bytes(12),
        mtime=b"         11\0",
    )
    assert tarheader.parse_header(odd) == tarheader.parse_header(plain)


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "size", "mtime"])
def test_a_number_may_fill_its_field(field):
    width = 12 if field in {"size", "mtime"} else 8
    block = raw_header(b"f", **{field: b"123".rjust(width, b"0")})
    assert getattr(tarheader.parse_header(block), field) == 0o123


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "size", "mtime"])
@pytest.mark.parametrize("value", [b"00_0010", b"0o00010", b"+000010"])
def test_numbers_that_only_python_can_read_are_refused(field, value):
    # mksquashfs would read another size than we did, and take a file's data for headers.
    width = 12 if field in {"size", "mtime"} else 8
    with pytest.raises(ValueError):
        tarheader.parse_header(raw_header(b"f", **{field: value.ljust(width - 1, b"0")}))


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "size"])
def test_a_header_with_a_negative_number_is_refused(field):
    width = 12 if field == "size" else 8
    with pytest.raises(ValueError, match="negative"):
        tarheader.parse_header(raw_header(b"f", **{field: b"-1".ljust(width, b"\0")}))


@pytest.mark.parametrize("checksum", [0, 1, b"\0" * 8, b"7777777\0"])
def test_a_wrong_checksum_is_told(checksum):
    with pytest.raises(ValueError, match="checksum of its tar header is wrong"):
        tarheader.parse_header(raw_header(b"f", checksum=checksum))


def test_a_checksum_of_signed_characters_is_right_as_well():
    block = raw_header("é".encode())
    blanked = block[:148] + b" " * 8 + block[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in blanked)
    assert tarheader.parse_header(raw_header("é".encode(), checksum=signed)).name == "é".encode()


@EXAMPLES
@given(st.binary(max_size=100), st.binary(max_size=32), st.sampled_from([0, 1]), st.integers(-2, 2))
def test_checksums_are_those_of_tarfile(name, owner, which, change):
    right = tarfile.calc_chksums(raw_header(name, owner=owner))
    stamped = max(right[which] + change, 0)
    problem = ""
    try:
        tarheader.parse_header(raw_header(name, owner=owner, checksum=stamped))
    except ValueError as error:
        problem = str(error)
    assert ("checksum" in problem) == (stamped not in right)


@EXAMPLES
@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=20).filter(lambda key: b"=" not in key),
        st.binary(max_size=120),
        max_size=5,
    )
)
def test_pax_records_are_read_as_they_were_written(records):
    assert tarheader.parse_pax(pax_records(records)) == records


def test_a_later_pax_record_wins_and_padding_is_skipped():
    block = b"8 k=one\n8 k=two\n" + bytes(7)
    assert tarheader.parse_pax(block) == {b"k": b"two"}
    assert tarheader.pax_records(block) == [(b"k", b"one"), (b"k", b"two")]


@pytest.mark.parametrize(
    "block",
    [b"x", b"k=v\n", b"6k=v\n", b"-6 k=v\n", b"6 k=v", b"7 k=v\n", b"5 k=v\n", b"99 k=v\n",
     b"6 kv\nx", b"0 k=v\n", b"2 k=v\n", b"1" * 30 + b" k=v\n", b"6 k=v\nmore"],
)  # fmt: skip
def test_broken_pax_records_are_told(block):
    with pytest.raises(ValueError, match="a PAX record"):
        tarheader.pax_records(block)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"0", 0),
        (b"1700000000", 1_700_000_000),
        (b"1700000000.999999999", 1_700_000_000),
        (b"-1", -1),
        (b"-1.0", -1),
        (b"-0.5", -1),
        (b"-1.25", -2),
        (b".5", 0),
        (b"5.", 5),
        (b"9" * 20, int(b"9" * 20)),
    ],
)
def test_times_are_cut_towards_the_past(text, seconds):
    assert tarheader.pax_seconds(text) == seconds


@pytest.mark.parametrize("text", [b"x", b"1x", b"1.x", b"1e9", b"1.-5", b"9" * 21, b"+1", b"1 "])
def test_what_is_no_time_is_told(text):
    with pytest.raises(ValueError, match="is not a time"):
        tarheader.pax_seconds(text)


@pytest.mark.parametrize("text", [b"", b"-1", b"1.5", b"0x1", b" 1"])
def test_what_is_no_pax_number_is_told(text):
    with pytest.raises(ValueError, match="is not a number"):
        tarheader.pax_number(text)


def test_extended_attributes_are_found_in_either_spelling():
    records = {
        b"path": b"x",
        b"SCHILY.xattr.user.a": b"raw\0bytes",
        b"LIBARCHIVE.xattr.user.b%20c": b"YmFzZTY0",
        b"LIBARCHIVE.xattr.user.unpadded": b"YQ",
    }
    expected = {b"user.a": b"raw\0bytes", b"user.b c": b"base64", b"user.unpadded": b"a"}
    assert tarheader.pax_xattrs(records) == expected
    assert tarheader.pax_xattrs({b"path": b"x"}) is None


@pytest.mark.parametrize("order", [1, -1])
def test_the_raw_spelling_of_an_attribute_wins(order):
    records = [(b"LIBARCHIVE.xattr.user.a", b"YQ=="), (b"SCHILY.xattr.user.a", b"raw")]
    assert tarheader.pax_xattrs(dict(records[::order])) == {b"user.a": b"raw"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"user.a", b"!"),
        (b"user.a", b"Y"),
        (b"", b"YQ=="),
        (b"user.%00", b"YQ=="),
        (b"a" * 256, b""),
    ],
)
def test_an_attribute_of_libarchive_that_makes_no_sense_is_ignored_and_told(key, value):
    told = []
    records = {b"LIBARCHIVE.xattr." + key: value, b"SCHILY.xattr.user.b": b"b"}
    assert tarheader.pax_xattrs(records, told.append) == {b"user.b": b"b"}
    assert len(told) == 1
    assert "LIBARCHIVE.xattr." in told[0]
    assert "is ignored" in told[0]
    assert tarheader.pax_xattrs(records) == {b"user.b": b"b"}


@pytest.mark.parametrize("key", [b"", b"user.a\0b", b"user." + b"n" * 251])
def test_an_attribute_whose_name_linux_does_not_allow_is_an_error(key):
    # umoci and buildah refuse these.
    with pytest.raises(ValueError, match="the name of an extended attribute"):
        tarheader.pax_xattrs({b"SCHILY.xattr." + key: b"v"})


def test_an_empty_attribute_is_one():
    # BuildKit writes them (github.com/confidential-containers/guest-components/issues/1737).
    records = {b"SCHILY.xattr.user.overlay.origin": b""}
    assert tarheader.pax_xattrs(records) == {b"user.overlay.origin": b""}


def base_256(value):
    return (value & (1 << 64) - 1 | 1 << 63).to_bytes(8, "big")


OWNERS = [
    (0, 0), (2**31, 2**31), (2**32 - 2, 2**32 - 2),
    # To chown(2) this one means that the owner stays: who unpacks as root leaves root's files.
    (2**32 - 1, 0), (-1, 0),
    # `nobody` as some systems have it.
    (-2, 2**32 - 2), (-(2**31), 2**31),
]  # fmt: skip


@pytest.mark.parametrize(("value", "owner"), OWNERS)
@pytest.mark.parametrize("field", ["uid", "gid"])
def test_owners_are_of_32_bits_as_chown_has_them(field, value, owner):
    header = tarheader.parse_header(raw_header(b"f", **{field: base_256(value)}))
    assert getattr(header, field) == owner
    assert tarheader.pax_owner(b"%d" % value) == owner


@pytest.mark.parametrize("value", [2**32, 2**55 - 1, 2**61, -(2**31) - 1, -(2**62)])
@pytest.mark.parametrize("field", ["uid", "gid"])
def test_owners_of_more_than_32_bits_are_refused(field, value):
    problem = f"its owner {value} is none that Linux has"
    with pytest.raises(ValueError, match=problem):
        tarheader.parse_header(raw_header(b"f", **{field: base_256(value)}))
    with pytest.raises(ValueError, match=problem):
        tarheader.pax_owner(b"%d" % value)


@pytest.mark.parametrize("text", [b"", b"-", b"--1", b"1.5", b"0x1", b"1-", b"9" * 41])
def test_what_is_no_pax_owner_is_told(text):
    with pytest.raises(ValueError, match="is not a number|is none that Linux has"):
        tarheader.pax_owner(text)


def test_a_long_pax_number_is_not_cut():
    assert tarheader.pax_number(b"0" * 60 + b"5") == 5
    with pytest.raises(ValueError, match="is not a number"):
        tarheader.pax_number(b"1" * 5000)


@pytest.mark.parametrize("field", ["mode", "uid", "gid", "size", "mtime"])
def test_digits_that_are_not_octal_are_told_in_our_words(field):
    width = 12 if field in {"size", "mtime"} else 8
    with pytest.raises(ValueError, match=r"^b'0+98.*' is not a number$"):
        tarheader.parse_header(raw_header(b"f", **{field: b"98\0".rjust(width, b"0")}))
