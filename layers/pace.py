"""Answers of HTTP that never end: too slow, nothing but `100 Continue`, lines without an end.

A socket's own timeout begins again with each byte. Here it is counted what comes while somebody
waits for it; the time that he takes himself does not count.
"""

from __future__ import annotations

import http.client
import io
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE = 1 << 16
_HEAD = 1 << 20

TOO_SLOW = "less than the least came in time"
TOO_LONG = "no end in sight"


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow an answer may be: *least* bytes in each *seconds* of waiting for it."""

    seconds: float = 60.0
    least: int = 1024
    clock: Callable[[], float] = time.monotonic


class _PacedFile(io.RawIOBase):
    """What comes from a socket, while it comes fast enough."""

    def __init__(self, raw: Any, pace: Pace) -> None:
        self._raw = raw
        self._pace = pace
        self._waited = 0.0
        self._count = 0
        self._head: int | None = _HEAD
        """Bytes that may still come before the body; `None` inside it."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        began = self._pace.clock()
        count: int | None = self._raw.readinto(buffer)
        self._waited += self._pace.clock() - began
        self._count += count or 0
        if self._head is not None:
            self._check_head(count or 0)
        elif self._waited >= self._pace.seconds:
            self._check_pace()
        return count

    def _check_head(self, count: int) -> None:
        # An answer's head is due as a whole: its lines may be many, and say nothing.
        self._head = (self._head or 0) - count
        if self._waited >= self._pace.seconds:
            raise TimeoutError(TOO_SLOW)
        if self._head < 0:
            raise http.client.HTTPException(TOO_LONG)

    def _check_pace(self) -> None:
        if self._count < self._pace.least:
            raise TimeoutError(TOO_SLOW)
        self._waited, self._count = 0.0, 0

    def begin_body(self) -> None:
        """Tell that the head is complete."""
        self._head, self._waited, self._count = None, 0.0, 0

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedReader(io.BufferedReader):
    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line; the libraries bound those of heads, not those between chunks."""
        if size is not None and size >= 0:
            return super().readline(size)
        line = super().readline(_LINE + 1)
        if len(line) > _LINE:
            raise http.client.HTTPException(TOO_LONG)
        return line


class _PacedResponse(http.client.HTTPResponse):
    def __init__(self, pace: Pace, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._paced = _PacedFile(self.fp.detach(), pace)
        self.fp = _PacedReader(self._paced)

    def begin(self) -> None:
        super().begin()
        self._paced.begin_body()


def paced_pools(pace: Pace) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3's pools by scheme, with connections that hold answers to *pace*."""
    return {"http": _paced(HTTPConnectionPool, pace), "https": _paced(HTTPSConnectionPool, pace)}


def _paced(pool: type[HTTPConnectionPool], pace: Pace) -> type[HTTPConnectionPool]:
    response = staticmethod(partial(_PacedResponse, pace))
    connection = type("PacedConnection", (pool.ConnectionCls,), {"response_class": response})
    return type("PacedPool", (pool,), {"ConnectionCls": connection})
