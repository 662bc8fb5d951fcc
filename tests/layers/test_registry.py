"""The registry's client without a server; with real ones: tests/e2e/test_registry.py."""

from __future__ import annotations

import base64
import email.utils
import gzip
import json
import time
import zlib

import pytest
import requests
import urllib3
from builders import Answers, descriptor

from layers import descriptor as media
from layers.digest import Digest
from layers.errors import (
    AccessDenied,
    DigestMismatch,
    ImageNotFound,
    MalformedImage,
    RegistryUnavailable,
)
from layers.reference import Reference
from layers.registry import Patience, Registry
from layers.store import CHUNK

DATA = bytes(range(256)) * 4000
BLOB = descriptor(DATA)
MANIFEST = b'{"schemaVersion": 2}'
CUT = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))


@pytest.fixture(autouse=True)
def _nobody_logged_in(tmp_path, monkeypatch):
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def log_in(home):
    secret = base64.b64encode(b"me:secret").decode()
    (home / ".docker").mkdir()
    (home / ".docker" / "config.json").write_text(
        json.dumps({"auths": {"registry.test": {"auth": secret}}})
    )
    return secret


class Client:
    """A registry whose requests are answered by a function, and the pauses that it made."""

    def __init__(self, answer, name="registry.test/team/image:1", **patience):
        self.pauses = []
        self.registry = Registry(
            Reference.parse(name), Patience(sleep=self.pauses.append, **patience)
        )
        self.answers = Answers(answer)
        for scheme in ("https://", "http://"):
            self.registry.session.mount(scheme, self.answers)

    @property
    def urls(self):
        return [request.url for request in self.answers.requests]

    def header(self, name):
        return [request.headers.get(name) for request in self.answers.requests]


def always(status=200, headers=None, body=b""):
    return Client(lambda _request: (status, headers or {}, body))


def in_turn(*answers, **options):
    """A client that gets these answers, one after the other; exceptions are raised."""
    waiting = list(answers)

    def answer(_request):
        following = waiting.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    return Client(answer, **options)


def read(client, found=BLOB):
    return b"".join(client.registry.blob(found))


# Where.


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("alpine", "https://registry-1.docker.io/v2/library/alpine/"),
        ("registry.test/a/b:1", "https://registry.test/v2/a/b/"),
        ("localhost:5000/a", "http://localhost:5000/v2/a/"),
        ("127.0.0.1:5000/a", "http://127.0.0.1:5000/v2/a/"),
        ("[::1]:5000/a", "http://[::1]:5000/v2/a/"),
    ],
)
def test_a_reference_has_an_address(name, base):
    client = Client(lambda _request: (200, {}, MANIFEST), name)
    client.registry.manifest("t", None)
    assert client.urls == [base + "manifests/t"]


def test_a_clone_asks_the_same_repository_with_the_same_token():
    registry = Registry(Reference.parse("registry.test/a"))
    registry.auth.token = "abc"
    twin = registry.clone()
    assert twin.session is not registry.session
    twin.session.mount("https://", answers := Answers(lambda _request: (200, {}, MANIFEST)))
    twin.manifest("t", None)
    (request,) = answers.requests
    assert request.url == "https://registry.test/v2/a/manifests/t"
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers["User-Agent"] == "golem-assemble"
    registry.close()
    twin.close()


