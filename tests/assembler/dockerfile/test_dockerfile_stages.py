"""Whole Dockerfiles."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.dockerfile import expand_instruction, parse, parse_trigger
from assembler.errors import DockerfileError

MULTI = """\
# syntax=docker/dockerfile:1.7
ARG V=1 W
FROM a:$V AS One
RUN b
FROM c
FROM one AS one
COPY --from=0 /d /e
"""


def test_stages_are_told_with_their_instructions():
    parsed = parse(MULTI)
    assert parsed.name == "Dockerfile"
    assert [arg.arguments for arg in parsed.global_args] == [(("V", "1"), ("W", None))]
    assert [(s.index, s.name, s.from_.image) for s in parsed.stages] == [
        (0, "one", "a:$V"), (1, "", "c"), (2, "one", "one"),
    ]  # fmt: skip
    assert [[i.keyword for i in s.instructions] for s in parsed.stages] == [["RUN"], [], ["COPY"]]
    assert parsed.last is parsed.stages[2]
    assert parsed.escape == "\\"


def test_from_means_the_last_earlier_stage_of_that_name():
    parsed = parse(MULTI)
    assert parsed.stage_before("one", 2) is parsed.stages[0]
    assert parsed.stage_before("one", 3) is parsed.stages[2]
    assert parsed.stage_before("one", 0) is None
    assert parsed.stage_before("ONE", 2) is parsed.stages[0]
    assert parsed.stage_before("", 3) is None


def test_stages_are_found_by_name_in_any_case_or_by_number():
    parsed = parse(MULTI)
    assert parsed.find("ONE") is parsed.stages[2]
    assert parsed.find("1") is parsed.stages[1]
    assert parsed.find("3") is None
    assert parsed.find("9" * 5000) is None
    assert parsed.find("two") is None
    assert parsed.find("") is None


def test_a_second_stage_of_the_same_name_is_warned_of():
    assert parse(MULTI).warnings == (
        "Dockerfile:6: there is an earlier stage called 'one'; give one of them another name",
    )


@pytest.mark.parametrize(
    "syntax", ["docker/dockerfile:1", "docker.io/docker/dockerfile:1.4-labs x"]
)
def test_a_known_syntax_is_not_warned_of(syntax):
    assert parse(f"# syntax={syntax}\nFROM a").warnings == ()


def test_another_syntax_is_warned_of():
    (warning,) = parse("# check=x\n# syntax=some/thing:1 y\nFROM a", "D").warnings
    assert warning.startswith("D:2: syntax=some/thing:1 is not docker/dockerfile:1;")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "no instructions"),
        ("\n# a\n", 1, "no instructions"),
        ("ARG a\n\nARG b\n", 3, "there is no FROM"),
        ("ARG a\nRUN b\nFROM c", 2, "RUN b: before the first FROM only ARG"),
    ],
)
def test_what_is_no_dockerfile(text, line, problem):
    with pytest.raises(DockerfileError, match=problem) as caught:
        parse(text)
    assert caught.value.line == line


def test_a_trigger_is_one_instruction():
    trigger = parse_trigger("COPY <<E /a\n$b\nE", "ONBUILD of x")
    assert trigger.inline[0].text == "$b\n"
    for text, problem in (("", "this is 0"), ("RUN a\nRUN b", "this is 2"), ("FOO", "FOO")):
        with pytest.raises(DockerfileError, match=f"^ONBUILD of x:1: .*{problem}"):
            parse_trigger(text, "ONBUILD of x")


def test_long_files_and_lines_are_read_in_time():
    begin = time.process_time()
    assert len(parse("FROM a\n" + "ENV a=b c='d'\n" * 20_000).last.instructions) == 20_000
    assert len(parse("FROM a\nENV " + "a=b " * 40_000).last.instructions[0].pairs) == 40_000
    parse("FROM a\nRUN <<E " + "a '<<' b " * 20_000 + "\n" + "x" * 900_000 + "\nE")
    assert time.process_time() - begin < 10


FRAGMENTS = st.lists(
    st.sampled_from(
        ["FROM x", "\n", "RUN ", "COPY ", "ENV ", "a=b", "<<E", "E", "\\", "`", "#", '"', "'", "[",
         "]", "$", "${", "}", "--from=", " ", "\t", "ONBUILD ", "HEALTHCHECK ", "CMD ", "\r\n", "é",
         "\0", "ARG ", "a", ":-", "/", "%", "*", "<<-", "# escape=`\n", "VOLUME ", "EXPOSE ", ","]
    ),
    max_size=40,
)  # fmt: skip


def problem_of(data):
    """Read and expand; return the error, if there is one. No other may come."""
    try:
        parsed = parse(data)
        for stage in parsed.stages:
            for instruction in (stage.from_, *stage.instructions):
                expand_instruction(instruction, {"a": "b"}.get, parsed.escape)
    except DockerfileError as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(FRAGMENTS.map("".join) | st.text(), st.sampled_from(["", "FROM x\n", "FROM x\nCOPY "]))
def test_nothing_but_dockerfile_errors_comes_of_any_text(text, begin):
    error = problem_of(begin + text)
    assert error is None or str(error).startswith(f"Dockerfile:{error.line}: ")


@settings(max_examples=100, deadline=None)
@given(st.binary())
def test_nothing_but_dockerfile_errors_comes_of_any_bytes(data):
    error = problem_of(b"FROM x\n" + data)
    assert error is None or 1 <= error.line <= data.count(b"\n") + 2


@pytest.mark.parametrize(
    "line",
    [
        "RUN cat " + "<<E " * 60_000, "RUN cat " + "<<-'E' " * 60_000,
        "ONBUILD RUN " + "<<E " * 60_000,
        "COPY " + "<<E " * 60_000 + "/x/", "COPY " + "--exclude=<<E " * 60_000 + "a /x/",
        "COPY " + "--exclude=a " * 80_000 + "a /x/", "RUN " + "--mount=target=/a " * 50_000 + "a",
    ],
)  # fmt: skip
def test_many_words_of_one_line_are_read_in_linear_time(line):
    begin = time.process_time()
    with suppress(DockerfileError):
        parse(f"FROM a\n{line}\n" + "E\n" * line.count("<<"))
    assert time.process_time() - begin < 8
