"""A program on a terminal of a given size, and what its screen shows as it goes."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_BITE = 64
"""Bytes between two looks at the screen: fewer than one redrawing of it takes."""


class Terminal:
    """A pseudo-terminal with a screen, for one program."""

    def __init__(self, columns: int, rows: int) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self._primary, self._secondary = pty.openpty()
        self.resize(columns, rows)
        self.status: int | None = None

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._primary, termios.TIOCSWINSZ, size)
        self._screen.resize(rows, columns)

    def run(
        self, command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]
    ) -> Iterator[list[str]]:
        """Run *command* to its end; the screen's rows after every few bytes that it wrote."""
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=self._secondary, stdout=self._secondary,
            stderr=self._secondary, start_new_session=True,
        )  # fmt: skip
        os.close(self._secondary)
        try:
            while data := self._read():
                for start in range(0, len(data), _BITE):
                    self._stream.feed(data[start : start + _BITE])
                    yield self.rows
        finally:
            os.close(self._primary)  # which ends a program that is still there
            self.status = process.wait()

    def _read(self) -> bytes:
        try:
            return os.read(self._primary, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:  # every other end is closed
                raise
            return b""

    @property
    def rows(self) -> list[str]:
        return [row.rstrip() for row in self._screen.display]

    @property
    def everything(self) -> list[str]:
        """All rows, those that scrolled away first."""
        gone = (
            "".join(row[column].data for column in range(self._screen.columns)).rstrip()
            for row in self._screen.history.top
        )
        return [*gone, *self.rows]
