"""Each instruction: what it is read as, and what is wrong with its malformed forms."""

from __future__ import annotations

import dataclasses

import pytest

from assembler.dockerfile import ExecForm, ShellForm, parse, parser
from assembler.dockerfile import instructions as ast
from assembler.dockerfile.durations import parse_duration
from assembler.dockerfile.mounttext import MountText
from assembler.dockerfile.words import WordError
from assembler.errors import DockerfileError

SECOND = 10**9


def only(text):
    """The one instruction after FROM."""
    (instruction,) = parse(f"FROM x\n{text}").last.instructions
    return instruction


def fields(text):
    """What an instruction says beside its location, as far as it differs from the defaults."""
    instruction = only(text)
    return type(instruction), {
        field.name: getattr(instruction, field.name)
        for field in dataclasses.fields(instruction)
        if field.name != "location" and getattr(instruction, field.name) != field.default
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ARG a b=c d= 'e f'=g", (ast.Arg, {"arguments": (
            ("a", None), ("b", "c"), ("d", ""), ("'e f'", "g"))})),
        ("ENV a=b c='d e' f=g\\ h i==", (ast.Env, {"pairs": (
            ("a", "b"), ("c", "'d e'"), ("f", "g\\ h"), ("i", "="))})),
        ("ENV a  b  'c=d", (ast.Env, {"pairs": (("a", "b  'c=d"),), "legacy": True})),
        ("LABEL \"a b\"=c", (ast.Label, {"pairs": (('"a b"', "c"),)})),
        ("LABEL a b c", (ast.Label, {"pairs": (("a", "b c"),), "legacy": True})),
        ("WORKDIR /a  b ", (ast.Workdir, {"path": "/a  b"})),
        ("USER a : b", (ast.User, {"user": "a : b"})),
        ("VOLUME /a\t$b", (ast.Volume, {"paths": ("/a", "$b")})),
        ('VOLUME ["/a b", " /c "]', (ast.Volume, {"paths": ("/a b", "/c")})),
        ('VOLUME ["/a"', (ast.Volume, {"paths": ('["/a"',)})),
        ("CMD a  b | c", (ast.Cmd, {"command": ShellForm("a  b | c")})),
        ('CMD ["a", "b c"]', (ast.Cmd, {"command": ExecForm(("a", "b c"))})),
        ("CMD ['a']", (ast.Cmd, {"command": ShellForm("['a']")})),
        ("CMD []", (ast.Cmd, {"command": ExecForm(())})),
        ("CMD", (ast.Cmd, {"command": ShellForm("")})),
        ("ENTRYPOINT a", (ast.Entrypoint, {"command": ShellForm("a")})),
        ('ENTRYPOINT ["a"]', (ast.Entrypoint, {"command": ExecForm(("a",))})),
        ("EXPOSE 90 80/udp\t8000-8010", (ast.Expose, {"ports": ("80/udp", "8000-8010", "90")})),
        ("STOPSIGNAL SIG TERM", (ast.StopSignal, {"signal": "SIG TERM"})),
        ('SHELL ["a", "-c"]', (ast.Shell, {"words": ("a", "-c")})),
        ("MAINTAINER A <a@b>", (ast.Maintainer, {"name": "A <a@b>"})),
        ("HEALTHCHECK none", (ast.Healthcheck, {"command": None})),
        ("HEALTHCHECK CMD\ta b", (ast.Healthcheck, {"command": ShellForm("a b")})),
        ('HEALTHCHECK --interval=1m --timeout=2s --start-period=3s --start-interval=4s --retries=5 '
         'cmd ["a"]', (ast.Healthcheck, {
             "command": ExecForm(("a",)), "interval": 60 * SECOND, "timeout": 2 * SECOND,
             "start_period": 3 * SECOND, "start_interval": 4 * SECOND, "retries": 5})),
        ("HEALTHCHECK --retries= --interval=0 CMD a",
         (ast.Healthcheck, {"command": ShellForm("a")})),
        ("RUN a && \\\n b", (ast.Run, {"command": ShellForm("a &&  b")})),
        ('RUN ["a", "b"]', (ast.Run, {"command": ExecForm(("a", "b"))})),
        ("RUN --mount=type=cache,target=/a --mount=type=tmpfs --network=none --security=insecure "
         "--device=x a", (ast.Run, {
             "command": ShellForm("a"), "mounts": (
                 MountText((("type", "cache"), ("target", "/a"))), MountText((("type", "tmpfs"),))),
             "network": "none", "security": "insecure", "devices": ("x",)})),
        ("COPY a b /c", (ast.Copy, {"sources": ("a", "b"), "destination": "/c"})),
        ('COPY ["a b", "/c d"]', (ast.Copy, {"sources": ("a b",), "destination": "/c d"})),
        ("COPY --from=Base --chown=a:b --chmod=u+x --link --parents --exclude=*.o --exclude=b a b",
         (ast.Copy, {
             "sources": ("a",), "destination": "b", "origin": "Base", "chown": "a:b",
             "chmod": "u+x", "link": True, "parents": True, "exclude": ("*.o", "b")})),
        ("ADD --checksum=sha256:ab --keep-git-dir=false --unpack --chown=1 --chmod=644 "
         "--link=false --exclude=x https://a/b c", (ast.Add, {
             "sources": ("https://a/b",), "destination": "c", "checksum": "sha256:ab",
             "keep_git_dir": False, "unpack": True, "chown": "1", "chmod": "644",
             "exclude": ("x",)})),
        ("COPY <<E <<-'F' a /b\n$c\nE\n\td\nF", (ast.Copy, {
            "sources": ("a",), "destination": "/b", "inline": (
                ast.Inline("E", "$c\n", expand=True), ast.Inline("F", "d\n", expand=False))})),
        ("ADD <<E /b\nE",
         (ast.Add, {"sources": (), "destination": "/b", "inline": (
             ast.Inline("E", "", expand=True),)})),
    ],
)  # fmt: skip
def test_forms(text, expected):
    assert fields(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a", ("a", "", "")),
        ("FROM a as B.1-c_d", ("a", "", "b.1-c_d")),
        ("from --platform=$P a@sha256:b As c", ("a@sha256:b", "$P", "c")),
    ],
)
def test_from(text, expected):
    from_ = parse(text).last.from_
    assert (from_.image, from_.platform, from_.name) == expected


