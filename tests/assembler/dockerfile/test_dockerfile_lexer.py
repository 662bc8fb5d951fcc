"""Text into logical lines."""

from __future__ import annotations

import time

import pytest

from assembler.dockerfile.heredocs import parse_opening
from assembler.dockerfile.lexer import Limits, read
from assembler.errors import DockerfileError


def lines(text):
    return read(text, "Dockerfile").lines


def refused(data, problem, limits=None):
    with pytest.raises(DockerfileError, match=problem) as caught:
        read(data, "Dockerfile", limits)
    return caught.value.line


def test_an_instruction_is_cut_into_keyword_flags_and_rest():
    (line,) = lines("  copy --link\t--chown='a b' -- --x y  ")
    assert (line.keyword, line.flags, line.rest) == ("COPY", ("--link", "--chown=a b"), "--x y")
    assert line.text == "copy --link\t--chown='a b' -- --x y  "


def test_comments_and_empty_lines_are_skipped():
    assert [line.rest for line in lines("# a\n\n  # b\n \t\nRUN a # b\n#")] == ["a # b"]


def test_continued_lines_are_joined_as_they_stand():
    (line,) = lines("RUN a \\\n   b\\  \n\tc")
    assert line.rest == "a    b\tc"


def test_comments_and_empty_lines_inside_a_continued_instruction_are_skipped():
    text = read("RUN a \\\n# one\n   # two\n\n \\\n b", "D")
    assert text.lines[0].rest == "a   b"
    assert text.warnings == (
        "D:4: an empty line inside a continued instruction; remove it, later Docker versions may "
        "refuse it",
    )


def test_a_long_list_of_warnings_ends():
    text = read("RUN a \\\n" + "\n" * 50_000 + " b", "D")
    assert len(text.warnings) == 21
    assert text.warnings[-1] == "D: 49,980 more empty lines inside continued instructions"


@pytest.mark.parametrize("ending", ["\\\\", "\\\\\\", "\\ x"])
def test_what_does_not_end_in_one_escape_character_is_not_continued(ending):
    assert [line.rest for line in lines(f"RUN a{ending}\nRUN b")] == [f"a{ending}", "b"]


def test_a_line_of_the_escape_character_alone_continues_into_the_next():
    (line,) = lines("\\\nRUN a")
    assert (line.keyword, line.location.start, line.location.end) == ("RUN", 1, 2)


def test_an_escape_character_at_the_end_of_the_file_is_dropped():
    assert lines("RUN a \\")[0].rest == "a"
    assert lines("RUN a \\\n\n# b\n")[0].location.end == 3


def test_an_escape_character_that_continues_nothing_is_refused():
    assert refused("RUN a\n\\\n  \n", "continues nothing") == 2


def test_instructions_know_their_first_and_last_line_and_their_text():
    found = lines("\n# c\nFROM a\nRUN b \\\n  # c\n  d\nCOPY <<E /x\n1\nE\n\nCMD e\n")
    assert [(line.location.start, line.location.end) for line in found] == [
        (3, 3), (4, 6), (7, 9), (11, 11),
    ]  # fmt: skip
    assert found[1].location.text == "RUN b \\\n  # c\n  d"
    assert found[2].location.text == "COPY <<E /x\n1\nE"


def test_carriage_returns_before_line_ends_and_a_byte_order_mark_do_not_matter():
    text = "# escape=`\r\nFROM a\r\nRUN b `\r\n  c\r\n"
    for data in (b"\xef\xbb\xbf" + text.encode(), "\ufeff" + text):
        assert [line.rest for line in lines(data)] == ["a", "b   c"]


def test_only_ascii_blanks_end_a_keyword():
    assert [line.keyword for line in lines("RUN\va\nRUN\xa0b")] == ["RUN", "RUN\xa0b"]


def test_directives_are_read_at_the_top_in_any_case():
    text = read("#escape=`\n  # SYNTAX = docker/dockerfile:1 \n# check=skip=all\nRUN a`\nb", "D")
    assert text.directives == {
        "escape": "`", "syntax": "docker/dockerfile:1", "check": "skip=all",
    }  # fmt: skip
    assert text.escape == "`"
    assert text.lines[0].rest == "ab"


@pytest.mark.parametrize("before", ["# a comment\n", "\n", "# key=value\n", "#!/bin/sh\n"])
def test_anything_else_ends_the_directives(before):
    assert read(f"{before}# escape=`\nRUN a", "D").directives == {}


def test_directives_alone_are_no_instructions():
    assert read("# escape=`", "D").lines == ()


@pytest.mark.parametrize("key", ["escape=`", "syntax=a", "check=a"])
def test_a_directive_given_twice_is_refused(key):
    assert refused(f"#{key}\n#{key.upper()}\nFROM a", "given twice") == 2


def test_an_escape_character_must_be_one_of_two():
    assert refused("# escape=x\nFROM a", "must be") == 1


def heredocs(text):
    return [(h.name, h.content, h.opening.expand, h.opening.chomp) for h in lines(text)[0].heredocs]


def test_here_documents_hold_what_stands_between():
    assert heredocs("RUN <<EOF\n# a\n \\\nFROM b\nEOF") == [
        ("EOF", "# a\n \\\nFROM b\n", True, False)
    ]
    assert heredocs("ADD <<EOF /x\nEOF") == [("EOF", "", True, False)]


