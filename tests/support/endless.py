"""Servers on loopback that do not end what they say, until whoever listens goes away."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK = b"HTTP/1.1 200 OK\r\n"
PIECE = b"x" * (1 << 16)


def forever(head: bytes, piece: bytes = PIECE, pause: float = 0.0) -> Callable[[], Iterator[bytes]]:
    """What sends *head*, and then *piece* again and again."""

    def send() -> Iterator[bytes]:
        yield head
        while True:
            yield piece
            time.sleep(pause)

    return send


def once(answer: bytes) -> Callable[[], Iterator[bytes]]:
    """What sends *answer* and closes the connection."""
    return lambda: iter([answer])


@contextmanager
def saying(
    answers: Callable[[str, str], Callable[[], Iterator[bytes]]],
) -> Iterator[tuple[str, list[int]]]:
    """Serve what *answers* says of (path, address); give the address, and the bytes sent each time.

    The threads end when their connections do, and leaving the block waits for them.
    """
    sent: list[int] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError, IndexError):
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(1 << 16)
            path = request.split()[1].decode()
            number = len(sent)
            sent.append(0)
            for piece in answers(path, address)():
                connection.sendall(piece)
                sent[number] += len(piece)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                threads.append(threading.Thread(target=serve, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield address, sent
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()
