"""Registries and servers of files that send without end, or hardly anything."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from support.endless import OK, forever, once, saying

from assembler import downloads
from assembler.errors import DownloadError
from layers import spool as spool_module
from layers.errors import (
    AccessDenied,
    ImageNotFound,
    LimitExceeded,
    MalformedImage,
    RegistryUnavailable,
)
from layers.limits import Limits
from layers.pace import Pace
from layers.reference import Reference
from layers.registry import Patience, Registry
from layers.session import Session
from layers.spool import Spool
from layers.store import ContentStore

MANIFEST = b'{"schemaVersion": 2}'
WHOLE = OK + b"Content-Length: %d\r\n\r\n" % len(MANIFEST) + MANIFEST
QUICK = Pace(0.3)
BODY = OK + b"\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def _nobody_logged_in(tmp_path, monkeypatch):
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "_SLOWEST", QUICK.seconds)


def manifest(answers, pace=QUICK):
    """What a registry's client makes of these answers, and how much was sent."""
    with saying(answers) as (address, sent):
        reference = Reference.parse(f"{address}/x:1")
        registry = Registry(reference, Patience(tries=1, read_timeout=5, pace=pace))
        began = time.monotonic()
        try:
            return registry.manifest("1", None)[0]
        finally:
            registry.close()
            assert time.monotonic() - began < 4
            assert sum(sent) < 64 << 20


def add(answers, session):
    """The bytes that ADD gets of these answers."""
    with saying(answers) as (address, sent), Spool(session.store.area) as spool:
        try:
            downloads.download(f"http://{address}/f", "", spool, session, needs_checksum=False)
            return spool.read_at(0, spool.size)
        finally:
            assert sum(sent) < 64 << 20


@pytest.fixture
def session(tmp_path):
    return Session(ContentStore(tmp_path / "store"), Limits(file_bytes=1 << 20))


def head(status, *lines):
    return "\r\n".join([f"HTTP/1.1 {status} Some", *lines, "", ""]).encode()


def test_a_manifest_without_an_end():
    with pytest.raises(MalformedImage, match="more than 16,777,216 bytes"):
        manifest(lambda *_: forever(BODY))


def test_a_list_of_tags_without_an_end():
    def answers(path, _):
        return forever(BODY) if "tags" in path else once(head(404, "Content-Length: 0"))

    with pytest.raises(ImageNotFound, match="has no repository"):
        manifest(answers)


@pytest.mark.parametrize("status", [200, 401, 403, 404])
def test_a_token_without_an_end(status):
    def answers(path, address):
        challenge = f'WWW-Authenticate: Bearer realm="http://{address}/token"'
        return forever(head(status)) if "token" in path else forever(head(401, challenge))

    with pytest.raises(AccessDenied, match="token server 127.0.0.1 (gives no|answers)"):
        manifest(answers)


@pytest.mark.parametrize("status", [401, 403, 404, 418])
def test_a_refusal_without_an_end(status):
    with pytest.raises((AccessDenied, ImageNotFound, RegistryUnavailable)):
        manifest(lambda *_: forever(head(status)))


REDIRECTS = [
    head(307, "Location: /there"),
    head(307, "Location: /there", "Transfer-Encoding: chunked") + b"ffffffff\r\n",
    head(307, "Location: /there", "Content-Length: 99999999999"),
    head(302, "Location: /there", "Content-Encoding: gzip"),
]


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_a_redirect_without_an_end(redirect, session):
    def answers(path, _):
        return once(WHOLE) if path == "/there" else forever(redirect)

    assert manifest(answers) == MANIFEST
    assert add(answers, session) == MANIFEST


def test_a_redirect_with_a_short_body_is_followed_on_the_same_connection(session):
    redirect = head(307, "Location: /there", "Content-Length: 5") + b"there"
    assert manifest(lambda path, _: once(WHOLE if path == "/there" else redirect)) == MANIFEST


HEADS = [
    forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01),
    forever(OK, b"a"),
    forever(OK, b"a", pause=0.01),
    forever(CHUNKED, b"0" * 1000),
]
BODIES = [
    forever(BODY, pause=0.01, piece=b" "),
    forever(CHUNKED, b"1\r\nx\r\n", pause=0.01),
    forever(CHUNKED, b"0", pause=0.01),
    forever(OK + b"Content-Length: 9999\r\n\r\n", b" ", pause=0.01),
]


@pytest.mark.parametrize("answer", [*HEADS, *BODIES])
def test_an_answer_that_does_not_get_on(answer, session):
    with pytest.raises(
        RegistryUnavailable,
        match="sends too slowly|has no end",
    ):
        manifest(lambda *_: answer)
    with pytest.raises(DownloadError, match="sends too slowly|has no end"):
        add(lambda *_: answer, session)


def test_an_answer_that_is_slow_but_gets_on():
    body = json.dumps({"x": "y" * 20_000}).encode()

    def slowly():
        yield OK + b"Content-Length: %d\r\n\r\n" % len(body)
        for position in range(0, len(body), 2000):
            time.sleep(0.05)
            yield body[position : position + 2000]

    assert manifest(lambda *_: slowly, Pace(1.0)) == body


def test_what_add_fetches_has_an_end(session):
    with pytest.raises(LimitExceeded, match="file_bytes"):
        add(lambda *_: forever(BODY), session)


def test_an_encoded_download_is_no_bomb(session, monkeypatch):
    # The ratio counts above a GiB; here above 64 KiB.
    monkeypatch.setattr(spool_module, "_RATIO_FREE", 1 << 16)
    body = gzip.compress(b"same" * 200_000)
    answer = head(200, "Content-Encoding: gzip", f"Content-Length: {len(body)}") + body
    with pytest.raises(LimitExceeded, match=r"/f: the ratio of its plain"):
        add(lambda *_: once(answer), session)
