"""Logging in to registries that ask for it in every way that servers know; skopeo is the judge."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from support.servers import Handler, Server, serving

from layers.errors import AccessDenied
from layers.reference import Reference
from layers.registry import Patience, Registry

MANIFEST = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}'
IDENTITY = "an-identity-token"
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
NAME = "team/image"


class GuardHandler(Handler):
    """Answers for the `Guard` that its server has."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        given = self.headers.get("Authorization")
        if self.taken_over(given):
            return
        if self.path.startswith("/token"):
            self.guard.asked.append(("GET", parse_qs(urlsplit(self.path).query)))
            self.token(given in {None, BASIC})
        elif given in {BASIC, "Bearer good"}:
            kind = [("Content-Type", "application/vnd.oci.image.manifest.v1+json")]
            self.say(200, kind, MANIFEST if "manifests" in self.path else b"{}")
        else:
            lines = [line.replace("@", self.guard.realm) for line in self.guard.challenges]
            self.say(401, [("WWW-Authenticate", line) for line in lines], b"{}")

    def do_POST(self):
        body = self.form()
        if not self.taken_over(body):
            form = parse_qs(body)
            self.guard.asked.append(("POST", form))
            self.token(form.get("refresh_token") == [IDENTITY])

    @property
    def guard(self):
        return self.server.guard

    def taken_over(self, given):
        self.guard.seen.append((self.path, given))
        answer = self.guard.answer(self)
        if answer is not None:
            self.say(*answer)
        return answer is not None

    def form(self):
        if length := self.headers.get("Content-Length"):
            return self.rfile.read(int(length)).decode()
        chunks = []  # skopeo's
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size).decode())
            self.rfile.readline()
        self.rfile.readline()
        return "".join(chunks)

    def token(self, good):
        body = b'{"token": "good", "access_token": "good"}' if good else b"{}"
        self.say(200 if good else 401, [("Content-Type", "application/json")], body)


class Guard:
    """A registry that wants a login, and its token server.

    *challenges* are lines of WWW-Authenticate, in which `@` is the token server. `seen` keeps each
    path and what was given for it, `asked` what the token server was asked. `answer` takes any
    request over, if it returns something.
    """

    def __init__(self, challenges, host="127.0.0.1"):
        self.challenges = challenges
        self.asked = []
        self.seen = []
        self.answer = lambda _handler: None
        self.server = Server(GuardHandler, host)
        self.server.guard = self
        self.address = self.server.address
        self.realm = f"http://{self.address}/token"


@contextmanager
def guarded(*challenges, **options):
    guard = Guard(challenges, **options)
    with serving(guard.server):
        yield guard


@pytest.fixture
def login(tmp_path, monkeypatch):
    """Leave credentials as `skopeo login` does: for us and for skopeo."""
    for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "auth.json"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))

    def login(guard, **entry):
        path.write_text(json.dumps({"auths": {guard.address: entry} if entry else {}}))

    return login


PASSWORD = {"auth": base64.b64encode(b"me:secret").decode()}
IDENTITY_ENTRY = {"auth": base64.b64encode(b"0000:").decode(), "identitytoken": IDENTITY}


def read(guard):
    """The manifest, as this program reads it."""
    reference = Reference.parse(f"{guard.address}/{NAME}")
    registry = Registry(reference, Patience(tries=1))
    try:
        return registry.manifest("latest", None)[0]
    finally:
        registry.close()


def skopeo_reads(guard):
    """Whether skopeo gets the manifest."""
    done = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{guard.address}/{NAME}"],
        capture_output=True, check=False, env=os.environ | {"no_proxy": "*"},
    )  # fmt: skip
    return done.returncode == 0 and done.stdout == MANIFEST


# Challenges, and whether they can be answered without a login. skopeo 1.9 reads one challenge of a
# line, none after an empty value, and tries Basic where that is first even without a login.
TABLE = [
    (['Bearer realm="@",service="s",scope="repository:team/image:pull"'], True),
    (['Bearer realm="@",service=gcr.io'], True),
    (['Bearer realm="@"'], True),
    (['Bearer realm="@",scope=""'], True),
    (['bEARER REALM="@" , Service = "s"'], True),
    (['Bearer error="",realm="@"'], True),
    (['Bearer realm="@",x="a, \\"b\\" \\\\"'], True),
    (['Basic realm="x"'], False),
    (["Negotiate", 'Basic realm="x"'], False),
    (['Basic realm="x"', 'Bearer realm="@"'], True),
    (['Bearer realm="@"', 'Basic realm="x"'], True),
    (['Bearer realm="@", Basic realm="x"'], True),
    (['Basic realm="x", Bearer realm="@"'], True),
    (['Negotiate, Basic realm="x", Bearer realm="@"'], True),
    (['Negotiate YWJj==, Bearer realm="@"'], True),
    (["Bearer realm=@,service=s"], True),
]


