from __future__ import annotations

import pytest

from assembler.errors import RunError
from assembler.runoutput import RunOutput


def printed(*pieces, limit=10_000):
    lines = []
    output = RunOutput("Dockerfile:3", lines.append, limit)
    for piece in pieces:
        output.add(piece)
    output.finish()
    return lines, output


def test_lines_are_shown_when_they_are_whole():
    lines = []
    output = RunOutput("Dockerfile:3", lines.append, 100)
    output.add(b"one\ntw")
    assert lines == ["one"]
    output.add(b"o\n")
    assert lines == ["one", "two"]
    output.add(b"three")
    output.finish()
    output.finish()
    assert lines == ["one", "two", "three"]


def test_a_terminal_is_not_steered_by_what_a_command_prints():
    lines, _ = printed(b"\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07\x9b2J\ttab\n")
    assert lines == ["red ]0;title\\x9b2J\ttab"]


def test_of_a_progress_bar_the_last_state_is_shown():
    lines, _ = printed(b" 10%\r 50%\r100%\r\n", b"a\rb\n")
    assert lines == ["100%", "b"]


def test_what_is_not_utf_8_is_shown_as_bytes():
    assert printed(b"\xff\xfe\n")[0] == ["\\xff\\xfe"]


def test_a_line_without_end_takes_no_memory_without_end():
    lines, _ = printed(*[b"x" * 1000] * 1000, limit=10**7)
    assert [len(line) for line in lines] == [2000]


def test_more_than_the_limit_is_an_error_with_the_line_and_the_way_out():
    with pytest.raises(
        RunError, match=r"Dockerfile:3: RUN printed more than 5 bytes .*--run-output-limit"
    ):
        printed(b"123", b"456", limit=5)


def test_the_last_lines_end_an_error():
    _, output = printed(b"".join(b"%d\n" % number for number in range(20)))
    assert output.last_lines() == "; its last words:\n" + "\n".join(f"  {n}" for n in range(10, 20))
    assert printed()[1].last_lines() == "; it printed nothing"
