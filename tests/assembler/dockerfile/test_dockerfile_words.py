"""Words, JSON arrays and flags."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.dockerfile.flags import parse_flags, split_command
from assembler.dockerfile.words import WordError, parse_array, split_blanks, split_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\u3000c", ["a", "b", "c"]),
        (" a=\"b c\" d='e f' ", ['a="b c"', "d='e f'"]),
        ("a\\ b 'c\\' d", ["a\\ b", "'c\\'", "d"]),
        ('"a\\" b" c', ['"a\\" b"', "c"]),
        ("\"it's\" '\"'", ['"it\'s"', "'\"'"]),
        ("a'b c", ["a'b c"]),
        ("a b\\", ["a", "b"]),
        ('"" a', ['""', "a"]),
        ("", []),
        ("\x1c", ["\x1c"]),
    ],
)
def test_words_keep_quotes_and_escapes(text, expected):
    assert split_words(text, "\\") == expected


def test_blanks_are_ascii_and_parts_can_be_limited():
    assert split_blanks("a \t b\xa0c d") == ["a", "b\xa0c", "d"]
    assert split_blanks("a  b c", 2) == ["a", "b c"]
    assert split_blanks("") == []


@given(st.lists(st.text()))
def test_every_array_of_strings_is_read_as_json_reads_it(strings):
    clean = [s for s in strings if s.encode("utf-8", "replace").decode() == s]
    assert parse_array(json.dumps(clean)) == tuple(clean)
    assert parse_array(json.dumps(clean, ensure_ascii=False)) == tuple(clean)


def test_half_a_surrogate_pair_in_json_becomes_the_replacement_character():
    assert parse_array('["\\ud83d\\ude00 \\ud83d"]') == ("\U0001f600 \ufffd",)


@pytest.mark.parametrize(
    "text",
    ["a", "", "['a']", '["a"', '["a",]', '["a"] b', '["a" "b"]', "[a]", "[NaN]", "[-Infinity]",
     '["\t"]', "[" * 100_000, "{}"],
)  # fmt: skip
def test_what_is_no_valid_array_is_shell_form(text):
    assert parse_array(text) is None


@pytest.mark.parametrize("item", ["1", "1.5", "true", "null", "{}", '["a"]', "9" * 5000])
def test_an_array_of_anything_but_strings_is_refused(item):
    with pytest.raises(WordError, match="is not a string"):
        parse_array(f'["a", {item}]')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN", ("RUN", [], "")),
        (" RUN\ta  b ", ("RUN", [], "a  b")),
        ("RUN --a=b --c d", ("RUN", ["--a=b", "--c"], "d")),
        ("RUN --a='b c' --\"d\"=e\\ f g", ("RUN", ["--a=b c", "--d=e f"], "g")),
        ("RUN --a='b\\'c' d", ("RUN", ["--a=b'c"], "d")),
        ("RUN --a=b -- --c d", ("RUN", ["--a=b"], "--c d")),
        ("RUN -a --b", ("RUN", [], "-a --b")),
        ("RUN --a", ("RUN", ["--a"], "")),
        ("RUN --a\\", ("RUN", ["--a"], "")),
        ("RUN --a='b c", ("RUN", ["--a=b c"], "")),
        ("RUN --", ("RUN", [], "")),
    ],
)
def test_flags_are_taken_from_the_front(text, expected):
    assert split_command(text, "\\") == expected


def test_flags_have_values_or_are_switches():
    flags = parse_flags("COPY", ["--chown=a=b", "--exclude=x", "--exclude=y", "--link"])
    assert flags.text("chown") == "a=b"
    assert flags.text("chmod") == ""
    assert flags.all("exclude") == ("x", "y")
    assert flags.switch("link") is True
    assert flags.switch("parents") is None
    assert parse_flags("COPY", ["--link=FALSE"]).switch("link") is False


@pytest.mark.parametrize(
    ("keyword", "word", "problem"),
    [
        ("COPY", "--form=a", "did you mean --from. There is --from"),
        ("COPY", "--zzz", "there is --from, --chown, --chmod, --link, --parents, --exclude"),
        ("COPY", "--checksum=a", "unknown"),
        ("COPY", "--=a", "unknown"),
        ("ENV", "--a", "ENV takes no flags"),
        ("COPY", "--from", "no value; write --from=VALUE"),
        ("COPY", "--link=yes", "neither true nor false"),
        ("COPY", "--link=", "neither true nor false"),
    ],
)
def test_wrong_flags_are_refused(keyword, word, problem):
    with pytest.raises(WordError, match=problem):
        parse_flags(keyword, [word])


def test_a_flag_given_twice_is_refused():
    with pytest.raises(WordError, match="--from is given twice"):
        parse_flags("COPY", ["--from=a", "--from=a"])