def test_several_here_documents_come_in_order():
    found = heredocs("COPY <<B <<A /x\nA\nB\nB\nA")
    assert [(name, content) for name, content, *_ in found] == [("B", "A\n"), ("A", "B\n")]


@pytest.mark.parametrize("word", ["'E'", '"E"', "'E'''", 'E""'])
def test_a_quoted_delimiter_means_no_expansion(word):
    assert heredocs(f"RUN <<{word}\n$a\nE") == [("E", "$a\n", False, False)]


def test_a_quoted_delimiter_may_have_spaces_and_quotes():
    assert heredocs("RUN <<'a b'\na b")[0][0] == "a b"
    assert heredocs("RUN <<a\\'b\na'b") == [("a'b", "", True, False)]


def test_a_hyphen_takes_leading_tabs_off_the_delimiter_and_the_text():
    (heredoc,) = lines("RUN cat <<-E\n\t\ta\n\tE\n")[0].heredocs
    assert (heredoc.content, heredoc.text) == ("\t\ta\n", "a\n")
    (heredoc,) = lines("RUN cat <<E\n\ta\n\tE\nE\n")[0].heredocs
    assert heredoc.text == "\ta\n\tE\n"


def test_here_documents_keep_their_line_ends():
    assert heredocs("RUN <<E\r\na\r\nE\r\n")[0][1] == "a\r\n"


def test_here_documents_work_in_onbuild_and_behind_flags_and_descriptors():
    for text in ("ONBUILD RUN <<E\na\nE", "RUN --network=none 3<<E\na\nE", "RUN << E >f\na\nE"):
        assert heredocs(text) == [("E", "a\n", True, False)]


@pytest.mark.parametrize(
    "text",
    [
        "RUN '<<E'", 'RUN "<<E"', 'RUN ["<<E"]', "RUN a <<<E", "RUN <<", "RUN 1<2", "USER <<E",
        "CMD cat <<E", "ONBUILD USER <<E", "ONBUILD ONBUILD RUN <<E", "RUN it's <<E",
        "RUN ${a!b} <<E", 'ONBUILD COPY ["<<E", "/"]',
    ],
)  # fmt: skip
def test_what_opens_no_here_document(text):
    assert [line.heredocs for line in lines(f"{text}\nE")] == [(), ()]


@pytest.mark.parametrize("word", ["", "E", "<<", "<<-", "<E", "<<<E", "<<E sh", "<<''", "<< "])
def test_words_that_are_no_opening(word):
    assert parse_opening(word) is None


@pytest.mark.parametrize("word", ["<<E", "<<-'E'", '2<<"E"', "<<- E", "<<E''"])
def test_words_that_are_openings(word):
    assert parse_opening(word).name == "E"


def test_variables_in_a_delimiter_stay():
    assert heredocs("RUN <<$E\n$E")[0][0] == "$E"
    assert heredocs("RUN <<${E:-x}\n${E:-x}")[0][0] == "${E:-x}"


def test_a_here_document_without_its_end_is_refused():
    assert refused("FROM a\nRUN <<E\nb\n E\n", "here-document 'E' does not end") == 2


def test_an_array_of_anything_but_strings_is_refused_where_here_documents_are_looked_for():
    assert refused('FROM a\nCOPY ["<<E", 1]', "not a string") == 2


@pytest.mark.parametrize("data", [b"FROM a\n\xff", b"FROM a\nRUN \xc3", b"FROM a\n\x80\nFROM b"])
def test_what_is_not_utf8_is_refused_with_its_line(data):
    assert refused(data, "UTF-8") == 2


def test_half_a_surrogate_pair_is_refused():
    assert refused("FROM a\nRUN \ud800", "surrogate") == 2


def test_a_nul_is_refused():
    assert refused(b"FROM a\n\nRUN \0", "NUL") == 3


def test_more_bytes_than_the_limit_are_refused():
    assert refused("é" * 6, "more than 10 bytes", Limits(total=10)) == 1


def test_more_lines_than_the_limit_are_refused():
    assert read("#\n" * 3, "D", Limits(lines=3)).lines == ()
    assert refused("#\n" * 4, "more than 3 lines", Limits(lines=3)) == 4


def test_a_line_longer_than_the_limit_is_refused():
    assert refused("FROM a\nRUN b\\\n" + "c" * 11, "more than 10", Limits(line=10)) == 3


def test_an_instruction_longer_than_the_limit_is_refused():
    assert refused("FROM a\nRUN b\\\n" + "ccc\\\n" * 3, "more than 10", Limits(line=10)) == 2


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"FROM a\n" + b"#" * 10_000_000, "10,000,000 bytes"),
        (b"FROM a\nRUN " + b"b" * 1_000_000, "1,000,000 characters"),
        (b"RUN a \\\n" * 100_001, "100,000 lines"),
    ],
)
def test_monsters_are_refused_at_once(data, problem):
    begin = time.process_time()
    refused(data, problem)
    assert time.process_time() - begin < 2


def test_errors_show_how_the_instruction_begins():
    error = lines("RUN \x1b[1m" + "a" * 100)[0].error("no")
    assert error.message == "RUN \\x1b[1m" + "a" * 52 + "...: no"
