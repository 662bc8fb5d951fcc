"""Text of strangers as it is shown: what would steer a terminal, or hide text, becomes visible.

Whatever leaves for people passes here, at the place where it leaves: `cli.echo`, `cli.failure` and
the views.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from re import Match

# C0, DEL and C1; marks, embeddings, overrides and isolates of bidirectional text; separators of
# lines and paragraphs; halves of surrogate pairs, which no UTF-8 has. None is outside the first
# 65,536, so that each has an escape of four digits in JSON.
_SET = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[{_SET}]")
# A line of ours that goes on is indented: nobody else begins a line of a message.
_UNSAFE_IN_MESSAGE = re.compile(rf"(?!\t|\n  )[{_SET}]")
_UNSAFE_IN_JSON = re.compile(rf"(?!\n)[{_SET}]")


def printable(text: str) -> str:
    """Return one line of text with its control characters as Python's escapes, newlines too."""
    return _UNSAFE.sub(_escape, text)


def printable_output(line: str) -> str:
    """Return a line that a command printed: its tabs stay."""
    return "\t".join(map(printable, line.split("\t")))


def printable_message(text: str) -> str:
    """Return the text of an error: its indented lines and its tabs stay."""
    return _UNSAFE_IN_MESSAGE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Return lines that are ours, such as a traceback's, each printable."""
    return "\n".join(map(printable, text.split("\n")))


def json_text(value: Any) -> str:
    """Return indented JSON of the same data, in which such characters have JSON's escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
