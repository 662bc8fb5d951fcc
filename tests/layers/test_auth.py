from __future__ import annotations

import base64
import io
import json
import stat
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from builders import Answers

from layers import auth
from layers.auth import ChallengeAuth, Credentials, find_credentials
from layers.errors import AccessDenied
from layers.reference import Reference
from layers.tokens import TokenServerBusy

SECRET = "secret"
BASE = "https://registry.test:5000/v2/team/project/image"
HUB = Reference.parse("alpine")
PRIVATE = Reference.parse("registry.test:5000/team/project/image:1")


@pytest.fixture
def home(tmp_path):
    """An environment whose files all lie below one folder."""
    return {"HOME": str(tmp_path)}


def encoded(user, password=SECRET):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def login(path, key="registry.test:5000", user="me", **fields):
    """A file as `podman login` or `docker login` leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": {key: {"auth": encoded(user)}}, **fields}))
    return path


def user_of(found):
    return None if found is None else found.username


# Where.


def test_nobody_logged_in(home):
    assert find_credentials(PRIVATE, home) is None
    assert find_credentials(PRIVATE, {}) is None


def test_the_first_file_that_knows_the_registry_wins(home, tmp_path):
    runtime, config, docker = (tmp_path / name for name in ("run", "cfg", "docker"))
    home |= {
        "REGISTRY_AUTH_FILE": str(tmp_path / "named.json"),
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_CONFIG_HOME": str(config),
        "DOCKER_CONFIG": str(docker),
    }
    places = [
        login(tmp_path / "named.json", user="named"),
        login(runtime / "containers" / "auth.json", user="runtime"),
        login(config / "containers" / "auth.json", user="config"),
        login(docker / "config.json", user="docker"),
    ]
    for place, user in zip(places, ["named", "runtime", "config", "docker"], strict=True):
        assert user_of(find_credentials(PRIVATE, home)) == user
        place.write_text('{"auths": {}}')
    assert find_credentials(PRIVATE, home) is None


def test_files_in_the_home_folder_are_found(home, tmp_path):
    login(tmp_path / ".docker" / "config.json", user="docker")
    assert user_of(find_credentials(PRIVATE, home)) == "docker"
    login(tmp_path / ".config" / "containers" / "auth.json", user="podman")
    assert find_credentials(PRIVATE, home) == Credentials("podman", "secret")


def test_a_file_that_somebody_named_must_be_there(home, tmp_path):
    home["REGISTRY_AUTH_FILE"] = str(tmp_path / "none.json")
    with pytest.raises(AccessDenied, match=r"none.json: .*No such file.*mend REGISTRY_AUTH_FILE"):
        find_credentials(PRIVATE, home)


def test_files_of_others_that_cannot_be_read_are_passed_over(home, tmp_path, monkeypatch):
    login(tmp_path / ".docker" / "config.json")
    read_bytes = auth.Path.read_bytes

    def refuse(path):
        if path.parts[-2:] == ("containers", "auth.json"):
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(auth.Path, "read_bytes", refuse)
    assert user_of(find_credentials(PRIVATE, home)) == "me"
    home["REGISTRY_AUTH_FILE"] = str(tmp_path / "containers" / "auth.json")
    with pytest.raises(AccessDenied, match="Permission denied"):
        find_credentials(PRIVATE, home)


def test_a_file_in_the_place_of_a_folder_is_passed_over(home, tmp_path):
    (tmp_path / ".docker").write_text("")
    assert find_credentials(PRIVATE, home) is None


@pytest.mark.parametrize("text", ["{", "", "\x00"])
def test_a_file_that_is_no_json_is_told(home, tmp_path, text):
    login(tmp_path / ".docker" / "config.json").write_text(text)
    with pytest.raises(AccessDenied, match=r"config.json is not valid JSON: .*log in again"):
        find_credentials(PRIVATE, home)


@pytest.mark.parametrize(
    "data",
    [[], 7, None, {}, {"auths": []}, {"auths": {"registry.test:5000": "text"}},
     {"auths": {"registry.test:5000": {}}}, {"auths": {"registry.test:5000": {"auth": ""}}},
     {"auths": {"registry.test:5000": {"auth": 7}}}, {"credHelpers": [], "credsStore": 7},
     {"credsStore": "../../evil"}, {"credHelpers": {"registry.test:5000": "a b; c"}}],
)  # fmt: skip
def test_a_file_that_says_nothing_of_the_registry_is_passed_over(home, tmp_path, data):
    login(tmp_path / ".config" / "containers" / "auth.json").write_text(json.dumps(data))
    login(tmp_path / ".docker" / "config.json", user="docker")
    assert user_of(find_credentials(PRIVATE, home)) == "docker"


# What.


def test_the_longest_name_wins(home, tmp_path):
    keys = [
        "registry.test:5000/team/project/image",
        "registry.test:5000/team/project",
        "registry.test:5000/team",
        "registry.test:5000",
        "https://registry.test:5000",
    ]
    auths = {key: {"auth": encoded(f"user{number}")} for number, key in enumerate(keys)}
    auths["registry.test:5000/te"] = auths["registry.test"] = {"auth": encoded("wrong")}
    for number, key in enumerate(keys):
        login(tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
        assert user_of(find_credentials(PRIVATE, home)) == f"user{number}"
        del auths[key]
    login(tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    assert find_credentials(PRIVATE, home) is None


@pytest.mark.parametrize(
    "key",
    ["docker.io/library/alpine", "docker.io/library", "docker.io", "https://index.docker.io/v1/",
     "index.docker.io", "https://docker.io"],
)  # fmt: skip
def test_docker_hub_has_many_names(home, tmp_path, key):
    login(tmp_path / ".docker" / "config.json", key)
    assert user_of(find_credentials(HUB, home)) == "me"
    assert find_credentials(PRIVATE, home) is None


def test_a_password_may_hold_colons_and_trailing_nul_bytes_are_docker_s(home, tmp_path):
    auths = {"registry.test:5000": {"auth": encoded("me", "a:b\0\0")}}
    login(tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    assert find_credentials(PRIVATE, home) == Credentials("me", "a:b")


@pytest.mark.parametrize("value", ["x", "!!!!", base64.b64encode(b"no colon").decode(), "/w=="])
def test_a_damaged_entry_is_told(home, tmp_path, value):
    auths = {"registry.test:5000": {"auth": value}}
    login(tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    with pytest.raises(
        AccessDenied, match=r"the entry of registry.test:5000 is damaged; log in ag"
    ):
        find_credentials(PRIVATE, home)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"auth": encoded("me"), "identitytoken": "t"}, Credentials("me", SECRET, "t")),
        ({"auth": encoded("0000", ""), "identitytoken": "t"}, Credentials("0000", "", "t")),
        ({"identitytoken": "t"}, Credentials("", "", "t")),
        ({"auth": encoded("me"), "identitytoken": ""}, Credentials("me", SECRET)),
        ({"auth": encoded("me"), "identitytoken": 7}, Credentials("me", SECRET)),
        ({"identitytoken": ""}, None),
    ],
)
def test_identity_tokens_are_found(home, tmp_path, fields, expected):
    auths = {"registry.test:5000": fields}
    login(tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    assert find_credentials(PRIVATE, home) == expected


def test_a_helper_gives_an_identity_token_under_a_name_of_its_own(home, tmp_path, helper):
    helper("pass", json.dumps({"ServerURL": "x", "Username": "<token>", "Secret": "t"}))
    login(tmp_path / ".docker" / "config.json", credsStore="pass")
    assert find_credentials(PRIVATE, home) == Credentials("", "", "t")


def test_a_password_is_not_shown():
    assert "secret" not in repr(Credentials("me", "secret", "secret"))
    assert "secret" not in repr(ChallengeAuth(PRIVATE, Credentials("me", "secret"), BASE))


# Helpers.


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Puts a credential helper on PATH; what it is asked is kept in `asked`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(name, answer, status=0):
        program = folder / f"docker-credential-{name}"
        (folder / "answer").write_text(answer)
        program.write_text(
            f'#!/bin/sh\necho "$1" > {folder}/asked\ncat >> {folder}/asked\n'
            f"cat {folder}/answer\nexit {status}\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return folder / "asked"

    return make


ANSWER = json.dumps({"ServerURL": "x", "Username": "helped", "Secret": "s"})


@pytest.mark.parametrize(
    ("reference", "fields", "asked"),
    [
        (PRIVATE, {"credsStore": "pass_x"}, "registry.test:5000"),
        (PRIVATE, {"credHelpers": {"registry.test:5000": "pass_x"}, "credsStore": "none"},
         "registry.test:5000"),
        (HUB, {"credsStore": "pass_x"}, "https://index.docker.io/v1/"),
    ],
)  # fmt: skip
def test_a_helper_is_asked_before_the_file(home, tmp_path, helper, reference, fields, asked):
    question = helper("pass_x", ANSWER)
    login(tmp_path / ".docker" / "config.json", **fields)
    assert find_credentials(reference, home) == Credentials("helped", "s")
    assert question.read_text() == f"get\n{asked}"


def test_a_helper_that_knows_nothing_leaves_it_to_the_file(home, tmp_path, helper):
    helper("pass", "credentials not found in native keychain", status=1)
    login(tmp_path / ".docker" / "config.json", credsStore="pass")
    assert user_of(find_credentials(PRIVATE, home)) == "me"


def test_a_helper_for_another_registry_is_not_asked(home, tmp_path, helper):
    asked = helper("pass", ANSWER)
    login(tmp_path / ".docker" / "config.json", credHelpers={"other.test": "pass"})
    assert user_of(find_credentials(PRIVATE, home)) == "me"
    assert not asked.exists()


@pytest.mark.parametrize("answer", ["", "no json", "[]", "7", "{}", '{"Username": "x"}'])
def test_an_answer_that_makes_no_sense_is_told(home, tmp_path, helper, answer):
    helper("pass", answer)
    login(tmp_path / ".docker" / "config.json", credsStore="pass")
    with pytest.raises(
        AccessDenied, match="docker-credential-pass gave an answer that cannot be r"
    ):
        find_credentials(PRIVATE, home)


@pytest.mark.usefixtures("helper")
def test_a_helper_that_is_not_there_is_told(home, tmp_path):
    login(tmp_path / ".docker" / "config.json", credsStore="none")
    with pytest.raises(AccessDenied, match="docker-credential-none is not on PATH, but"):
        find_credentials(PRIVATE, home)


def test_a_helper_that_hangs_is_told(home, tmp_path, helper, monkeypatch):
    helper("pass", ANSWER)
    program = tmp_path / "bin" / "docker-credential-pass"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(auth, "_HELPER_TIMEOUT", 0.1)
    login(tmp_path / ".docker" / "config.json", credsStore="pass")
    with pytest.raises(AccessDenied, match="docker-credential-pass gave no answer in 0.1 s"):
        find_credentials(PRIVATE, home)


# Challenges.


def refusal(challenge, status=401, **headers):
    """A registry's refusal of a request that had *headers*."""
    response = requests.Response()
    response.status_code = status
    response.raw = io.BytesIO()
    response.headers["Www-Authenticate"] = challenge
    response.url = f"{BASE}/manifests/1"
    response.request = requests.Request("GET", response.url, headers=headers).prepare()
    return response


