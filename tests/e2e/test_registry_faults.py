"""Registries, real and misbehaving."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from proxy import Proxy, on, serving
from support.images import Layout, oci_layout
from support.layers import file, layer
from support.registry import Registry

COMMAND = Path(sys.executable).with_name("golem-assemble")
DATA = bytes(range(256)) * 4000
SECRET = "secret"
TREE = layer(file("f", os.urandom(300_000) + DATA))


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return oci_layout(tmp_path_factory.mktemp("image"), [TREE], {"Cmd": ["x"]})


@pytest.fixture(scope="module")
def registry(layout, tmp_path_factory):
    several = Layout(tmp_path_factory.mktemp("several"))
    images = [several.image([TREE], {}, platform=p) for p in ("linux/arm64", "linux/s390x")]
    several.tag(several.index(images), "latest")
    with Registry() as registry:
        registry.push_layout(layout.path, "me/image:latest")
        registry.push_layout(layout.path, "me/image:other")
        registry.push_layout(several.path, "me/several:latest")
        yield registry


@pytest.fixture
def proxy(registry):
    with serving(Proxy(registry.address)) as proxy:
        yield proxy


@pytest.fixture
def convert(tmp_path):
    """Convert an image; on failure, see that nothing was left and return the one sentence."""

    def convert(image, status=0, **environment):
        store, out = tmp_path / "store", tmp_path / "x.gvmi"
        done = subprocess.run(
            [COMMAND, "convert", "-q", "--store", store, "-o", out, image],
            capture_output=True, text=True, check=False,
            env=os.environ | {"HOME": str(tmp_path)} | environment,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert list((tmp_path / "store" / "tmp").iterdir()) == []
        for blob in (tmp_path / "store" / "blobs" / "sha256").iterdir():
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
        assert (tmp_path / "x.gvmi").exists() == (status == 0)
        if status:
            assert done.stderr.startswith("golem-assemble: ")
            assert done.stderr.count("\n") == 1
        return done.stderr

    return convert


def status(code, **headers):
    return lambda handler: handler.answer(code, b"", headers.items())


def test_what_is_not_there_is_told_with_what_there_is(convert, registry):
    assert "has latest, other" in convert(f"{registry.address}/me/image:none", 5)
    assert "no repository 'me/none'" in convert(f"{registry.address}/me/none", 5)
    digest = "sha256:" + "0" * 64
    assert "no manifest sha256:000" in convert(f"{registry.address}/me/image@{digest}", 5)
    assert "linux/arm64, linux/s390x" in convert(f"{registry.address}/me/several", 6)


def test_a_digest_in_the_store_needs_no_registry(convert, registry, layout):
    digest = json.loads((layout.path / "index.json").read_text())["manifests"][0]["digest"]
    with serving(Proxy(registry.address)) as proxy:
        convert(f"{proxy.address}/me/image@{digest}")
        asked = len(proxy.requests)
        convert(f"{proxy.address}/me/image@{digest}")
        assert len(proxy.requests) == asked


def test_a_registry_that_is_down_is_tried_again_and_named(convert):
    assert "connection refused" in convert("127.0.0.1:1/x", 7)


def test_a_cut_blob_is_continued_where_it_was_cut(convert, proxy):
    proxy.faults.append(on("/blobs/", lambda handler: handler.cut(100_000), times=2))
    convert(f"{proxy.address}/me/image")
    ranges = [h["Range"] for p, h in proxy.requests if "Range" in h]
    assert ranges
    assert all(value.startswith("bytes=") for value in ranges)


def test_a_server_without_ranges_is_read_again_from_the_start(convert, proxy):
    def whole(handler):
        if "Range" not in handler.headers:
            handler.cut(100_000)
        else:
            del handler.headers["Range"]
            handler.forward()

    proxy.faults.append(on("/blobs/", whole))
    convert(f"{proxy.address}/me/image")


@pytest.mark.parametrize("code", [400, 416, 501])
def test_a_server_that_refuses_ranges_is_read_again_from_the_start(convert, proxy, code):
    def refuse(handler):
        if "Range" in handler.headers:
            handler.answer(code, b"no ranges")
        elif handler.path not in cut:
            cut.add(handler.path)
            handler.cut(100_000)
        else:
            handler.forward()

    cut = set()
    proxy.faults.append(on("/blobs/", refuse))
    convert(f"{proxy.address}/me/image")
    assert any("Range" in headers for _, headers in proxy.requests)


def test_bodies_that_are_encoded_though_nobody_asked_are_decoded(convert, proxy):
    def encode(handler):
        response, body = handler.fetch()
        kept = [*response.headers.items(), ("Content-Encoding", "gzip")]
        handler.answer(response.status, gzip.compress(body), kept)

    proxy.faults.append(on("/v2/", encode))
    convert(f"{proxy.address}/me/image")
    asked = {headers["Accept-Encoding"] for path, headers in proxy.requests if "/blobs/" in path}
    assert asked == {"identity"}


def test_a_blob_that_is_always_cut_at_the_same_place_is_given_up(convert, proxy):
    proxy.faults.append(on("/blobs/", lambda handler: handler.cut(0)))
    assert "was cut off" in convert(f"{proxy.address}/me/image", 7)


def test_a_cut_manifest_is_asked_for_again(convert, proxy):
    proxy.faults.append(on("/manifests/", lambda handler: handler.cut(10), times=1))
    convert(f"{proxy.address}/me/image")


def test_a_manifest_that_is_always_cut_is_given_up(convert, proxy):
    proxy.faults.append(on("/manifests/", lambda handler: handler.cut(10)))
    assert "the manifest was cut off 4 times" in convert(f"{proxy.address}/me/image:other", 7)


def test_too_many_requests_are_waited_out(convert, proxy):
    limited = status(429, **{"Retry-After": "0"})
    proxy.faults.append(on("/manifests/", limited, times=3))
    proxy.faults.append(on("/blobs/", status(503), times=1))
    convert(f"{proxy.address}/me/image")


@pytest.mark.parametrize(("code", "problem"), [(500, "answers 500"), (429, "answers 429")])
def test_a_registry_that_keeps_failing_is_given_up(convert, proxy, code, problem):
    proxy.faults.append(on("/", status(code, **{"Retry-After": "0"})))
    assert problem in convert(f"{proxy.address}/me/image", 7)
    assert len(proxy.requests) == 4


@pytest.mark.parametrize("code", [401, 403])
def test_refusals_are_told_with_the_way_in(convert, proxy, code):
    proxy.faults.append(on("/", status(code)))
    assert "skopeo login" in convert(f"{proxy.address}/me/image", 8)


def test_odd_answers_are_told(convert, proxy):
    proxy.faults.append(on("/manifests/", status(418)))
    assert "answers 418" in convert(f"{proxy.address}/me/image", 7)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda body: body[:-1] + b"?", "got sha256:"),
        (lambda body: body[:-1], "bytes, got"),
        (lambda body: body + b"x", "bytes, got"),
    ],
)
def test_wrong_blobs_are_not_kept(convert, proxy, spoil, problem):
    def act(handler):
        response, body = handler.fetch()
        handler.answer(response.status, spoil(body))

    proxy.faults.append(on("/blobs/", act))
    assert problem in convert(f"{proxy.address}/me/image", 9)


def test_a_part_that_was_not_asked_for_is_refused(convert, proxy):
    def act(handler):
        if "Range" not in handler.headers:
            handler.cut(1000)
        else:
            handler.answer(206, b"x", [("Content-Range", "bytes 5-5/6")])

    proxy.faults.append(on("/blobs/", act))
    assert "another one came" in convert(f"{proxy.address}/me/image", 7)


def test_a_manifest_of_another_digest_is_refused(convert, proxy, layout):
    def act(handler):
        response, body = handler.fetch()
        handler.answer(response.status, body + b" ", response.headers.items())

    proxy.faults.append(on("/manifests/", act))
    assert "manifest: expected sha256:" in convert(f"{proxy.address}/me/image", 9)


def test_a_blob_that_the_registry_lost_is_told(convert, proxy):
    proxy.faults.append(on("/blobs/", status(404)))
    assert "has lost blob" in convert(f"{proxy.address}/me/image", 5)


def test_a_manifest_that_is_too_long_is_refused(convert, proxy):
    proxy.faults.append(on("/manifests/", lambda h: h.answer(200, b" " * (17 << 20))))
    assert "more than 16,777,216 bytes" in convert(f"{proxy.address}/me/image", 10)


def login(folder, address, **entry):
    path = folder / "auth.json"
    path.write_text(json.dumps({"auths": {address: entry}}))
    return {"REGISTRY_AUTH_FILE": str(path)}


def test_basic_authentication_with_what_a_login_left(convert, layout, tmp_path):
    with Registry(user="me", password=SECRET) as private:
        image = private.push_layout(layout.path, "me/image:latest")
        assert "wants a login" in convert(image, 8)
        good = base64.b64encode(b"me:secret").decode()
        bad = base64.b64encode(b"me:wrong").decode()
        error = convert(image, 8, **login(tmp_path, private.address, auth=bad))
        assert "not accepted" in error
        assert "secret" not in error
        convert(image, **login(tmp_path, private.address, auth=good))


def test_bearer_tokens_are_fetched_and_renewed(convert, proxy, tmp_path):
    def guard(handler):
        if handler.path.startswith("/token"):
            want = "Basic " + base64.b64encode(b"me:secret").decode()
            good = handler.headers.get("Authorization") == want
            body = json.dumps({"token": "t"}).encode() if good else b"{}"
            handler.answer(200 if good else 401, body)
            return True
        if handler.headers.get("Authorization") == "Bearer t":
            return False
        challenge = f'Bearer realm="http://{proxy.address}/token",service="s",scope="pull"'
        handler.answer(401, b"", [("Www-Authenticate", challenge)])
        return True

    proxy.faults.append(guard)
    assert "wants a login" in convert(f"{proxy.address}/me/image", 8)
    good = base64.b64encode(b"me:secret").decode()
    convert(f"{proxy.address}/me/image", **login(tmp_path, proxy.address, auth=good))


def test_credential_helpers_are_asked(convert, layout, tmp_path):
    helper = tmp_path / "docker-credential-test"
    helper.write_text('#!/bin/sh\ncat >/dev/null\necho \'{"Username":"me","Secret":"secret"}\'\n')
    helper.chmod(0o755)
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"credsStore": "test"}')
    with Registry(user="me", password=SECRET) as private:
        image = private.push_layout(layout.path, "me/image:latest")
        convert(image, PATH=f"{tmp_path}:{os.environ['PATH']}")
