from __future__ import annotations

from layers.abridged import abridged


def test_what_is_short_is_shown_whole():
    assert abridged([]) == ""
    assert abridged(["a", "b"], "; ") == "a; b"


def test_a_long_list_ends_with_how_many_more_there_are():
    assert abridged([str(number) for number in range(50_000)], most=2) == "0, 1 and 49,998 more"


def test_long_items_are_cut():
    assert abridged(["x" * 1_000_000, "y"]) == "x" * 200 + "..., y"