def test_what_netrc_says_does_not_override_a_login(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine registry.test login other password wrong\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client = always(body=MANIFEST)
    client.registry.auth.token = "abc"
    client.registry.manifest("t", None)
    assert client.header("Authorization") == ["Bearer abc"]


# Manifests.


def test_a_manifest_comes_with_its_type_and_digest():
    client = always(
        headers={
            "Content-Type": f"{media.OCI_MANIFEST}; charset=utf-8",
            "Docker-Content-Digest": str(Digest.of(MANIFEST)),
        },
        body=MANIFEST,
    )
    expected = (MANIFEST, media.OCI_MANIFEST, Digest.of(MANIFEST))
    assert client.registry.manifest("1", None) == expected
    assert client.registry.manifest(None, Digest.of(MANIFEST)) == expected
    assert client.registry.manifest("1", Digest.of(MANIFEST)) == expected
    assert [url.rpartition("/")[2] for url in client.urls] == [
        "1", str(Digest.of(MANIFEST)), str(Digest.of(MANIFEST)),
    ]  # fmt: skip
    for accepted in (media.OCI_INDEX, media.DOCKER_LIST, media.OCI_MANIFEST):
        assert accepted in client.header("Accept")[0]


def test_a_manifest_without_headers_has_the_digest_of_its_bytes():
    assert always(body=MANIFEST).registry.manifest("1", None) == (
        MANIFEST, "", Digest.of(MANIFEST),
    )  # fmt: skip


def test_a_compressed_answer_is_read():
    client = always(headers={"Content-Encoding": "gzip"}, body=gzip.compress(MANIFEST))
    assert client.registry.manifest("1", None)[0] == MANIFEST


@pytest.mark.parametrize("promise", ["header", "reference"])
def test_a_manifest_that_was_altered_is_refused(promise):
    digest = Digest.of(b"other")
    client = always(
        headers={"Docker-Content-Digest": str(digest)} if promise == "header" else {}, body=MANIFEST
    )
    with pytest.raises(DigestMismatch, match="^registry.test/team/image:1: manifest: expected sha"):
        client.registry.manifest("1", digest if promise == "reference" else None)


def test_a_promised_digest_that_is_none_is_told():
    client = always(headers={"Docker-Content-Digest": "sha256:short"}, body=MANIFEST)
    with pytest.raises(MalformedImage, match="is no digest"):
        client.registry.manifest("1", None)


def test_a_manifest_that_is_too_large_is_not_read():
    with pytest.raises(MalformedImage, match="manifest has more than 16,777,216 bytes"):
        always(body=bytes((16 << 20) + 1)).registry.manifest("1", None)


@pytest.mark.parametrize(
    ("digest", "tags", "problem"),
    [
        (None, ["b", "a"], "there is no tag '1'; the repository has a, b$"),
        (Digest.of(b""), ["a"], "there is no manifest sha256:e3b0.*; the repository has a$"),
        (None, [f"{n:02}" for n in range(30)], r"the repository has 00, .*, 19 and 10 more$"),
        (None, [7, "a"], "the repository has a$"),
        (None, [], "has no repository 'team/image'; check the name$"),
        (None, None, "has no repository 'team/image'; check the name$"),
    ],
)
def test_what_is_not_there_is_answered_with_what_there_is(digest, tags, problem):
    client = in_turn((404, {}, b""), (200, {}, json.dumps({"tags": tags}).encode()))
    with pytest.raises(ImageNotFound, match=f"^registry.test/team/image:1: .*{problem}"):
        client.registry.manifest("1", digest)


@pytest.mark.parametrize("answer", [(404, {}, b""), (200, {}, b"oops"), (200, {}, b"[]")])
def test_tags_that_cannot_be_listed_are_none(answer):
    assert in_turn(answer).registry.tags() == []


def test_a_manifest_that_is_cut_is_asked_for_again():
    client = in_turn((200, {}, [MANIFEST[:3], CUT]), (200, {}, MANIFEST))
    assert client.registry.manifest("1", None)[0] == MANIFEST
    assert len(client.pauses) == 1


def test_a_manifest_that_is_always_cut_is_given_up():
    client = always(body=[CUT])
    with pytest.raises(RegistryUnavailable, match="the manifest was cut off 4 times"):
        client.registry.manifest("1", None)


def test_what_is_not_there_is_told_though_the_tags_cannot_be_listed():
    client = in_turn((404, {}, b""), *[(503, {}, b"")] * 4)
    with pytest.raises(ImageNotFound, match="has no repository 'team/image'"):
        client.registry.manifest("1", None)


def test_an_answer_that_cannot_be_understood_is_told():
    client = in_turn(ValueError("odd"))
    with pytest.raises(RegistryUnavailable, match=r"an answer cannot be understood \(odd\)"):
        client.registry.manifest("1", None)


# Blobs.


def test_a_blob_is_read():
    client = always(body=DATA)
    assert read(client) == DATA
    assert client.urls == [f"https://registry.test/v2/team/image/blobs/{BLOB.digest}"]
    assert client.header("Accept-Encoding") == ["identity"]
    assert client.header("Range") == [None]
    assert client.pauses == []


def part(start, body):
    headers = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
    return 206, headers, body


def test_a_blob_that_is_cut_goes_on_where_it_was():
    client = in_turn(
        (200, {}, [DATA[: CHUNK + 9], CUT]),
        part(CHUNK + 9, [DATA[CHUNK + 9 : 3 * CHUNK], CUT]),
        part(3 * CHUNK, DATA[3 * CHUNK :]),
    )
    assert read(client) == DATA
    assert client.header("Range") == [None, f"bytes={CHUNK + 9}-", f"bytes={3 * CHUNK}-"]
    assert len(client.pauses) == 2


def test_a_blob_that_ends_early_goes_on():
    client = in_turn((200, {}, DATA[:1000]), part(1000, DATA[1000:]))
    assert read(client) == DATA


def test_a_server_without_ranges_begins_again():
    client = in_turn((200, {}, [DATA[:300_000], CUT]), (200, {}, DATA))
    assert read(client) == DATA


@pytest.mark.parametrize("status", [400, 416, 501])
def test_a_server_that_refuses_ranges_is_asked_for_all_again(status):
    client = in_turn((200, {}, [DATA[:300_000], CUT]), (status, {}, b"odd"), (200, {}, DATA))
    assert read(client) == DATA
    assert client.header("Range") == [None, "bytes=300000-", None]
    assert len(client.pauses) == 1


def test_a_part_that_is_called_the_whole_is_told_by_its_range():
    """dragonfly's proxy answers 200 to a Range that it serves (dragonflyoss/client, 1874)."""
    _, headers, rest = part(300_000, DATA[300_000:])
    client = in_turn((200, {}, [DATA[:300_000], CUT]), (200, headers, rest))
    assert read(client) == DATA
    _, headers, whole = part(0, DATA)
    client = in_turn((200, {}, [DATA[:300_000], CUT]), (200, headers, whole))
    assert read(client) == DATA


def test_a_server_that_refuses_ranges_and_is_cut_again_is_given_up():
    client = Client(lambda request: (416, {}, b"") if "Range" in request.headers else (
        200, {}, [DATA[:CHUNK], CUT],
    ))  # fmt: skip
    with pytest.raises(RegistryUnavailable, match="was cut off 5 times, last after 262,144 of"):
        read(client)


def test_what_comes_again_from_the_start_is_as_long_as_it_was():
    client = in_turn((200, {}, [DATA[:300_000], CUT]), (416, {}, b""), (200, {}, DATA + b"x"))
    assert read(client) == DATA + b"x"


PLAIN = b"plain " * 200_000
ENCODED = gzip.compress(PLAIN)


def encoded(body, encoding="gzip", **headers):
    return 200, {"Content-Encoding": encoding, **headers}, body


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", ENCODED), ("x-gzip", ENCODED), ("GZIP", ENCODED), ("deflate", zlib.compress(PLAIN)),
     ("identity", PLAIN), ("gzip, gzip", gzip.compress(ENCODED))],
    ids=["gzip", "x-gzip", "upper", "deflate", "identity", "twice"],
)  # fmt: skip
@pytest.mark.parametrize("told", [True, False])
def test_a_blob_that_comes_encoded_all_the_same_is_decoded(encoding, body, told):
    size = {"Content-Length": str(len(body))} if told else {}
    assert read(in_turn(encoded(body, encoding, **size)), descriptor(PLAIN)) == PLAIN


