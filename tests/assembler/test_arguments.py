"""The words of a command line, as Docker reads them."""

from __future__ import annotations

import pytest

from assembler.cli.arguments import Foreign, Syntax, rewrite
from assembler.errors import OptionError

SYNTAX = Syntax(
    "make",
    frozenset({"--quiet", "-q", "--all"}),
    frozenset({"--tag", "-t"}),
    {
        "--squash": Foreign("merge it elsewhere", switch=True, harmless=(False,)),
        "--rm": Foreign("nothing is kept", switch=True, harmless=(True,)),
        "--memory": Foreign("use ulimit"),
        "-m": Foreign("use ulimit"),
        "--sbom": Foreign("there is none", harmless=(False,)),
    },
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--quiet=true .", "--quiet ."),
        ("--quiet=1 .", "--quiet ."),
        ("--quiet=false .", "."),
        ("--quiet --quiet=F .", "."),
        ("--quiet=false --quiet .", "--quiet ."),
        ("-q=true .", "-q ."),
        ("-q=false .", "."),
        ("-qt x .", "-qt x ."),
        ("-qtx .", "-qtx ."),
        ("-t=x .", "-t x ."),
        ("-qt=x=y .", "-qt x=y ."),
        ("-t --quiet=false .", "-t --quiet=false ."),
        ("--tag --squash .", "--tag --squash ."),
        ("--tag=--squash .", "--tag=--squash ."),
        ("-- --quiet=true --squash", "-- --quiet=true --squash"),
        ("- --none=x", "- --none=x"),
        ("-t", "-t"),
        ("--squash=false .", "."),
        ("--rm . --rm=true", "."),
        ("--sbom=false .", "."),
    ],
)
def test_words_are_rewritten(words, expected):
    assert rewrite(words.split(), SYNTAX) == expected.split()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--quiet=maybe"], "--quiet=maybe: write --quiet, --quiet=true or --quiet=false"),
        (["--quiet="], "--quiet=: write --quiet"),
        (["--squash"], "make: --squash is not supported: merge it elsewhere"),
        (["--squash=true"], "make: --squash is not supported"),
        (["--rm=false"], "make: --rm=false is not supported: nothing is kept"),
        (["--memory", "1g"], "make: --memory is not supported: use ulimit"),
        (["--memory=1g"], "make: --memory is not supported"),
        (["-qm", "1g"], "make: -m is not supported"),
        (["-m1g"], "make: -m is not supported"),
        (["--sbom"], "make: --sbom is not supported"),
        (["--sbom=true"], "make: --sbom is not supported"),
        (["-t", ""], "-t: its value is empty"),
        (["--tag="], "--tag: its value is empty"),
        (["--tag a=b"], "--tag a=b: an option and its value came as one word"),
        ([""], "make: an argument is empty"),
        (["--", ""], "make: an argument is empty"),
    ],
)
def test_what_is_refused_is_named(words, problem):
    with pytest.raises(OptionError) as caught:
        rewrite(words, SYNTAX)
    assert problem in str(caught.value)