def test_run_keeps_its_here_documents_beside_its_command():
    run = only("RUN <<A cat <<B\n1\nA\n2\nB")
    assert run.command == ShellForm("<<A cat <<B")
    assert [(heredoc.name, heredoc.text) for heredoc in run.heredocs] == [
        ("A", "1\n"),
        ("B", "2\n"),
    ]


def test_onbuild_keeps_its_text_as_the_image_config_will_have_it():
    onbuild = only("onbuild  copy a\tb  ")
    assert onbuild.expression == "copy a\tb  "
    assert (onbuild.trigger.sources, onbuild.trigger.destination) == (("a",), "b")
    assert onbuild.keyword == "ONBUILD"


def test_onbuild_keeps_here_documents_in_its_text():
    onbuild = only("ONBUILD COPY <<A <<B /c\n1\nA\n2\nB")
    assert onbuild.expression == "COPY <<A <<B /c\n1\nA\n2\nB"
    assert [item.text for item in onbuild.trigger.inline] == ["1\n", "2\n"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("COPPY a b", "'COPPY' is no instruction; did you mean COPY?"),
        ("xyzzy", "'XYZZY' is no instruction; there is ADD, ARG, .*WORKDIR"),
        ("\u017fHELL a", "is no instruction"),
        ("FROM", "expected an image"),
        ("FROM a b", "expected FROM IMAGE or FROM IMAGE AS NAME"),
        ("FROM a is b", "expected FROM IMAGE or FROM IMAGE AS NAME"),
        ("FROM a AS", "expected FROM IMAGE or FROM IMAGE AS NAME"),
        ("FROM a AS 1b", "'1b' is no stage name"),
        ("FROM a AS b/c", "'b/c' is no stage name"),
        ("FROM --platfrom=a b", "did you mean --platform"),
        ("ARG", "expected NAME"),
        ("ARG =a", "no name before its ="),
        ("ENV", "expected NAME=VALUE"),
        ("ENV a", "a has no value; write a=VALUE"),
        ("ENV a=b c", "c has no =; put quotes"),
        ("ENV =a", "no name before its ="),
        ("LABEL", "expected NAME=VALUE"),
        ("ENV \\", "expected NAME=VALUE"),
        ("WORKDIR", "expected a path"),
        ("USER", "expected a user"),
        ("STOPSIGNAL", "expected a signal"),
        ("MAINTAINER", "expected a name"),
        ("MAINTAINER --boo a", "MAINTAINER takes no flags"),
        ("VOLUME", "expected a path"),
        ("VOLUME []", "expected a path"),
        ('VOLUME ["a", " "]', "a path is empty"),
        ('VOLUME ["\\u0000"]', "NUL"),
        ("EXPOSE", "expected a port"),
        ("CMD [1]", "1, which is not a string"),
        ('ENTRYPOINT ["a", ["b"]]', "not a string"),
        ("SHELL", "expected a JSON array"),
        ("SHELL []", "expected a JSON array"),
        ("SHELL /bin/sh -c", "expected a JSON array"),
        ("RUN []", "the JSON array is empty"),
        ("RUN --network=some a", "--network=some is unknown; there is default, none, host"),
        ("RUN --security=none a", "there is sandbox, insecure"),
        ("RUN --mount a", "--mount has no value"),
        ("COPY", "at least one source"),
        ("COPY a", "at least one source"),
        ('COPY ["a"]', "at least one source"),
        ('COPY ["a\\u0000", "b"]', "NUL"),
        ("COPY a <<E\nE", "cannot be the destination"),
        ('COPY ["<<E", "a"]', "JSON form"),
        ("COPY << E a\nE", "'E' is opened inside a word or with spaces"),
        ("COPY <<'a b' c\na b", "'a b' is opened inside a word or with spaces"),
        ("COPY --from=$a b c", "--from cannot hold a variable"),
        ("COPY --from=${a b c", "--from cannot hold a variable"),
        ("ADD --from=a b c", "the flag --from is unknown"),
        ("HEALTHCHECK", "expected NONE, or CMD"),
        ("HEALTHCHECK NONE a", "NONE stands alone"),
        ("HEALTHCHECK CMD", "CMD has no command"),
        ("HEALTHCHECK CMD []", "CMD has no command"),
        ("HEALTHCHECK TCP 80", "'TCP' is unknown"),
        ("HEALTHCHECK --interval=5 CMD a", "'5' is no duration"),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries=-1 must be"),
        ("HEALTHCHECK --retries=2147483648 CMD a", "--retries=2147483648 must be"),
        ("ONBUILD", "expected an instruction"),
        ("ONBUILD FROM a", "FROM cannot be a trigger"),
        ("ONBUILD onbuild RUN a", "ONBUILD cannot be a trigger"),
        ("ONBUILD MAINTAINER a", "MAINTAINER cannot be a trigger"),
        ("ONBUILD FOO a", "'FOO' is no instruction"),
        ("ONBUILD ENV a", "a has no value"),
        ("ONBUILD --x RUN a", "ONBUILD takes no flags"),
    ],
)
def test_malformed_forms_are_refused_with_line_and_beginning(text, problem):
    with pytest.raises(DockerfileError, match=problem) as caught:
        parse(f"FROM x\n# comment\n{text}", "some/Dockerfile")
    assert str(caught.value).startswith("some/Dockerfile:3: ")
    assert caught.value.message.split()[0].strip(":") in text


