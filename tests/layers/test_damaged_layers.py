"""Layers whose headers are damaged at random, with checksums that are right again.

Each is read to the end or refused on purpose; what is read can be written as a tar.
"""

from __future__ import annotations

import os
import random
import tarfile

import pytest
from builders import LAYER, merged, rendered
from support.layers import (
    BLOCK,
    END,
    GNU,
    PAX,
    char,
    directory,
    file,
    hardlink,
    layer,
    opaque,
    padded,
    pax_header,
    raw,
    raw_header,
    symlink,
)

from layers.errors import LimitExceeded, MalformedLayer
from layers.limits import Limits

SEEDS = int(os.environ.get("GOLEM_TEST_SEEDS", "200"))
LIMITS = Limits(header_bytes=10_000, total_bytes=1 << 24, file_bytes=1 << 22)
ITEMS = (
    directory("d", uid=1, gid=2), file("d/f", b"x" * 600, mtime=1.5), symlink("s", "d/f"),
    hardlink("h", "d/f"), char("c", 1, 3), file("n" * 150, b"y", xattrs={"user.a": b"b"}),
    opaque("d"), file("d/.wh.g"), file(".wh..wh.plnk/1", b"z"), hardlink("p", ".wh..wh.plnk/1"),
)  # fmt: skip
PLAIN = (
    directory("d"), file("d/f", b"x" * 600), symlink("s", "k" * 150), hardlink("h", "d/f"),
    char("c", 5, 1), file("m" * 150, b"y"),
)  # fmt: skip
SPARSE = (
    pax_header(
        {
            b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": b"f",
            b"GNU.sparse.realsize": b"9000", b"LIBARCHIVE.xattr.user.a": b"eA==",
        }
    ),
    raw(raw_header(b"f", size=BLOCK + 4) + padded(b"1\n4096\n4\n") + padded(b"data")),
    pax_header({b"GNU.sparse.size": b"9000", b"GNU.sparse.map": b"0,4,8,4", b"uid": b"7"}),
    raw(raw_header(b"g", size=8) + padded(b"datadata")),
    pax_header({b"comment": b"x", b"gid": b"5"}, kind=b"g"),
    directory("last"),
)  # fmt: skip
TARS = (layer(*ITEMS, fmt=PAX), layer(*PLAIN, fmt=GNU), layer(*SPARSE))
# Where the fields of a header begin, and how long they are.
FIELDS = (
    (0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8),
    (329, 8), (337, 8), (345, 155),
)  # fmt: skip
VALUES = (
    b"", b"\0", b"\xff" * 12, b"\x80" + bytes(10) + b"\1", b"\x80" + b"\xff" * 11, b"-1", b"9",
    b"/", b".", b"..", b"../..", b".wh.",
    b".wh..wh..opq", b".wh..wh.x/y", b"7" * 12, b"00000001000\0",
    b"ustar  \0", b"ustar\x0000", b"a/../b", b"d/f/x", b"\xe9\n=",
)  # fmt: skip
TYPES = b"0123456789xgLKSDVMXA\0"


def damaged(seed):
    """A tar with one to three headers damaged, and at times cut off or with data that are."""
    choice = random.Random(seed)
    data = bytearray(choice.choice(TARS))
    blocks = [at for at in range(0, len(data), BLOCK) if data[at + 257 : at + 262] == b"ustar"]
    for at in choice.choices(blocks, k=choice.randint(1, 3)):
        match choice.randint(0, 4):
            case 0:
                data[at + 156] = choice.choice(TYPES)
            case 1:
                # Of an extension header, this is what it says.
                position = min(at + BLOCK + choice.randrange(60), len(data) - 1)
                data[position] = choice.randrange(256)
            case 2:
                data[at + choice.randrange(BLOCK)] = choice.randrange(256)
            case _:
                start, length = choice.choice(FIELDS)
                value = choice.choice(VALUES)[:length]
                data[at + start : at + start + length] = value.ljust(length, b"\0")
        checksum = tarfile.calc_chksums(bytes(data[at : at + BLOCK]))[0]
        data[at + 148 : at + 156] = b"%06o\0 " % checksum
    if choice.random() < 0.1:
        del data[choice.randrange(len(data)) :]
    return bytes(data)


LOWER = layer(directory("d"), file("d/g", b"g"), symlink("s", "d"), file("c", b"c"))


@pytest.mark.parametrize("part", range(4))
def test_damaged_headers_end_in_a_tree_or_in_a_refusal(part):
    read = 0
    for seed in range(part, SEEDS, 4):
        try:
            tree = merged(LOWER, damaged(seed), limits=LIMITS)
        except (MalformedLayer, LimitExceeded):
            continue
        tar = rendered(tree)
        assert tar.endswith(END), seed
        names = {part for path, _ in tree.walk() for part in path.split(b"/")}
        assert not names & {b"", b".", b".."}, seed
        read += 1
    # Neither all nor none: the damages reach what comes after the first header.
    assert 0 < read < SEEDS / 4, LAYER
