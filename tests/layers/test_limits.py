from __future__ import annotations

import dataclasses

import pytest
from builders import LAYER, index, merged
from support.layers import directory, file, layer, sparse_files, symlink

from layers.errors import LimitExceeded
from layers.limits import Limits


def test_one_limit_is_raised_and_the_others_stay():
    raised = Limits().override("entries", 3_000_000)
    assert raised == dataclasses.replace(Limits(), entries=3_000_000)
    assert Limits().entries == 2_000_000


def test_an_unknown_limit_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="no limit is called 'entry'; there are entries, directo"):
        Limits().override("entry", 1)


@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_is_at_least_one(value):
    with pytest.raises(ValueError, match="the limit ratio must be at least 1"):
        Limits().override("ratio", value)


def test_a_limit_is_the_most_that_is_allowed():
    limits = Limits(entries=2)
    limits.check("entries", 2, "x")
    with pytest.raises(LimitExceeded) as caught:
        limits.check("entries", 3, "layer x: its entries")
    assert (caught.value.limit_name, caught.value.limit) == ("entries", 2)
    assert str(caught.value) == (
        "layer x: its entries passes the limit of 2 (entries); if you trust this image, raise it "
        "with --limit entries=N"
    )


@pytest.mark.parametrize(
    ("name", "fits", "passes"),
    [
        ("entries", [[file("a")], [file("a")]], [[file("a")], [file("b"), file("c")]]),
        ("total_bytes", [[]], [[], []]),
        (
            "directory_entries",
            [[directory("d"), file("d/a"), file("d/b")]],
            [[directory("d"), file("d/a"), file("d/b"), file("d/c")]],
        ),
    ],
)
def test_limits_of_the_whole_image(name, fits, passes):
    # An empty layer is its end marker: 1024 bytes.
    limits = Limits().override(name, 1024 if name == "total_bytes" else 2)
    merged(*fits, limits=limits)
    with pytest.raises(LimitExceeded, match=f"^layer layer .*--limit {name}=N"):
        merged(*passes, limits=limits)


def test_holes_of_all_layers_have_a_limit_of_their_own():
    merged(sparse_files(8, 1 << 30), sparse_files(8, 1 << 30))
    with pytest.raises(LimitExceeded, match=r"^layer layer 1: .*holes.*\(hole_bytes\)"):
        merged(sparse_files(8, 1 << 30), sparse_files(9, 1 << 30))


def test_names_replaced_in_place_do_not_count_twice():
    merged([file("a"), file("b")], [file("a"), file("b")], limits=Limits(directory_entries=2))


@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("name_bytes", file("a" * 11)),
        ("name_bytes", file("a/a/a/a/a/a")),
        ("name_bytes", symlink("l", "t" * 11)),
        ("file_bytes", file("a", b"x" * 11)),
        ("header_bytes", file("n" * 300)),
        ("header_bytes", file("a", xattrs={"user.k": b"v" * 11})),
    ],
)
def test_limits_of_one_entry(name, item):
    with pytest.raises(LimitExceeded, match=rf"^layer {LAYER}: .*limit of 10 \({name}\)"):
        index(layer(item), Limits().override(name, 10))