def typos(keyword):
    """A letter less, twice, another one, and two in the wrong order, wherever that may be."""
    for at in range(len(keyword)):
        before, letter, after = keyword[:at], keyword[at], keyword[at + 1 :]
        yield before + after
        yield before + letter + letter + after
        yield before + "X" + after
        yield before + after[:1] + letter + after[1:]


@pytest.mark.parametrize("keyword", parser._MAKERS)
def test_the_nearest_instruction_is_named_for_every_typo(keyword):
    tried = {typo for typo in typos(keyword) if typo not in parser._MAKERS and len(typo) > 2}
    assert tried
    for typo in tried:
        with pytest.raises(DockerfileError) as caught:
            parse(f"FROM x\n{typo.lower()} y")
        assert str(caught.value) == (
            f"Dockerfile:2: {typo.lower()} y: {typo!r} is no instruction; did you mean {keyword}?"
        )


def test_a_dollar_alone_in_from_is_none_of_a_variable():
    assert only("COPY --from=a$ b c").origin == "a$"


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("", 0),
        ("0", 0),
        ("+0", 0),
        ("0s", 0),
        ("1h1m1s", 3661 * SECOND),
        ("1.5s", 1_500_000_000),
        (".5s", 500_000_000),
        ("1.s", SECOND),
        ("+3ms", 3_000_000),
        ("2000us", 2_000_000),
        ("2000\xb5s", 2_000_000),
        ("2000\u03bcs", 2_000_000),
        ("1000000ns", 1_000_000),
        ("2562047h47m16s", 9_223_372_036 * SECOND),
    ],
)
def test_durations(text, nanoseconds):
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5", "no duration"),
        ("s", "no duration"),
        ("1x", "no duration"),
        ("-1s", "no duration"),
        ("1s ", "no duration"),
        ("+", "no duration"),
        ("٣s", "no duration"),
        ("1ns", "shorter than 1ms"),
        ("2562048h", "longer than 292 years"),
        ("9" * 30 + "s", "no duration"),
    ],
)
def test_what_is_no_duration(text, problem):
    with pytest.raises(WordError, match=problem):
        parse_duration(text)