def test_an_encoded_blob_that_is_cut_begins_again():
    client = in_turn(
        encoded([ENCODED[: len(ENCODED) // 2], CUT]), encoded(ENCODED), (200, {}, PLAIN)
    )
    assert read(client, descriptor(PLAIN)) == PLAIN
    assert client.header("Range")[0] is None


def test_a_part_of_an_encoded_blob_is_not_used():
    half = len(ENCODED) // 2
    part_of_it = {"Content-Encoding": "gzip", "Content-Range": f"bytes {half}-9999/10000"}
    client = in_turn(
        (200, {}, [PLAIN[:300_000], CUT]), (206, part_of_it, ENCODED[half:]), encoded(ENCODED)
    )
    assert read(client, descriptor(PLAIN)) == PLAIN
    assert client.header("Range") == [None, "bytes=300000-", None]


def test_a_compressed_layer_that_is_called_encoded_is_left_as_it_is():
    """Apache's mod_mime_magic calls every .tar.gz `Content-Encoding: x-gzip`."""
    found = descriptor(ENCODED)
    size = {"Content-Length": str(len(ENCODED))}
    assert read(in_turn(encoded(ENCODED, "x-gzip", **size)), found) == ENCODED
    half = len(ENCODED) // 2
    rest = {
        "Content-Encoding": "x-gzip",
        "Content-Range": f"bytes {half}-{len(ENCODED) - 1}/{len(ENCODED)}",
    }
    client = in_turn(encoded([ENCODED[:half], CUT], "x-gzip", **size), (206, rest, ENCODED[half:]))
    assert read(client, found) == ENCODED


def test_what_claims_to_be_encoded_and_is_not_is_given_up():
    with pytest.raises(RegistryUnavailable, match="was cut off"):
        read(always(headers={"Content-Encoding": "gzip"}, body=b"plain"), descriptor(PLAIN))


def test_a_blob_that_is_cut_at_the_same_place_again_and_again_is_given_up():
    client = Client(lambda request: part(CHUNK, [CUT]) if "Range" in request.headers else (
        200, {}, [DATA[:CHUNK], CUT],
    ))  # fmt: skip
    problem = r"was cut off 5 times, last after 262,144 of 1,024,000 bytes \(the connection was clo"
    with pytest.raises(RegistryUnavailable, match=problem):
        read(client)
    assert len(client.pauses) == 4


def test_a_blob_that_comes_in_too_many_parts_is_given_up():
    def next_chunk(request):
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        body = [DATA[start : start + CHUNK], *([CUT] if start + CHUNK < len(DATA) else [])]
        return part(start, body) if start else (200, {}, body)

    assert read(Client(next_chunk, resumes=4)) == DATA
    problem = "was cut off 3 times, last after 786,432 of 1,024,000 bytes"
    with pytest.raises(RegistryUnavailable, match=problem):
        read(Client(next_chunk, resumes=2))


@pytest.mark.parametrize(
    "headers",
    [{}, {"Content-Range": "bytes 5-9/1024000"}, {"Content-Range": "bytes */1024000"}],
)
def test_a_part_that_was_not_asked_for_is_refused(headers):
    client = in_turn((200, {}, [DATA[:CHUNK], CUT]), (206, headers, DATA[CHUNK:]))
    with pytest.raises(RegistryUnavailable, match="was asked for, another one came; try again"):
        read(client)


def test_a_part_of_a_blob_of_another_size_is_refused():
    headers = {"Content-Range": f"bytes {CHUNK}-1024000/1024001"}
    client = in_turn((200, {}, [DATA[:CHUNK], CUT]), (206, headers, DATA[CHUNK:]))
    with pytest.raises(DigestMismatch, match="expected 1024000 bytes, got 1024001 bytes"):
        read(client)


def test_a_blob_that_is_gone_is_told():
    with pytest.raises(ImageNotFound, match=f"the registry has lost blob {BLOB.digest}"):
        read(always(404))


@pytest.mark.parametrize(
    ("status", "error", "problem"),
    [
        (403, AccessDenied, r"refuses access \(403\)"),
        (418, RegistryUnavailable, "the registry answers 418; try again later"),
        (302, RegistryUnavailable, "the registry answers 302"),
    ],
)
def test_other_answers_are_told(status, error, problem):
    with pytest.raises(error, match=problem):
        read(always(status))
    with pytest.raises(error, match=problem):
        always(status).registry.manifest("1", None)


def test_more_than_was_promised_is_passed_on_to_whoever_verifies():
    assert read(always(body=DATA + b"x")) == DATA + b"x"


def test_a_size_that_is_not_the_promised_one_is_told_at_once():
    client = always(headers={"Content-Length": "9"}, body=b"123456789")
    with pytest.raises(DigestMismatch, match="expected 1024000 bytes, got 9 bytes"):
        read(client)
    client = always(headers={"Content-Length": "9" * 5000}, body=b"123456789")
    with pytest.raises(DigestMismatch, match="expected 1024000 bytes, got 999"):
        read(client)


# Waiting.


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_failures_that_pass_are_waited_out(status):
    client = in_turn((status, {}, b""), (status, {}, b""), (200, {}, MANIFEST))
    assert client.registry.manifest("1", None)[0] == MANIFEST
    first, second = client.pauses
    # Half a second, doubled each time, and a quarter of it for jitter.
    assert 0.375 <= first <= 0.625
    assert 0.75 <= second <= 1.25


@pytest.mark.parametrize(
    ("headers", "advice"),
    [({"Retry-After": "3600"}, "wait 3600 s"), ({}, "wait a while")],
)
@pytest.mark.parametrize("logged_in", [True, False])
def test_a_rate_limit_says_to_log_in_or_how_long_to_wait(tmp_path, headers, advice, logged_in):
    if logged_in:
        log_in(tmp_path)
    with pytest.raises(RegistryUnavailable) as told:
        always(429, headers).registry.manifest("1", None)
    assert f"{advice} (tried 4 times" in str(told.value)
    assert ("log in (skopeo login registry.test, " in str(told.value)) != logged_in


def test_retry_after_may_be_a_date():
    moment = email.utils.formatdate(time.time() + 30, usegmt=True)
    client = in_turn((429, {"Retry-After": moment}, b""), (200, {}, MANIFEST))
    client.registry.manifest("1", None)
    (waited,) = client.pauses
    assert 20 < waited <= 30


def test_a_token_server_that_is_busy_is_waited_for():
    waiting = [(503, {}, b""), (200, {}, [CUT]), (200, {}, b'{"token": "abc"}')]
    guard = guarded(BEARER)
    client = Client(
        lambda request: waiting.pop(0) if "auth.test" in request.url else guard(request)
    )
    assert client.registry.manifest("1", None)[0] == MANIFEST
    assert len(client.pauses) == 2


def test_a_list_of_tags_that_is_too_long_is_not_read():
    assert in_turn((200, {}, bytes((16 << 20) + 1))).registry.tags() == []


@pytest.mark.parametrize(
    ("value", "pause"), [("7", 7.0), ("0", 0.0), ("999999", 60.0), ("soon", None), ("", None)]
)
def test_retry_after_is_honoured_within_reason(value, pause):
    client = in_turn((429, {"Retry-After": value}, b""), (200, {}, MANIFEST))
    client.registry.manifest("1", None)
    (waited,) = client.pauses
    assert waited == pause or (pause is None and waited <= 0.625)


def test_a_registry_that_keeps_failing_is_given_up():
    client = always(503)
    problem = (
        r"^registry.test/team/image:1: registry.test: it answers 503; try again later "
        r"\(tried 4 times in \d+ s\)$"
    )
    with pytest.raises(RegistryUnavailable, match=problem):
        client.registry.manifest("1", None)
    assert (len(client.urls), len(client.pauses)) == (4, 3)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ConnectionError("x: [Errno 111] Connection refused"),
         "connection refused; is it"),
        (requests.ConnectionError("Temporary failure in name resolution"),
         "its name cannot be resolved; check the name, and"),
        (requests.Timeout("Read timed out."), "no answer in time; is it running"),
        (requests.ConnectionError(""), "ConnectionError; try"),
        (requests.ConnectionError("one\ntwo"), "one; try"),
    ],
)  # fmt: skip
def test_a_connection_that_fails_is_told_in_few_words(error, words):
    client = in_turn(*[error] * 4)
    problem = f"^registry.test/team/image:1: registry.test: {words}"
    with pytest.raises(RegistryUnavailable, match=problem):
        client.registry.manifest("1", None)


