from __future__ import annotations

import pytest

from layers import sparse
from layers.sparse import Segment


def test_sparse_maps_of_pax_0_come_as_one_record_or_as_many():
    many = [(b"GNU.sparse.offset", b"0"), (b"GNU.sparse.numbytes", b"2"),
            (b"GNU.sparse.offset", b"9"), (b"GNU.sparse.numbytes", b"0")]  # fmt: skip
    expected = [Segment(0, 2), Segment(9, 0)]
    assert sparse.pax_map(many) == expected
    assert sparse.pax_map([(b"GNU.sparse.map", b"0,2,9,0")]) == expected
    assert sparse.pax_map([(b"GNU.sparse.map", b"")]) == []


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([(b"GNU.sparse.map", b"0,2,9")], "incomplete"),
        ([(b"GNU.sparse.offset", b"0")], "incomplete"),
        ([(b"GNU.sparse.map", b"0,x")], "not a number"),
        ([(b"GNU.sparse.map", b"0,-1")], "not a number"),
    ],
)
def test_broken_sparse_maps_of_pax_0_are_told(records, problem):
    with pytest.raises(ValueError, match=problem):
        sparse.pax_map(records)


def test_sparse_maps_of_pax_1_are_lines_before_the_data():
    data = b"2\n0\n2\n9\n3\n"
    assert sparse.pax_lines(data.ljust(512, b"\0")) == (
        [Segment(0, 2), Segment(9, 3)],
        512,
    )
    assert sparse.pax_lines(b"0\n") == ([], 512)
    for cut in range(len(data)):
        assert sparse.pax_lines(data[:cut]) is None


def test_a_sparse_map_of_too_many_segments_is_told():
    with pytest.raises(ValueError, match="has 1000001 segments, more than 1000000"):
        sparse.pax_lines(b"1000001\n")
    with pytest.raises(ValueError, match="is not a number"):
        sparse.pax_lines(b"two\n")


@pytest.mark.parametrize(
    ("segments", "size", "stored", "problem"),
    [
        ([Segment(4, 2), Segment(0, 2)], 10, 4, "out of order"),
        ([Segment(0, 4), Segment(3, 2)], 10, 6, "out of order"),
        ([Segment(8, 4)], 10, 4, "does not fit"),
        ([Segment(0, 4)], 10, 3, "does not fit"),
    ],
)
def test_sparse_maps_must_fit_their_file(segments, size, stored, problem):
    sparse.check_segments([Segment(0, 4), Segment(4, 0), Segment(9, 1)], 10, 5)
    with pytest.raises(ValueError, match=problem):
        sparse.check_segments(segments, size, stored)
