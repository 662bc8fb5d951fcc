"""Completion as bash does it, with the script that the program gives, and what others are told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from assembler.cli.completion import join_words

TABS = r"""
eval "$(golem-assemble --show-completion)"
complete_line() {
    local line="$1"
    # What readline does: cut the line at blanks and at COMP_WORDBREAKS, which are words themselves.
    local spaced="${line//:/ : }"; spaced="${spaced//=/ = }"
    read -ra COMP_WORDS <<< "$spaced"
    [[ "$line" == *[[:blank:]] ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _golem_assemble_completion golem-assemble
    echo "$line|${COMPREPLY[*]}"
}
"""


@pytest.fixture
def tab(command, tmp_path, run, project):
    """Let bash complete lines; return what it would offer for each."""
    folder = project("FROM scratch AS one\nVOLUME /v\nFROM one AS two\nFROM two AS other\n")
    names = ("debian:12", "debian:13", "127.0.0.1:5000/me/x:1", "busybox")
    tags = [word for name in names for word in ("-t", name)]
    run("build", "-q", "--output", "type=image", *tags, "project")
    (folder / "x.gvmi").touch()
    environment = os.environ | {
        "PATH": f"{command.parent}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache")
    }  # fmt: skip

    def tab(*lines, **more):
        script = TABS + "\n".join(f"complete_line '{line}'" for line in lines)
        done = subprocess.run(
            ["bash", "--norc", "-c", script], cwd=folder, env=environment | more,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == ""
        found = dict(line.split("|") for line in done.stdout.splitlines())
        return [found[line].split() for line in lines]

    return tab


def test_commands_images_and_stages_are_completed(tab):
    commands, options, deb, tags, port, stages, joined, files = tab(
        "golem-assemble pru", "golem-assemble build --iid", "golem-assemble convert deb",
        "golem-assemble convert debian:", "golem-assemble rmi 127.0.0.1:50",
        "golem-assemble build --target t", "golem-assemble build --target=o",
        "golem-assemble verify x",
    )  # fmt: skip
    assert commands == ["prune"]
    assert options == ["--iidfile"]
    assert deb == ["debian:12", "debian:13"]
    # What is before a colon stays as it is; given again, it would stand there twice.
    assert tags == ["12", "13"]
    assert port == ["5000/me/x:1"]
    assert stages == ["two"]
    assert joined == ["one", "other"]
    assert files == []  # bash itself completes files


def test_what_is_complete_is_not_completed_again(tab):
    again, files = tab("golem-assemble inspect busybox:latest bu", "golem-assemble inspect x")
    assert again == []
    assert files == ["x.gvmi"]


def test_completion_says_nothing_where_there_is_nothing_and_makes_nothing(tab, tmp_path):
    for line, more in (
        ("golem-assemble inspect d", {"XDG_CACHE_HOME": str(tmp_path / "none")}),
        ("golem-assemble build -f none --target t", {}),
        ("golem-assemble nonsense --what z", {}),
        ("golem-assemble build --squash --platform a/b/c/d --target q", {}),
    ):
        assert tab(line, **more) == [[]]
    assert not (tmp_path / "none").exists()
    (tmp_path / "bad" / "golem-assemble").mkdir(parents=True)
    for text in ("{", "[]", '{"manifests": [1, {"annotations": []}, {"annotations": {"x": 1}}]}'):
        (tmp_path / "bad" / "golem-assemble" / "index.json").write_text(text)
        more = {"XDG_CACHE_HOME": str(tmp_path / "bad")}
        assert tab("golem-assemble inspect d", **more) == [[]]


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "golem-assemble inspect busy"}),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "golem-assemble inspect busy",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
        ),
    ],
)
def test_other_shells_are_answered_too(command, tab, tmp_path, shell, words):
    environment = {
        **os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), **words,
        "_GOLEM_ASSEMBLE_COMPLETE": f"complete_{shell}",
    }  # fmt: skip
    done = subprocess.run([command], env=environment, capture_output=True, text=True, check=False)
    assert "busybox" in done.stdout
    assert done.stderr == ""


def test_it_is_installed_for_the_shell_that_asks(command, tmp_path):
    script = f"{command} --install-completion && . ~/.bashrc && complete -p golem-assemble"
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "complete -o default -F _golem_assemble_completion golem-assemble" in done.stdout


@pytest.mark.parametrize(
    ("words", "current", "joined", "place", "kept"),
    [
        ("p inspect debian : la", 4, "p inspect debian:la", 2, "debian:"),
        ("p inspect debian :", 3, "p inspect debian:", 2, "debian:"),
        ("p inspect h : 1 / x : 2", 8, "p inspect h:1 / x:2", 4, "x:"),
        ("p build --target = st", 4, "p build --target=st", 2, ""),
        ("p build --store = a : b", 6, "p build --store=a:b", 2, "a:"),
        ("p build -t x", 3, "p build -t x", 3, ""),
        ("p", 1, "p", 0, ""),
    ],
)
def test_what_bash_cut_is_joined(words, current, joined, place, kept):
    environ = {"COMP_WORDS": words.replace(" ", "\n"), "COMP_CWORD": str(current)}
    assert join_words(environ) == kept
    assert environ == {"COMP_WORDS": joined.replace(" ", "\n"), "COMP_CWORD": str(place)}


def test_the_package_is_the_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "assembler", "--version"], capture_output=True, text=True,
        cwd=tmp_path, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("golem-assemble 0.")
