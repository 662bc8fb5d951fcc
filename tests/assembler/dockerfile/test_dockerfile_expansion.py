"""`$NAME` and its forms, against examples and against bash."""

from __future__ import annotations

import re
import shlex
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.dockerfile import (
    ExpansionError,
    Quoting,
    Recording,
    expand,
    expand_instruction,
    expand_words,
    parse,
)
from assembler.dockerfile.mounttext import MountText
from assembler.dockerfile.patterns import Pattern, PatternError, substitute, trim
from assembler.errors import DockerfileError

VALUES = {
    "x": "a/b.tar.gz", "e": "", "s": "one  two", "star": "a*b", "lines": "a\nb", "größe": "5",
    "sign": "#a",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$x ${x}$x", "a/b.tar.gz a/b.tar.gza/b.tar.gz"),
        ("$none-${none}", "-"),
        ("$größe$x.", "5a/b.tar.gz."),
        ("$1a ${12}b $@@ $$ $-x", "a b @  x"),
        ("$ $. a$", "$ $. a$"),
        (r"\$x \${x} '$x' \"\'", "$x ${x} $x \"'"),
        (r'"$x" "\$x" "\n" "\"" "\\" "' "'" r'"', "a/b.tar.gz $x \\n \" \\ '"),
        (r"'a\' \a \\", r"a\ a " + "\\"),
        ("a\\", "a"),
        ('"" a', " a"),
        ("${e:-w} ${e-w} ${n-w} ${n:-$x} ${x:-w}", "w  w a/b.tar.gz a/b.tar.gz"),
        ("${x:+w} ${e:+w} ${e+w} ${n+w} ${n:+w}", "w  w  "),
        ("${x:?w} ${x?w} ${e?w}", "a/b.tar.gz a/b.tar.gz "),
        ("${n:-${m:-${x}}} ${n:-\"a } b\"} ${n:-'$x'}", "a/b.tar.gz a } b $x"),
        (r"${n:-\}} ${n:-a}b}", "} ab}"),
        ("${x#*/} ${x##*.} ${x%.*} ${x%%.*}", "b.tar.gz gz a/b.tar a/b"),
        ("${x#z} ${x#} ${x%} ${x##} ${n#a}", "a/b.tar.gz a/b.tar.gz a/b.tar.gz a/b.tar.gz "),
        ("${x#a/?} ${x%?gz} ${x%%??}", ".tar.gz a/b.tar a/b.tar."),
        ("${x#$e}${x%${n:-.gz}}", "a/b.tar.gza/b.tar"),
        ("${sign#$sign}", "#a"),
        (r"${star#a\*} ${star%\*b} ${star#a\?}", "b a a*b"),
        ("${x/./-} ${x//./-} ${x/a*b/-} ${x//[/-}", "a/b-tar.gz a/b-tar-gz -.tar.gz a/b.tar.gz"),
        (r"${x/\//-} ${x//?/-} ${x//z/}", "a-b.tar.gz ---------- a/b.tar.g"),
        (r"${x//\//\/} ${e///-}", r"a\/b.tar.gz -"),
        ("${e//*/-} ${x//*/-} ${x/$e/-}", "- - -a/b.tar.gz"),
        ("${x//a/$s}", "one  two/b.tone  twor.gz"),
        ("${x/$n/$n} ${n/a/b}", "a/b.tar.gz "),
        ("${lines#*b} ${lines##*} ${lines//?/-}", "a\nb \nb -\n-"),
        ("a<b << \tc<", "a<b << \tc<"),
        ("${+x}${%x}${-}", ""),
    ],
)
def test_expansion(text, expected):
    assert expand(text, VALUES.get) == expected


def test_an_empty_pattern_everywhere_matches_between_all_characters():
    assert expand("${v//$e/-}", {"v": "ab", "e": ""}.get) == "-a-b-"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${", "has no }"),
        ("${}", "has no name"),
        ("${{x}}", "has no name"),
        ("${:-x}", "has no name"),
        ("${x", "has no }"),
        ("${x:", "':' is no operator"),
        ("${x:-a", "has no }"),
        ("${x/a", "has no /"),
        ("${x/a/b", "has no }"),
        ("${x//ww}", "has no /"),
        ("${x!y}", "'!' is no operator"),
        ("${x:y}", "':y' is no operator"),
        ("${x:#y}", "':#' is no operator"),
        ("${x=y}", "'=' is no operator"),
        ("${.}", "'.' is no operator"),
        ("${n:?gone $x}", "n: gone a/b.tar.gz"),
        ("${n?}", "n: it is not set"),
        ("${e:?}", "e: it is empty"),
        ("it's", "single quote"),
        ('"a', "double quote"),
        ('"a\\', "double quote"),
        (r"${x#\q}", r"\\q is no escape in a pattern"),
        ("${x/$p/}", "is no escape in a pattern"),
        ("${n:-" * 51 + "}" * 51, "nested more than 50 deep"),
    ],
)
def test_malformed_expansions(text, problem):
    with pytest.raises(ExpansionError, match=problem):
        expand(text, (VALUES | {"p": "a\\"}).get)