def test_what_names_a_secret_query_is_not_shown():
    inner = urllib3.exceptions.ProtocolError("broken in an odd way")
    outer = urllib3.exceptions.MaxRetryError(None, "/blob?signature=secret", inner)
    client = in_turn(*[requests.ConnectionError(outer)] * 4)
    with pytest.raises(
        RegistryUnavailable, match="registry.test: broken in an odd way; try"
    ) as told:
        client.registry.manifest("1", None)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"),
        requests.exceptions.InvalidURL("bad"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(error):
    client = in_turn(error)
    with pytest.raises(RegistryUnavailable, match=r"\(not tried again\)$"):
        client.registry.manifest("1", None)
    assert client.pauses == []


def test_a_failure_that_passes_is_forgotten():
    client = in_turn(requests.ConnectionError("reset"), (200, {}, MANIFEST))
    assert client.registry.manifest("1", None)[0] == MANIFEST


def test_a_redirect_to_another_host_does_not_take_the_token_along():
    def answer(request):
        if request.url.startswith("https://registry.test/"):
            return 307, {"Location": "https://blobs.test/x"}, b""
        return 200, {}, DATA

    client = Client(answer)
    client.registry.auth.token = "abc"
    assert read(client) == DATA
    assert client.header("Authorization") == ["Bearer abc", None]


# Logging in.


def guarded(challenge, token=b'{"token": "abc"}'):
    """A registry that wants a login, and the server that gives its tokens."""

    def answer(request):
        if request.url.startswith("https://auth.test/"):
            return 200, {}, token
        if "Authorization" in request.headers:
            return 200, {}, MANIFEST
        return 401, {"Www-Authenticate": challenge}, b""

    return answer


BEARER = 'Bearer realm="https://auth.test/token",service="s",scope="repository:team/image:pull"'


def test_a_token_is_fetched_once():
    client = Client(guarded(BEARER))
    client.registry.manifest("1", None)
    client.registry.manifest("1", None)
    assert len(client.urls) == 4
    assert client.header("Authorization")[-1] == "Bearer abc"


def test_a_login_is_answered_by_basic(tmp_path):
    secret = log_in(tmp_path)
    client = Client(guarded('Basic realm="x"'))
    assert client.registry.manifest("1", None)[0] == MANIFEST
    assert client.header("Authorization") == [None, f"Basic {secret}"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_does_not_help_is_told(status):
    def answer(request):
        if request.url.startswith("https://auth.test/"):
            return 200, {}, b'{"token": "abc"}'
        return status, {"Www-Authenticate": BEARER}, b""

    with pytest.raises(AccessDenied, match=rf"refuses access \({status}\)"):
        Client(answer).registry.manifest("1", None)


@pytest.mark.parametrize("token", [b"oops", b"[]", b"7", b'{"token": ""}'])
def test_a_token_that_is_none_is_told(token):
    client = Client(guarded(BEARER, token))
    with pytest.raises((RegistryUnavailable, AccessDenied)):
        client.registry.manifest("1", None)
