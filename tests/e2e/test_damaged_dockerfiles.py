"""Dockerfiles, .dockerignore files and servers' headers, damaged at random: a documented status.

`GOLEM_TEST_SEEDS=5000` tries more of each than the 100 that are always tried.
"""

from __future__ import annotations

import os
import random

import dockerfiles
import pytest
import typer
from support.servers import Handler, Server, serving

from assembler.cli import app as app_module
from assembler.cli import main

SEEDS = int(os.environ.get("GOLEM_TEST_SEEDS", "100"))
TEXTS = sorted(
    text.replace("FROM BASE", "FROM scratch")
    for group in ("_COPY", "_ADD", "_CONFIG", "_STAGES", "_IGNORE")
    for text, *_ in getattr(dockerfiles, group).values()
)
PIECES = (
    "", " ", "\t", "\\", "\\\n", "\n", "\r", "\0", "\x1b[2J", "\u202e", "\udcff", '"', "'", "$",
    "${",
    "${A:-${B}}", "${A/b", "}", "[", "]", "[]", '["', "<<EOF", "<<-'E'", "EOF", "#", "--", "--x=",
    "--from=", "--chown=", "--chmod=9", "--platform=a/b/c/d", "--mount=type=", "=", ",", ":", "@",
    "..", "/", "../..", "*", "**", "[a-", "!", "%", "9" * 30, "-1", "a" * 5000, "ü", "FROM", "AS",
    "ARG A=1", "ONBUILD", "COPY", "ADD", "VOLUME", "HEALTHCHECK --interval=1h", "# syntax=a/b:1",
    "# escape=`", "SHELL", "USER", "EXPOSE 1-65535", "STOPSIGNAL", "LABEL", "ENV a",
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A context of a few files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Typer would make its commands anew for every one that is run.
    monkeypatch.setattr(app_module, "app", typer.main.get_command(app_module.app))
    for name in ("a.txt", "b.txt", "dir/one", "dir/deep/two", "src/x.c"):
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).write_text(name)
    return tmp_path


def damaged(text, chance):
    """Replace, insert, take away or repeat pieces of *text*."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.choice((0, 0, 1, 4, 20)))
        piece = chance.choice((chance.choice(PIECES), text[start:end] * 2))
        text = text[:start] + piece + text[end:]
    return text


def without_commands(text):
    """Leave RUN out: what it does is foreign code's, and slow."""
    return "\n".join(line for line in text.split("\n") if "RUN" not in line.upper())


def build(capfd, seed, *more):
    status = main.run(
        ["build", "-q", "--offline", "--output", "type=tar,dest=o.tar", *more, "c", "--debug"]
    )
    err = capfd.readouterr().err
    assert status == 0 or 3 <= status <= 21, f"seed {seed}: {err}"
    assert status == 0 or err
    return status


def test_a_damaged_dockerfile_ends_in_a_documented_status(folder, capfd):
    statuses = set()
    for seed in range(SEEDS):
        chance = random.Random(seed)
        text = without_commands(damaged(chance.choice(TEXTS), chance))
        (folder / "c" / "Dockerfile").write_bytes(text.encode("utf-8", "surrogateescape"))
        assert main.run(["check", "c"]) in {0, 1}
        told = capfd.readouterr()
        assert told.err == "", f"seed {seed}: {told.err}"  # findings are no failure
        statuses.add(build(capfd, seed))
    assert {0, 3} <= statuses


def test_a_damaged_dockerignore_ends_in_a_documented_status(folder, capfd):
    (folder / "c" / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    texts = sorted(dockerfiles.IGNORE.values())
    for seed in range(SEEDS):
        chance = random.Random(seed)
        text = damaged(chance.choice(texts), chance)
        (folder / "c" / ".dockerignore").write_bytes(text.encode("utf-8", "surrogateescape"))
        build(capfd, seed)


NAMES = (
    b"Location", b"Last-Modified", b"Content-Length", b"Content-Encoding", b"Content-Type",
    b"Transfer-Encoding", b"WWW-Authenticate", b"Docker-Content-Digest", b"Content-Disposition",
    b"Set-Cookie", b"Link", b"Content-Range", b"\xff",
)  # fmt: skip
VALUES = (
    b"", b"0", b"-1", b"9" * 40, b"\xff\xfe", b"http://[::1", b"http://a..b/", b"/x", b"//", b"..",
    b"Fri, 31 Dec 99999999999 23:59:59 GMT", b"Mon, 01 Jan 0001 00:00:00 +2359", b"gzip",
    b"chunked",
    b'Bearer realm="http://[::1"', b'Bearer realm="/x",service="' + b"a" * 5000, b"Basic",
    b"Digest",
    b"sha256:" + b"0" * 64, b"application/vnd.oci.image.manifest.v1+json", b"a=b; expires=x",
    b"</v2/>; rel=next", b"bytes 5-1/0", b"text/html; charset=\x00", b"\x1b[2J",
    b"http://\xe2\x98\x83/",
)  # fmt: skip
STATUSES = (b"200 OK", b"206 P", b"301 M", b"302 F", b"307 T", b"308 P", b"401 U", b"403 F",
            b"404 N", b"416 R", b"418 \xff", b"999 x")  # fmt: skip


@pytest.fixture
def server():
    """A server that answers by *lines*, whatever is asked."""
    lines = []

    class Answering(Handler):
        def do_GET(self):
            self.wfile.write(b"".join(line + b"\r\n" for line in (*lines, b"", b"{}")))

    with serving(Server(Answering)) as running:
        running.lines = lines
        yield running


def test_damaged_headers_end_in_a_documented_status(folder, capfd, server):
    address = server.address
    (folder / "c" / "Dockerfile").write_text(f"FROM scratch\nADD http://{address}/x /\n")
    for seed in range(SEEDS):
        chance = random.Random(seed)
        # The first two are those that a status makes somebody read.
        names = [b"Location", b"Last-Modified", *chance.choices(NAMES, k=chance.randrange(3))]
        headers = [name + b": " + chance.choice(VALUES) for name in names]
        server.lines[:] = [b"HTTP/1.1 " + chance.choice(STATUSES), b"Connection: close", *headers]
        for words in (["build", "-q", "--output", "type=tar,dest=o.tar", "c"],
                      ["inspect", f"docker://{address}/a:b"]):  # fmt: skip
            status = main.run([*words, "--debug"])
            err = capfd.readouterr().err
            assert status == 0 or 3 <= status <= 21, f"seed {seed}: {server.lines}: {err}"
