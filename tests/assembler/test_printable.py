from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from assembler.printable import json_text, printable, printable_lines, printable_message

ROOT = Path(__file__).resolve().parents[2]
UNSAFE = (
    *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)), "\u200e", "\u200f", "\u061c", "\u2028", "\u2029",
    "\ud800", "\udcff", "\udfff",
)  # fmt: skip


@pytest.mark.parametrize("char", UNSAFE, ids=ascii)
def test_what_steers_a_terminal_or_hides_text_is_shown_as_an_escape(char):
    shown = printable(f"a{char}b")
    assert shown == f"a{char.encode('unicode_escape').decode()}b"
    text = json_text({char: [char]})
    assert char not in text.replace("\n", "")
    assert json.loads(text) == {char: [char]}


def test_other_text_stays():
    text = "grüße, 日本語, 👩\u200d🔬, a\xa0b, \\n, \\x1b"
    assert printable(text) == printable_message(text) == printable_lines(text) == text
    assert text in json_text(text).replace("\\\\", "\\")


def test_only_lines_that_are_indented_go_on_with_a_message():
    assert printable_message("a:\n  b\tc\nok\r\n") == "a:\n  b\tc\\nok\\r\\n"
    assert printable_lines("a\n b\r\nc") == "a\n b\\r\nc"


def test_text_leaves_for_people_in_a_few_places_only():
    allowed = {"cli/echo.py", "cli/failure.py", "cli/completion.py", "views.py", "liveview.py"}
    printing = re.compile(r"\b(typer\.(secho|echo)|(?<!\.)print)\(|\bstd(out|err)\.write\(")
    folder = ROOT / "assembler"
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if path.parent.name != "sandbox" and printing.search(path.read_text())
    }
    assert found <= allowed
