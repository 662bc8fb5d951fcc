"""What a RUN prints: handed on line by line, the last lines kept for an error."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from assembler.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable

_KEPT = 10
_LINE = 2000
"""Characters of a line that are shown."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Colours, and what else would steer a terminal: foreign code prints it."""


class RunOutput:
    """One command's standard output and error, in the order in which they came."""

    def __init__(self, place: str, show: Callable[[str], None], limit: int) -> None:
        """Show lines by *show*; more than *limit* bytes end the command, which is at *place*."""
        self._place = place
        self._show = show
        self._limit = limit
        self._size = 0
        self._rest = b""
        self._last: deque[str] = deque(maxlen=_KEPT)

    def add(self, data: bytes) -> None:
        """Take what was printed; raise `RunError` past the limit."""
        self._size += len(data)
        if self._size > self._limit:
            raise RunError(
                f"{self._place}: RUN printed more than {self._limit:,} bytes and was ended; "
                "--run-output-limit allows more"
            )
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > 4 * _LINE:
            # A progress bar, or no text at all: its end is what counts.
            self._rest = self._rest[-4 * _LINE :]

    def finish(self) -> None:
        """Show what has no end of line."""
        if self._rest:
            self._line(self._rest)
        self._rest = b""

    def last_lines(self) -> str:
        """Return the end of an error: what was printed last."""
        if not self._last:
            return "; it printed nothing"
        return "; its last words:\n" + "\n".join(f"  {line}" for line in self._last)

    def _line(self, raw: bytes) -> None:
        # What a carriage return would have overwritten on a terminal is not shown.
        text = raw.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "backslashreplace")
        shown = _CONTROL.sub("", text)[:_LINE]
        self._last.append(shown)
        self._show(shown)
