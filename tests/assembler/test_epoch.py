from __future__ import annotations

import pytest

from assembler.epoch import epoch_of_created, format_created, parse_epoch
from assembler.errors import BuildError


@pytest.mark.parametrize(
    ("created", "epoch"),
    [
        ("2026-01-02T03:04:05Z", 1767323045),
        ("2026-01-02T03:04:05.123456789Z", 1767323045),
        ("2026-01-02T04:04:05+01:00", 1767323045),
        ("2026-01-02T03:04:05", 1767323045),
        ("0001-01-01T00:00:00Z", 0),
        ("9999-01-01T00:00:00Z", 0xFFFFFFFF),
        ("yesterday", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_created_becomes_seconds(created, epoch):
    assert epoch_of_created(created) == epoch


def test_seconds_become_created_again():
    assert format_created(1767323045) == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("text", ["", "-1", "1.5", "4294967296", "x", "1" * 100, "²"])
def test_what_is_no_epoch_is_refused(text):
    with pytest.raises(BuildError, match="whole seconds since 1970"):
        parse_epoch(text, "SOURCE_DATE_EPOCH")


def test_an_epoch_is_read():
    assert parse_epoch("4294967295", "x") == 4294967295