def challenge_auth(credentials=None, status=200, body=b'{"token": "abc"}'):
    """Authentication whose token server gives one answer; its requests are in `asked`."""
    made = ChallengeAuth(PRIVATE, credentials, BASE)
    made.session = requests.Session()
    made.session.trust_env = False
    server = Answers(lambda _request: (status, {}, body))
    made.session.mount("https://", server)
    made.asked = server.requests
    made._tls_verify = True
    return made


ME = Credentials("me", "secret")
BASIC = 'Basic realm="x"'
BEARER = 'Bearer realm="https://auth.test/token",service="s",scope="repository:team:pull"'


@pytest.mark.parametrize("challenge", [BASIC, "basic realm=x"])
def test_a_basic_challenge_is_answered_once(challenge):
    made = challenge_auth(ME)
    headers, changed = made.authenticate_request(refusal(challenge), {"Accept": "x"})
    assert changed
    assert headers == {"Accept": "x", "Authorization": f"Basic {encoded('me')}"}
    with pytest.raises(AccessDenied, match="the credentials that were found are not accepted"):
        made.authenticate_request(refusal(challenge, Authorization="Basic x"), headers)


def test_a_basic_challenge_without_credentials_is_told():
    problem = (
        r"^registry.test:5000/team/project/image:1: registry.test:5000 refuses access \(401\): it "
        r"wants a login, or there is no such image \(skopeo login registry.test:5000, "
    )
    with pytest.raises(AccessDenied, match=problem):
        challenge_auth().authenticate_request(refusal(BASIC), {})


