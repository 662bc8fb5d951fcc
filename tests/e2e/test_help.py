"""Help as a stranger reads it: whole sentences, no types of Python's, and where to read on."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command

from assembler.cli import main
from assembler.cli.app import app

COMMANDS = list(get_command(app).commands)


@pytest.fixture
def helped(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def helped(*command):
        assert main.run([*command, "--help"]) == 0
        return capsys.readouterr().out

    return helped


def test_the_list_of_commands_has_whole_sentences(helped):
    text = helped()
    rows = " ".join(text.partition("Commands:")[2].partition("Documentation:")[0].split())
    assert "..." not in rows
    assert rows.endswith(".")
    for name in COMMANDS:
        summary = " ".join(helped(name).split("\n\n")[1].split())
        assert summary.endswith(".")
        assert f"{name} {summary}" in rows


def test_the_help_says_where_the_documentation_is(helped):
    assert re.search(r"^Documentation: ", helped(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_type_of_pythons_is_shown(helped, command):
    text = helped(command)
    assert not re.search(
        r"<(str|path|int|bool|list)|None\]|\bTEXT\b|\{|\[required|\.\.\.\.|\[\[", text
    )
    for option in re.findall(r"^  (-.*?)(?=^  -|^$)", text, re.MULTILINE | re.DOTALL):
        assert re.search(r"[.][)]?(\s+\[default:\s+[^]]+\])?\s*$", option), option


def test_arguments_are_named_as_people_write_them(helped):
    assert "golem-assemble build [OPTIONS] CONTEXT\n" in helped("build")
    assert "golem-assemble rmi [OPTIONS] IMAGE|ID...\n" in helped("rmi")
    assert "golem-assemble images [OPTIONS] [NAME[:TAG]]\n" in helped("images")
    assert re.search(r"^  CONTEXT  \S", helped("build"), re.MULTILINE)
