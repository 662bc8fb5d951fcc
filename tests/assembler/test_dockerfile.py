"""Reading Dockerfiles: text in, instructions out."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.dockerfile import (
    ExecForm,
    ExpansionError,
    ShellForm,
    expand,
    expand_instruction,
    expand_words,
    parse,
)
from assembler.dockerfile import instructions as ast
from assembler.dockerfile.durations import parse_duration
from assembler.dockerfile.patterns import PatternError, match_lengths, parse_pattern
from assembler.dockerfile.words import WordError
from assembler.errors import DockerfileError


def only(text):
    """The one instruction after FROM."""
    (instruction,) = parse(f"FROM x\n{text}").stages[0].instructions
    return instruction


def refused(text, problem):
    with pytest.raises(DockerfileError, match=problem) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENV a=b c='d e' f=\"g\"", [("a", "b"), ("c", "'d e'"), ("f", '"g"')]),
        ("ENV a b  c", [("a", "b  c")]),
        ("env\ta=b", [("a", "b")]),
        ("LABEL a=b", [("a", "b")]),
        ("ENV a=b\\ c", [("a", "b\\ c")]),
    ],
)
def test_pairs(text, expected):
    assert list(only(text).pairs) == expected


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("WORKDIR /a b", "path", "/a b"),
        ("USER a b", "user", "a b"),
        ("STOPSIGNAL 9", "signal", "9"),
        ("MAINTAINER me <a@b>", "name", "me <a@b>"),
        ("VOLUME a b", "paths", ("a", "b")),
        ('VOLUME ["a b", " c "]', "paths", ("a b", "c")),
        ("EXPOSE 81 80/udp", "ports", ("80/udp", "81")),
        ("CMD echo [1]", "command", ShellForm("echo [1]")),
        ('CMD ["a", "b"]', "command", ExecForm(("a", "b"))),
        ("CMD ['a']", "command", ShellForm("['a']")),
        ("CMD", "command", ShellForm("")),
        ("ENTRYPOINT x", "command", ShellForm("x")),
        ('SHELL ["a"]', "words", ("a",)),
        ("ARG a b=c d=", "arguments", (("a", None), ("b", "c"), ("d", ""))),
        ("ONBUILD RUN x", "expression", "RUN x"),
        (
            "RUN --mount=type=cache --mount=type=bind x",
            "flags",
            (("mount", "type=cache"), ("mount", "type=bind")),
        ),
        ("RUN -- --x", "command", ShellForm("--x")),
        ("COPY --link a b c/", "sources", ("a", "b")),
        ('ADD ["a b", "c"]', "destination", "c"),
        ("HEALTHCHECK NONE", "command", None),
        ("HEALTHCHECK --interval=1m30s --retries=3 CMD a b", "interval", 90 * 10**9),
    ],
)
def test_forms(text, kind, value):
    assert getattr(only(text), kind) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no instructions"),
        ("# only\n\n", "no instructions"),
        ("ARG a", "no FROM"),
        ("RUN x\nFROM x", "before the first FROM"),
        ("FROM", "must follow"),
        ("FROM a b", "expected FROM IMAGE"),
        ("FROM a AS 1b", "no stage name"),
        ("FROM x\nCOPPY a b", "did you mean COPY"),
        ("FROM x\nZZZZ a b", "is no instruction"),
        ("FROM x\nENV a", "has no value"),
        ("FROM x\nENV a=b c", "has no ="),
        ("FROM x\nENV =b", "no name before"),
        ("FROM x\nARG =b", "no name before"),
        ("FROM x\nENV", "must follow"),
        ("FROM x\nVOLUME []", "array is empty"),
        ('FROM x\nVOLUME [""]', "must not be empty"),
        ("FROM x\nCMD [1]", "strings only"),
        ("FROM x\nSHELL sh", "JSON array"),
        ("FROM x\nRUN", "a command must follow"),
        ("FROM x\nCOPY a", "at least one source"),
        ("FROM x\nCOPY --from=$a a b", "cannot hold a variable"),
        ("FROM x\nCOPY --frm=a a b", "there is --from"),
        ("FROM x\nCOPY --chown a b", "needs a value"),
        ("FROM x\nCOPY --chown=a --chown=b a b", "once only"),
        ("FROM x\nCOPY --link=maybe a b", "true or false"),
        ("FROM x\nCOPY --chown='a a b", "not closed"),
        ("FROM x\nHEALTHCHECK NONE x", "stands alone"),
        ("FROM x\nHEALTHCHECK TEST x", "expected NONE or CMD"),
        ("FROM x\nHEALTHCHECK --retries=x CMD y", "no number"),
        ("FROM x\nHEALTHCHECK --interval=5 CMD y", "no duration"),
        ("FROM x\nONBUILD FROM y", "cannot be a trigger"),
        ("FROM x\nRUN <<E\nfoo", "does not end"),
        ("# escape=\\\n# escape=`\nFROM x", "once only"),
        ("# escape=x\nFROM x", "must be"),
        (b"FROM x\n\xff", "not UTF-8"),
        ("FROM x\n\0", "NUL"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, problem):
    error = refused(text, problem)
    assert str(error).startswith(f"Dockerfile:{error.line}: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM x\n" + "#" * 10_000_000, "10,000,000 characters"),
        ("FROM x\n" * 100_001, "100,000 lines"),
        ("FROM x\nRUN " + "y" * 1_000_001, "1,000,000 characters"),
        ("FROM x\nRUN " + "y\\\n" * 600_000, "lines"),
    ],
)
def test_monsters_are_refused(text, problem):
    refused(text, problem)


def test_lines_are_joined_and_counted():
    parsed = parse(
        "\ufeff# c\r\nFROM x\r\n\r\nRUN a \\\r\n  # inside\r\n\r\n  b \\  \r\n  c\r\nCMD d"
    )
    run, cmd = parsed.stages[0].instructions
    assert run.command.text == "a   b   c"
    assert (run.location.start, run.location.end) == (4, 8)
    assert cmd.location.start == 9
    assert any("empty line" in warning for warning in parsed.warnings)


def test_the_escape_character_can_be_a_backtick():
    parsed = parse("# escape=`\n# syntax=docker/dockerfile:1\nFROM x\nRUN a `\n b\\")
    assert parsed.stages[0].instructions[0].command.text == "a  b\\"
    assert parsed.escape == "`"


def test_unknown_directives_are_comments_and_end_the_directives():
    parsed = parse("# foo=bar\n# escape=`\nFROM x\nRUN a \\\n b")
    assert len(parsed.stages[0].instructions) == 1
    assert parse("# syntax=other/x\nFROM x").warnings


def test_here_documents():
    text = "FROM x\nRUN <<A cat <<-'B C'\n1\nA\n\t2\n\tB C\nCOPY <<f /x\n$y\nf\nCMD z"
    run, copy, cmd = parse(text).stages[0].instructions
    assert [(h.name, h.content, h.expand, h.chomp) for h in run.heredocs] == [
        ("A", "1\n", True, False), ("B C", "2\n", False, True),
    ]  # fmt: skip
    assert copy.heredocs[0].content == "$y\n"
    assert cmd.location.start == 10
    assert only("ONBUILD RUN <<E\nx\nE").trigger.heredocs[0].content == "x\n"
    assert only("RUN echo 1 << 2").heredocs == ()


def test_stages():
    parsed = parse("ARG v=1\nFROM a AS One\nFROM b AS one\nFROM --platform=$P ONE")
    assert [stage.name for stage in parsed.stages] == ["one", "one", ""]
    assert parsed.stage_before("ONE", 2) is parsed.stages[1]
    assert parsed.stage_before("one", 0) is None
    assert parsed.stage_before("1", 2) is None
    assert any("give it another name" in warning for warning in parsed.warnings)
    assert parsed.global_args[0].arguments == (("v", "1"),)
    assert parsed.stages[2].from_.platform == "$P"
    assert parsed.stages[0].from_.keyword == "FROM"


VALUES = {"x": "a/b.tar.gz", "e": "", "s": "one  two", "star": "a*b"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$x ${x}", "a/b.tar.gz a/b.tar.gz"),
        ("$none-", "-"),
        (r"\$x '$x' \"", '$x $x "'),
        ('"$x" "\\$x" "\\n" "\\""', 'a/b.tar.gz $x \\n "'),
        ("${e:-w} ${e-w} ${n-w} ${n:-$x}", "w  w a/b.tar.gz"),
        ("${x:+w} ${e:+w} ${e+w} ${n+w}", "w  w "),
        ("${x#*/} ${x##*.} ${x%.*} ${x%%.*}", "b.tar.gz gz a/b.tar a/b"),
        ("${x/./-} ${x//./-} ${x/a*b/-}", "a/b-tar.gz a/b-tar-gz -.tar.gz"),
        ("${x/none/-} ${x//?/-} ${x//z/}", "a/b.tar.gz ---------- a/b.tar.g"),
        (r"${star#a\*} ${star/\*/+} ${x///}", "b a+b a/b.tar.gz"),
        ("${x:?no} ${e?no}", "a/b.tar.gz "),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("${n:-a}b}", "ab}"),
        ("$1$@", ""),
        ("a\\", "a"),
    ],
)
def test_expansion(text, expected):
    assert expand(text, VALUES.get) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${", "a name must follow"),
        ("${x", "not closed"),
        ("${x:-a", "not closed"),
        ("${x!y}", "no operator"),
        ("${n:?gone}", "n: gone"),
        ("${n?}", "it is not set"),
        ("'a", "single quote"),
        ('"a', "double quote"),
        ("${n:-" * 60 + "}" * 60, "nested"),
    ],
)
def test_malformed_expansions(text, problem):
    with pytest.raises(ExpansionError, match=problem):
        expand(text, VALUES.get)


def test_words_are_split_after_expansion():
    assert expand_words("a$s \"$s\" '' b\\ c", VALUES.get) == ["aone", "two", "one  two", "", "b c"]


def test_results_and_patterns_have_limits():
    with pytest.raises(ExpansionError, match="too long"):
        expand("$l" * 3, {"l": "x" * 6_000_000}.get)
    with pytest.raises(ExpansionError, match="too long for this pattern"):
        expand("${l#*a*b}", {"l": "x" * 6_000_000}.get)
    with pytest.raises(ExpansionError, match="too long for this pattern"):
        expand("${l/a*b/}", {"l": "x" * 10_000}.get)


def test_only_what_no_shell_will_expand_is_expanded():
    def expanded(text):
        return expand_instruction(only(text), {"a": "1 2"}.get)

    assert expanded("ENV x=$a y='$a'").pairs == (("x", "1 2"), ("y", "$a"))
    assert expanded("VOLUME /$a").paths == ("/1 2",)
    assert expanded("EXPOSE $a").ports == ("1", "2")
    assert expanded("WORKDIR $a").path == "1 2"
    assert expanded("USER $a").user == "1 2"
    assert expanded("STOPSIGNAL $a").signal == "1 2"
    assert expanded("COPY --chown=$a $a x").flags == (("chown", "1 2"),)
    assert expanded("RUN $a").command.text == "$a"
    from_ = parse("FROM $a").stages[0].from_
    assert expand_instruction(from_, {"a": "i"}.get).image == "i"
    with pytest.raises(DockerfileError, match="Dockerfile:2: WORKDIR: .*not closed"):
        expanded("WORKDIR ${a")


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1h1m1s", 3661 * 10**9),
        ("1.5s", 1_500_000_000),
        (".5s", 500_000_000),
        ("3ms", 3_000_000),
    ],
)
def test_durations(text, nanoseconds):
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "-1s", "1ns", "9999999999h"])
def test_what_is_no_duration(text):
    with pytest.raises(WordError):
        parse_duration(text)


FRAGMENTS = st.lists(
    st.sampled_from(
        ["FROM x", "\n", "RUN ", "COPY ", "ENV ", "a=b", "<<E", "E", "\\", "`", "#", '"', "'", "[",
         "]", "$", "${", "}", "--from=", " ", "\t", "ONBUILD ", "HEALTHCHECK ", "CMD", "\r\n", "é",
         "\0", "ARG "]
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(FRAGMENTS, st.booleans())
def test_nothing_but_dockerfile_errors_comes_out(fragments, begin):
    text = ("FROM x\n" if begin else "") + "".join(fragments)
    try:
        for stage in parse(text).stages:
            for instruction in stage.instructions:
                expand_instruction(instruction, {"a": "b"}.get)
    except DockerfileError:
        pass


OPERATORS = st.sampled_from(["", ":-", "-", ":+", "+", "#", "##", "%", "%%"])
WORD = st.text("ab*?/.", max_size=6)


@settings(max_examples=5, deadline=None, derandomize=True, database=None)
@given(
    st.lists(
        st.tuples(OPERATORS, WORD, st.sampled_from(["", "ab/ab.a", "aab", "."])),
        min_size=60,
        max_size=60,
    )
)
def test_expansion_agrees_with_bash(cases):
    script = "\n".join(
        f"v={value!r}; printf '%s\\n' \"${{v{operator}{word if operator else ''}}}\""
        for operator, word, value in cases
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    ours = [
        expand(f"${{v{op}{word if op else ''}}}", {"v": value}.get) for op, word, value in cases
    ]
    assert ours == done.stdout.split("\n")[:-1]


@given(st.text("ab*?", max_size=5), st.text("ab", max_size=8))
def test_matching_agrees_with_fnmatch(pattern, value):
    from fnmatch import fnmatchcase

    lengths = match_lengths(parse_pattern(pattern, "\\"), value)
    assert lengths == [n for n in range(len(value) + 1) if fnmatchcase(value[:n], pattern)]


def test_a_pattern_that_takes_too_long_is_refused():
    with pytest.raises(PatternError):
        match_lengths(parse_pattern("*a" * 100, "\\"), "b" * 10**6)


def test_types_are_told_apart():
    assert isinstance(only("ADD a b"), ast.Copy)
    assert only("ADD a b").keyword == "ADD"
