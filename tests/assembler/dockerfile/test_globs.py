"""Path patterns and `.dockerignore`: the cases of Moby's documentation, and hostile ones."""

from __future__ import annotations

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.dockerfile.globs import GlobError, has_wildcards, match_deep, match_path, unescape
from assembler.dockerfile.ignore import Rules


def excluded(rules, path):
    state, found = (), False
    names = path.split("/")
    for count in range(1, len(names) + 1):
        found, state = rules.match("/".join(names[:count]), state)
    return found


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**", "file", True), ("**", "dir/file", True), ("**/", "dir/file", True),
        ("dir/**", "dir/file", True), ("dir/**", "dir/dir2/file", True), ("dir/**", "dir", False),
        ("**/dir", "dir", True), ("**/dir", "dir/file", True), ("**/dir", "a/b/dir", True),
        ("**/dir2/*", "dir/dir2/file", True), ("**/dir2/**", "dir/dir2/dir2/file", True),
        ("**file", "file", True), ("**file", "dir/file", True), ("**file", "dir/afile", True),
        ("**/file", "dir/afile", False), ("**file*txt", "dir/file.txt", True),
        ("a**/*.txt", "a/dir/file.txt", True), ("a/*.txt", "a/dir/file.txt", False),
        ("a/*.txt**", "a/file.txt", True), ("a[b-d]e", "ae", False), ("a[b-d]e", "ace", True),
        ("a[^b-d]e", "aze", True), ("a[^b]e", "a/e", False), (".*", ".foo", True),
        ("abc.def", "abcdef", False), ("*/foo", "bar/foo/bar", True), ("abc**", "abcd", True),
        ("\\*", "*", True), ("\\*", "x", False), ("**/.foo", "bar.foo", False),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", True), ("/a", "a", True), ("./a", "a", True),
        ("a/../b", "b", True), ("a//b", "a/b", True), ("a/", "a/x", True), ("[]]", "]", True),
        ("[\\]]", "]", True), ("x?", "x/", False), ("x?", "xy", True),
    ],
)  # fmt: skip
def test_patterns_match_as_mobys(pattern, path, expected):
    assert excluded(Rules.of([pattern]), path) is expected


def test_the_last_rule_wins_and_a_directory_takes_its_contents_along():
    rules = Rules.parse("\ufeff# comment\n\n*\n!keep\nkeep/not\n!keep/not/but\n")
    assert rules.takes_back
    assert excluded(rules, "other/x")
    assert not excluded(rules, "keep/x")
    assert excluded(rules, "keep/not/x")
    assert not excluded(rules, "keep/not/but/x")
    assert not Rules.parse("a\nb").takes_back


def test_the_reason_is_the_pattern_that_excludes():
    rules = Rules.parse("*.md\n!README.md\ndocs\n")
    assert rules.reason("x.md") == "*.md"
    assert rules.reason("README.md") is None
    assert rules.reason("docs/a/b") == "docs"
    assert rules.reason("other") is None


@pytest.mark.parametrize("pattern", ["[", "a[", "[a", "[]", "[b-a]", "a\\", "!", "[a-", "**/" * 9])
def test_malformed_patterns_are_named_with_their_line(pattern):
    with pytest.raises(GlobError, match="line 2: pattern "):
        Rules.parse(f"fine\n{pattern}\n")
    with pytest.raises(GlobError, match="pattern "):
        Rules.of([pattern])


def test_a_path_pattern_stays_in_its_components():
    assert match_path("a*c*e").fullmatch("abcde")
    assert not match_path("a*c").fullmatch("a/c")
    assert match_path("**").fullmatch("a")
    assert not match_path("**").fullmatch("a/b")
    assert match_path("*/*.c").fullmatch("src/x.c")


def test_wildcards_are_told_from_escaped_ones():
    assert has_wildcards("a*")
    assert has_wildcards("[x]")
    assert not has_wildcards("a\\*\\[")
    assert unescape("a\\*\\[b") == "a*[b"


@pytest.mark.parametrize("match", [match_path, match_deep])
def test_many_stars_take_no_ages(match):
    began = time.process_time()
    assert not match("*a" * 100 + "b").fullmatch("a" * 250)
    assert time.process_time() - began < 5


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_one_component_is_what_fnmatch_says(pattern, name):
    expected = re.fullmatch(fnmatch.translate(pattern), name) is not None
    assert (match_path(pattern).fullmatch(name) is not None) is expected
