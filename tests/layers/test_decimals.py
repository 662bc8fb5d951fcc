from __future__ import annotations

import pytest

from layers.decimals import decimal


@pytest.mark.parametrize(
    ("text", "most", "number"),
    [
        ("0", 0, 0), ("7", 7, 7), ("8", 7, None), ("0007", 7, 7), ("10", 7, None), ("000", 7, 0),
        ("", 7, None), ("-1", 7, None), ("+1", 7, None), (" 1", 7, None), ("1_0", 99, None),
        ("٣", 7, None), ("²", 7, None), ("9" * 5000, 2**64, None), ("0" * 5000 + "1", 7, 1),
    ],
)  # fmt: skip
def test_digits_are_a_number_up_to_the_most(text, most, number):
    assert decimal(text, most) == number