def test_fifty_nested_braces_are_no_problem():
    assert expand("${n:-" * 50 + "x" + "}" * 50, VALUES.get) == "x"


def test_the_escape_character_can_be_a_backtick():
    assert expand('`$x \\$e "`"" \'`\'', VALUES.get, "`") == '$x \\ " `'
    assert expand(r"${star#a\*}", VALUES.get, "`") == "b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b\u3000c", ["a", "b", "c"]),
        ("a$s \"$s\" b\\ c 'd e'", ["aone", "two", "one  two", "b c", "d e"]),
        ("'' \"\" $e $n", []),
        ("a''b", ["ab"]),
        ("a${n:-b c}d", ["ab", "cd"]),
        ("a << b <c", ["a", "<< b", "<c"]),
    ],
)
def test_words_are_split_after_expansion(text, expected):
    assert expand_words(text, VALUES.get) == expected


@pytest.mark.parametrize(
    ("quoting", "expected"),
    [
        (Quoting(), "a a$x a/b.tar.gz \\q " + '"'),
        (Quoting(keep_quotes=True), '\'a\' a$x "a/b.tar.gz \\q ""'),
        (Quoting(keep_escapes=True), "a a\\$x a/b.tar.gz \\\\q \\" + '"'),
        (Quoting(no_quotes=True), '\'a\' a$x "a/b.tar.gz q ""'),
    ],
)
def test_quotes_and_escapes_can_be_kept(quoting, expected):
    assert expand(r"""'a' a\$x "$x \q \"" """.rstrip(), VALUES.get, quoting) == expected


@pytest.mark.parametrize(
    "text", ["$n", "${n}", "${n:-a}", "${n+a}", "${n#a}", "${n%%a}", "${n/a/b}", "${n?a}"]
)
def test_what_has_no_value_can_be_kept(text):
    assert expand(text, VALUES.get, Quoting(keep_unset=True)) == text
    assert expand(text.replace("n", "e"), VALUES.get, Quoting(keep_unset=True)) in {"", "a"}


def test_an_escape_at_the_end_of_open_quotes_is_dropped_whatever_is_kept():
    with pytest.raises(ExpansionError, match="double quote"):
        expand('"a\\', VALUES.get, Quoting(keep_escapes=True))


def test_a_recording_tells_what_was_used_and_what_is_undefined():
    recording = Recording(VALUES.get)
    assert expand("$x ${e:-$n} '$s' ${m+a}", recording) == "a/b.tar.gz  $s "
    assert (recording.used, recording.undefined) == ({"x", "e"}, {"n", "m"})


def test_results_have_a_limit():
    long = {"l": "x" * 6_000_000}
    for text in ("$l$l$l", '"$l$l$l"', "${n:-$l$l$l}"):
        with pytest.raises(ExpansionError, match="more than 16,000,000 characters"):
            expand(text, long.get)
    with pytest.raises(ExpansionError, match="the result is too long"):
        expand("${a//?/$b}", {"a": "x" * 10_000, "b": "y" * 10_000}.get)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("${v#*a*a*a*a*a*a*a*a*b}", {"v": "a" * 50_000}),
        ("${v%%b*a*a*a*a*a*a*a*a*}", {"v": "a" * 50_000}),
        ("${v//a*a*a*a*b/}", {"v": "a" * 50_000}),
        ("${v//$p/}", {"v": "a" * 50_000, "p": "a?" * 500 + "b"}),
        ("${v//a*b/c}", {"v": "ab" * 25_000}),
    ],
)
def test_no_pattern_takes_long(text, values):
    begin = time.process_time()
    expand(text, values.get)
    assert time.process_time() - begin < 5


def test_a_pattern_and_a_value_that_are_both_long_are_refused():
    with pytest.raises(ExpansionError, match="too long for each other"):
        expand("${v#$p}", {"v": "a" * 100_000, "p": "a?" * 50_000}.get)


def regular(pattern):
    """What BuildKit makes of a pattern."""
    return "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)


PATTERN = st.text("ab*?\n", max_size=6)
VALUE = st.text("ab\n", max_size=8)


@given(PATTERN, VALUE)
def test_matching_agrees_with_regular_expressions(pattern, value):
    compiled = re.compile(regular(pattern))
    expected = [end for end in range(len(value) + 1) if compiled.fullmatch(value, 0, end)]
    assert list(Pattern.parse(pattern).ends(value)) == expected
    backwards = Pattern.parse(pattern).reverse()
    assert list(backwards.ends(value[::-1])) == [
        end for end in range(len(value) + 1) if compiled.fullmatch(value, len(value) - end)
    ]


@given(st.text("ab*?", max_size=6), st.text("ab", max_size=8), st.booleans())
def test_substitution_agrees_with_regular_expressions(pattern, value, everywhere):
    # Python, unlike Go, takes an empty match right behind another one.
    last = -1

    def replacement(match):
        nonlocal last
        behind = match.start() == match.end() == last
        last = match.end()
        return "" if behind else "-"

    expected = re.sub(regular(pattern), replacement, value, count=0 if everywhere else 1)
    got = substitute(value, Pattern.parse(pattern), "-", everywhere=everywhere, limit=100)
    assert got == expected


