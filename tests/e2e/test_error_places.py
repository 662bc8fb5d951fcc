"""What goes wrong with an image or a URL is told with the Dockerfile's line and its own status."""

from __future__ import annotations

import base64
import os
from contextlib import contextmanager

import pytest
from support.images import oci_layout
from support.layers import file, layer
from support.servers import Handler, Server, serving


@contextmanager
def answering(status, headers=(), body=b"", tell=lambda _handler: None):
    """An address where every request gets that answer; *tell* is told of it."""

    class Answering(Handler):
        def do_GET(self):
            tell(self)
            self.say(status, headers, body)

    with serving(Server(Answering)) as server:
        yield server.address


@pytest.fixture
def fails(run, project):
    """Build what cannot be built; its one sentence."""

    def fails(text, status, *options, **environment):
        context = project(text)
        done = run("build", "-q", *options, context, status=status, **environment)
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.removeprefix("golem-assemble: ").rstrip("\n")

    return fails


STEPS = [
    ("FROM {image}", "Dockerfile:1: FROM: "),
    ("FROM scratch\nCOPY a.txt /\nCOPY --from={image} /x /y", "Dockerfile:3: COPY: "),
    ("FROM scratch AS a\nCOPY a.txt /\nFROM {image}\nCOPY --from=a / /", "Dockerfile:3: FROM: "),
]


@pytest.mark.parametrize(("text", "place"), STEPS)
def test_an_image_that_cannot_be_had_is_told_with_the_line(fails, text, place):
    with answering(404) as address:
        image = f"{address}/team/x:1"
        told = fails(text.format(image=image), 5)
    assert told == (f"{place}{image}: {address} has no repository 'team/x'; check the name")


def test_a_login_that_is_wanted_is_told_with_the_line(fails):
    with answering(401) as address:
        told = fails(f"FROM {address}/x:1", 8)
    assert told.startswith(f"Dockerfile:1: FROM: {address}/x:1: {address} refuses access (401)")


def test_a_registry_that_is_down_is_told_with_the_line(fails):
    told = fails("FROM scratch\nFROM 127.0.0.1:1/x", 7)
    place = "Dockerfile:2: FROM: 127.0.0.1:1/x:latest: "
    assert told.startswith(f"{place}127.0.0.1:1: connection refused; is it running and reachable?")


def test_a_local_image_that_is_broken_is_told_with_the_line(fails, tmp_path):
    layout = oci_layout(tmp_path / "base", [layer(file("a", b"a"))], {})
    (blob,) = [
        path for path in (layout.path / "blobs" / "sha256").iterdir()
        if path.read_bytes()[:1] != b"{"
    ]  # fmt: skip
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    told = fails(f"FROM scratch\nFROM oci:{layout.path}", 11)
    assert told.startswith(f"Dockerfile:2: FROM oci:{layout.path}: ")
    told = fails(f"FROM scratch\nCOPY --from=oci:{layout.path}x / /", 5, "--target=0")
    assert told.startswith(f"Dockerfile:2: COPY: oci:{layout.path}x")


def test_a_rate_limit_says_to_log_in_or_to_wait(fails):
    with answering(429, [("Retry-After", "0")]) as address:
        told = fails(f"FROM {address}/x:1", 7)
    assert told.startswith(
        f"Dockerfile:1: FROM: {address}/x:1: {address}: it answers 429 (too many requests); log in "
        f"(skopeo login {address}, docker login {address}, or REGISTRY_AUTH_FILE), or wait 0 s ("
    )


def test_a_mistyped_stage_is_told_before_anything_is_fetched(fails, run, project, tmp_path):
    with answering(404) as address:
        text = f"FROM {address}/x AS builder\nFROM scratch\nCOPY --from=bulder /a /b"
        told = fails(text, 3)
    assert told.startswith("Dockerfile:3: COPY: --from=bulder: there is no stage bulder; did you ")
    checked = run("check", project(text), status=1).stdout
    assert "Dockerfile:3: error: COPY: --from=bulder: there is no stage bulder" in checked
    # The store's own images are meant before anything else.
    run("build", "-q", "-t", "bulder", "-o", "one", project("FROM scratch\nCOPY a.txt /a"))
    text = "FROM scratch AS builder\nCOPY a.txt /\nFROM scratch\nCOPY --from=bulder /a /b"
    run("build", "-q", "-o", "two", project(text))


def test_a_from_that_is_not_there_names_the_stage_that_was_meant(fails):
    with answering(404) as address:
        text = "FROM scratch AS builder\nCOPY a.txt /\nFROM bulder"
        told = fails(text, 5, "--build-context", f"bulder={address}/bulder")
    assert told.endswith("check the name; or did you mean the stage builder?")


def test_a_server_that_is_down_is_told_in_our_words(fails):
    told = fails("FROM scratch\nADD http://me:secret@127.0.0.1:1/x /x", 7)
    place = "Dockerfile:2: ADD: http://***@127.0.0.1:1/x: "
    assert told == f"{place}connection refused; is it running and reachable?"


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [
        (404, 3, "the server answers 404 Not Found; check the URL"),
        (401, 3, "the server answers 401 Unauthorized; check the URL"),
        (503, 7, "it answers 503; try again in 7 s"),
        (429, 7, "it answers 429 (too many requests); wait 7 s"),
    ],
)
def test_what_a_server_answers_is_told(fails, code, status, problem):
    with answering(code, [("Retry-After", "7")]) as address:
        told = fails(f"FROM scratch\nADD http://me:secret@{address}/x /x", status)
    assert told == f"Dockerfile:2: ADD: http://***@{address}/x: {problem}"


def test_a_password_in_a_url_is_used_and_never_shown(run, project, tmp_path):
    headers = []

    def answer(handler):
        headers.append(handler.headers.get("Authorization"))

    (tmp_path / ".netrc").write_text("default login other password other\n")
    (tmp_path / ".netrc").chmod(0o600)
    with answering(200, body=b"x", tell=answer) as address:
        text = f"FROM scratch\nADD http://me:secret@{address}/x /x\nADD http://{address}/y /y"
        done = run("build", "-o", "x", project(text), env=os.environ | {"HOME": str(tmp_path)})
    assert headers == ["Basic " + base64.b64encode(b"me:secret").decode(), None]
    assert f"ADD http://***@{address}/x /x" in done.stderr
    assert "secret" not in done.stdout + done.stderr