@pytest.mark.parametrize("credentials", [None, ME])
def test_a_bearer_challenge_is_answered_by_a_token(credentials):
    made = challenge_auth(credentials)
    headers, changed = made.authenticate_request(refusal(BEARER), {})
    assert changed
    assert headers["Authorization"] == "Bearer abc"
    (asked,) = made.asked
    assert asked.url == "https://auth.test/token?service=s&scope=repository%3Ateam%3Apull"
    assert asked.method == "GET"
    expected = None if credentials is None else f"Basic {encoded('me')}"
    assert asked.headers.get("Authorization") == expected


def test_a_token_that_expired_is_replaced():
    made = challenge_auth()
    made.authenticate_request(refusal(BEARER), {})
    made.token = "expired"
    headers, _ = made.authenticate_request(refusal(BEARER), {})
    assert headers["Authorization"] == "Bearer abc"
    assert len(made.asked) == 2


@pytest.mark.parametrize("credentials", [None, ME])
@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b""), (404, b""), (200, b"{}"), (200, b"[]"), (200, b"oops"), (200, b"[" * 100_000),
     (200, b'{"token": "two\\nlines"}'), (200, b'{"token": 7}'), (200, b" " * (1 << 20) + b"{}")],
)  # fmt: skip
def test_a_token_that_is_not_given_is_told(credentials, status, body):
    with pytest.raises(AccessDenied, match=r"refuses access \(401\)"):
        challenge_auth(credentials, status, body).authenticate_request(refusal(BEARER), {})