@pytest.mark.parametrize("entry", [PASSWORD, {}], ids=["login", "nobody"])
@pytest.mark.parametrize(("challenges", "anonymous"), TABLE)
def test_what_skopeo_can_read_we_can(login, challenges, anonymous, entry):
    with guarded(*challenges) as guard:
        login(guard, **entry)
        if entry or anonymous:
            assert read(guard) == MANIFEST
        else:
            with pytest.raises(AccessDenied, match="it wants a login"):
                read(guard)
        ours, guard.asked = guard.asked, []
        if skopeo_reads(guard):
            assert entry or anonymous
            # skopeo takes a password to Basic where that comes first, and names its account.
            for mine, its in zip(ours, guard.asked, strict=False):
                assert (mine[0], mine[1]["scope"]) == (its[0], its[1]["scope"])


def test_an_identity_token_is_exchanged_as_skopeo_does(login):
    with guarded('Bearer realm="@",service="s"') as guard:
        login(guard, **IDENTITY_ENTRY)
        assert read(guard) == MANIFEST
        ours, guard.asked = guard.asked, []
        assert skopeo_reads(guard)
    for method, form in (*ours, *guard.asked):
        assert method == "POST"
        assert form.pop("client_id")
        assert form == {
            "grant_type": ["refresh_token"], "refresh_token": [IDENTITY], "service": ["s"],
            "scope": ["repository:team/image:pull"],
        }  # fmt: skip


@pytest.mark.parametrize("status", [401, 404, 405])
def test_a_token_server_without_oauth2_is_given_the_password_if_there_is_one(login, status):
    with guarded('Bearer realm="@"') as guard:
        guard.answer = lambda handler: (status, []) if handler.command == "POST" else None
        login(guard, **IDENTITY_ENTRY)
        with pytest.raises(AccessDenied, match=f"its token server 127.0.0.1 answers {status}"):
            read(guard)
        login(guard, **PASSWORD, identitytoken=IDENTITY)
        assert read(guard) == MANIFEST


# To whom credentials go.


def test_a_redirect_elsewhere_that_wants_a_login_gets_no_credentials(login):
    """Neither the password nor a token goes to a host that the registry redirects to."""
    challenges = ['Basic realm="x"', 'Bearer realm="@"']
    with guarded(*challenges, host="127.0.0.2") as stranger, guarded(*challenges) as guard:
        guard.answer = lambda handler: (
            307, [("Location", f"http://{stranger.address}{handler.path}")],
        )  # fmt: skip
        for entry in (PASSWORD, IDENTITY_ENTRY, {}):
            login(guard, **entry)
            with pytest.raises(AccessDenied, match=r"redirects to 127.0.0.2, which refuses access"):
                read(guard)
        assert guard.asked == stranger.asked == []
        assert {given for _, given in stranger.seen} == {None}


@pytest.mark.parametrize("status", [302, 307, 308])
@pytest.mark.parametrize("entry", [PASSWORD, IDENTITY_ENTRY])
def test_a_token_server_that_redirects_elsewhere_loses_the_credentials(login, entry, status):
    with guarded(host="127.0.0.2") as stranger, guarded('Bearer realm="@"') as guard:
        guard.answer = lambda handler: (
            (status, [("Location", stranger.realm)]) if handler.path.startswith("/token") else None
        )
        login(guard, **entry)
        if entry is PASSWORD:
            assert read(guard) == MANIFEST  # by what the other server gives to anybody
        else:
            with pytest.raises(AccessDenied, match=f"token server 127.0.0.1 answers {status}"):
                read(guard)
        assert {given for _, given in stranger.seen} <= {None}


def test_the_realm_that_the_registry_names_gets_the_credentials(login):
    with guarded(host="127.0.0.2") as server, guarded('Bearer realm="@"') as guard:
        guard.realm = server.realm
        login(guard, **PASSWORD)
        assert read(guard) == MANIFEST
        assert [given for _, given in server.seen] == [BASIC]


def test_netrc_is_never_read(login, tmp_path):
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    basic = 'Basic realm="x"'
    with guarded(basic, host="127.0.0.2") as stranger, guarded(basic) as guard:
        login(guard)
        with pytest.raises(AccessDenied, match="it wants a login"):
            read(guard)
        guard.answer = lambda handler: (
            307, [("Location", f"http://{stranger.address}{handler.path}")],
        )  # fmt: skip
        with pytest.raises(AccessDenied, match="which refuses access"):
            read(guard)
        assert {given for _, given in (*guard.seen, *stranger.seen)} == {None}