def test_patterns_have_few_escapes():
    assert trim("*?\\}/x", Pattern.parse(r"\*\?\\\}\/"), back=False, longest=False) == "x"
    assert trim("x*?\\", Pattern.parse(r"\*\?\\"), back=True, longest=True) == "x"
    with pytest.raises(PatternError, match="no escape"):
        Pattern.parse("a\\")


OPERATORS = st.sampled_from(["", ":-", "-", ":+", "+", "#", "##", "%", "%%"])
WORD = st.text("ab*?./ ", max_size=6)
# bash takes quotes in the word of an unquoted expansion off, as BuildKit does everywhere.
QUOTED_WORD = st.tuples(st.sampled_from(["{}", '"{}"', "'{}'", "a'{}'", '{}"b"']), WORD).map(
    lambda made: made[0].format(made[1])
)
CASES = st.lists(
    st.tuples(OPERATORS, QUOTED_WORD, st.sampled_from([None, "", "ab/ab.a", "aab", "a b*?", "."])),
    min_size=80,
    max_size=80,
)


@settings(max_examples=8, deadline=None)
@given(CASES)
def test_expansion_agrees_with_bash(cases):
    usable = [
        (f"${{v{operator}{word if operator else ''}}}", value)
        for operator, word, value in cases
        # A pattern in quotes is plain in bash, but not in BuildKit.
        if operator[:1] not in {"#", "%"} or not set(word) & set("'\"")
    ]
    script = ["set -f; IFS="]
    for text, value in usable:
        script.append("unset v" if value is None else f"v={shlex.quote(value)}")
        script.append(f"r={text}; printf '%s\\n' \"$r\"")
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], capture_output=True, text=True, check=True
    )
    ours = [expand(text, ({} if value is None else {"v": value}).get) for text, value in usable]
    assert ours == done.stdout.split("\n")[:-1]


def expanded(text, escape="\\"):
    (instruction,) = parse(f"FROM x\n{text}").last.instructions
    return expand_instruction(instruction, {"a": "1 2", "b": "3"}.get, escape)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("ENV x$b=$a y='$a' b=4 z=$b", "pairs",
         (("x3", "1 2"), ("y", "$a"), ("b", "4"), ("z", "3"))),
        ("ENV x \"$a\"  ", "pairs", (("x", "1 2"),)),
        ("LABEL $b=\"$a \\\" \" c='d'", "pairs", (("3", '1 2 " '), ("c", "d"))),
        ("VOLUME /$a $b", "paths", ("/1 2", "3")),
        ("EXPOSE $a $b/udp", "ports", ("1", "2", "3/udp")),
        ("WORKDIR $a\\ 'b'", "path", "1 2 b"),
        ("USER $b:$b", "user", "3:3"),
        ("STOPSIGNAL $b", "signal", "3"),
        ("COPY $a c $b", "sources", ("1 2", "c")),
        ("COPY c $b", "destination", "3"),
        ("COPY --chown=$b:$b c d", "chown", "3:3"),
        ("COPY --chmod=$b c d", "chmod", "3"),
        ("COPY --exclude=$b c d", "exclude", ("$b",)),
        ("ADD --checksum=$b c d", "checksum", "3"),
        ("ADD $b d", "sources", ("3",)),
        ("RUN --mount=id=$b,target=/$a $b", "mounts",
         (MountText((("id", "3"), ("target", "/1 2"))),)),
        ("ARG c=$b", "arguments", (("c", "$b"),)),
        ("ONBUILD ENV c=$b", "expression", "ENV c=$b"),
        ('SHELL ["$b"]', "words", ("$b",)),
    ],
)  # fmt: skip
def test_fields_are_expanded_that_no_shell_will_expand(text, field, value):
    assert getattr(expanded(text), field) == value


@pytest.mark.parametrize("text", ["RUN $b", "CMD $b", "ENTRYPOINT $b", "HEALTHCHECK CMD $b"])
def test_commands_are_left_to_the_shell(text):
    assert expanded(text).command.text == "$b"


def test_triggers_are_left_to_the_build_that_they_trigger():
    assert expanded("ONBUILD ENV c=${d:?}").trigger.pairs == (("c", "${d:?}"),)


def test_from_is_expanded_with_its_platform():
    from_ = parse("FROM --platform=linux/$p $i:1 AS n").last.from_
    found = expand_instruction(from_, {"p": "arm64", "i": "debian"}.get)
    assert (found.image, found.platform, found.name) == ("debian:1", "linux/arm64", "n")


def test_here_documents_are_expanded_unless_quoted_and_keep_their_quotes():
    text = "COPY <<E <<'F' /$b\n'$a' \"$b\" \\$b\nE\n$b\nF"
    copy = expanded(text, "`")
    assert [item.text for item in copy.inline] == ["'1 2' \"3\" $b\n", "$b\n"]
    assert copy.destination == "/3"


def test_a_malformed_expansion_is_told_with_line_and_keyword():
    with pytest.raises(DockerfileError, match=r"^Dockerfile:2: WORKDIR: \$\{a has no \}"):
        expanded("WORKDIR ${a")