@pytest.mark.parametrize("credentials", [None, ME])
@pytest.mark.parametrize("challenge", ["", "Bearer", 'Bearer service="s"', "Negotiate"])
def test_a_challenge_that_nobody_can_answer_is_told(credentials, challenge):
    with pytest.raises(AccessDenied, match=r"refuses access \(401\)"):
        challenge_auth(credentials).authenticate_request(refusal(challenge), {})


@pytest.mark.parametrize(
    ("challenge", "service", "scope"),
    [
        ('Bearer realm="https://auth.test/token",service=gcr.io,scope="a:b:c d:e:f"',
         "gcr.io", "a:b:c d:e:f"),
        ('Bearer error="",realm="https://auth.test/token",scope="aws"', None, "aws"),
        ('Bearer realm="https://auth.test/token",service="s"', "s",
         "repository:team/project/image:pull"),
        ('Bearer realm="https://auth.test/token",service="",scope=" "', None,
         "repository:team/project/image:pull"),
        ('Basic realm="x", bearer REALM=https://auth.test/token,scope=s', None, "s"),
        ('Negotiate, NTLM abc=, Bearer realm="https://auth.test/token",scope=s, Basic realm="x"',
         None, "s"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("credentials", [None, ME])
def test_a_bearer_challenge_is_found_and_asked_for_what_it_says(
    credentials, challenge, service, scope
):
    made = challenge_auth(credentials)
    headers, _ = made.authenticate_request(refusal(challenge), {})
    assert headers["Authorization"] == "Bearer abc"
    (asked,) = made.asked
    query = parse_qs(urlsplit(asked.url).query)
    assert query.get("service") == (None if service is None else [service])
    assert query["scope"] == [scope]


@pytest.mark.parametrize(
    "challenge",
    ['Negotiate, Basic realm="x"', 'Bearer service="no realm", Basic realm="x"',
     'Basic realm="x", Bearer realm="http://auth.test/token"'],
)  # fmt: skip
def test_basic_is_the_way_where_no_other_is_left(challenge):
    headers, _ = challenge_auth(ME).authenticate_request(refusal(challenge), {})
    assert headers["Authorization"] == f"Basic {encoded('me')}"


def test_an_identity_token_is_exchanged_for_a_token():
    made = challenge_auth(Credentials("0000", "", "identity"), body=b'{"access_token": "abc"}')
    headers, _ = made.authenticate_request(refusal(BEARER), {})
    assert headers["Authorization"] == "Bearer abc"
    (asked,) = made.asked
    assert (asked.method, asked.url) == ("POST", "https://auth.test/token")
    assert "Authorization" not in asked.headers
    assert parse_qs(asked.body) == {
        "grant_type": ["refresh_token"], "refresh_token": ["identity"],
        "service": ["s"], "scope": ["repository:team:pull"], "client_id": ["golem-assemble"],
    }  # fmt: skip


def test_an_identity_token_is_no_password():
    made = challenge_auth(Credentials("0000", "", "identity"))
    with pytest.raises(AccessDenied, match="the login left an identity token"):
        made.authenticate_request(refusal(BASIC), {})


@pytest.mark.parametrize("status", [307, 308, 302])
def test_an_identity_token_is_not_taken_along_by_a_redirect(status):
    made = ChallengeAuth(PRIVATE, Credentials("", "", "identity"), BASE)
    made.session = requests.Session()
    server = Answers(lambda _request: (status, {"Location": "https://other.test/"}, b""))
    made.session.mount("https://", server)
    with pytest.raises(AccessDenied, match=f"its token server auth.test answers {status}"):
        made.authenticate_request(refusal(BEARER), {})
    assert [request.url for request in server.requests] == ["https://auth.test/token"]


@pytest.mark.parametrize("credentials", [None, ME, Credentials("", "", "identity")])
def test_a_token_server_without_encryption_is_refused(credentials):
    made = challenge_auth(credentials)
    with pytest.raises(AccessDenied, match="auth.test would be spoken to without encryption"):
        made.authenticate_request(refusal('Bearer realm="http://auth.test/token"'), {})
    assert made.asked == []


@pytest.mark.parametrize(
    "realm",
    ["", "auth.test", "/token", "ftp://x/", "file:///etc/passwd", "https://", "https://[x/"],
)
def test_a_realm_that_is_no_address_is_told(realm):
    made = challenge_auth(ME)
    with pytest.raises(AccessDenied, match="it names no token server that can be asked"):
        made.authenticate_request(refusal(f'Bearer realm="{realm}"'), {})
    assert made.asked == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_token_server_that_is_busy_says_nothing_of_credentials(status):
    with pytest.raises(TokenServerBusy, match=f"it answers {status}"):
        challenge_auth(ME, status).authenticate_request(refusal(BEARER), {})


@pytest.mark.parametrize(
    "url", ["http://registry.test:5000/", "https://registry.test/", "https://other.test:5000/"]
)
@pytest.mark.parametrize("challenge", [BASIC, BEARER, ""])
def test_who_is_not_the_registry_gets_no_credentials(url, challenge):
    made = challenge_auth(ME)
    refused = refusal(challenge)
    refused.url = url
    with pytest.raises(AccessDenied, match="redirects to .*, which refuses access"):
        made.authenticate_request(refused, {})
    assert made.asked == []
