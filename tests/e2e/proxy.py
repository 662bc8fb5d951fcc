"""A registry that misbehaves: a proxy before a real one, with a script of faults."""

from __future__ import annotations

import http.client
from contextlib import closing, contextmanager

from support import servers
from support.servers import Handler, Server


class Proxy:
    """Forwards requests to *upstream* (`host:port`), except those that a fault takes over.

    A fault is a function of the handler; it returns whether it has answered. Each is asked in
    turn; `requests` keeps (path, headers) of everything that came.
    """

    def __init__(self, upstream):
        self.upstream = upstream
        self.faults = []
        self.requests = []
        proxy = self

        class Forwarding(Handler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                proxy.requests.append((self.path, dict(self.headers)))
                if not any(fault(self) for fault in list(proxy.faults)):
                    self.forward()

            def fetch(self):
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                with closing(http.client.HTTPConnection(proxy.upstream)) as connection:
                    connection.request("GET", self.path, headers=headers)
                    response = connection.getresponse()
                    return response, response.read()

            def forward(self):
                response, body = self.fetch()
                self.answer(response.status, body, response.headers.items())

            def answer(self, status, body=b"", headers=()):
                self.send_response(status)
                kept = [
                    (k, v) for k, v in headers if k.lower() not in {"content-length", "connection"}
                ]
                for key, value in kept:
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def cut(self, count):
                """Answer, but close the connection after *count* bytes of the body."""
                response, body = self.fetch()
                self.send_response(response.status)
                for key, value in response.headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body[:count])
                self.wfile.flush()
                self.close_connection = True

        self.server = Server(Forwarding)
        self.address = self.server.address

    def paths(self, part):
        return [path for path, _ in self.requests if part in path]


@contextmanager
def serving(proxy):
    with servers.serving(proxy.server):
        yield proxy


def on(part, act, times=None):
    """A fault: *act* on the first *times* requests whose path holds *part* (or on all)."""
    count = 0

    def fault(handler):
        nonlocal count
        if part not in handler.path or (times is not None and count >= times):
            return False
        count += 1
        act(handler)
        return True

    return fault
