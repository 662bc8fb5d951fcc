"""Credentials for registries, where the tools people log in with leave them.

containers-auth.json(5) and Docker's `config.json`, with credential helpers (docker-credential-*).
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oras.auth.token
from oras.auth.utils import get_basic_auth

from layers.challenges import Challenge, parse_challenges
from layers.errors import AccessDenied
from layers.reference import DOCKER_HUB
from layers.tokens import NoToken, TokenServer
from layers.urls import origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from layers.reference import Reference

_HUB_LEGACY = "https://index.docker.io/v1/"
_HELPER_TIMEOUT = 30
_IDENTITY_USER = "<token>"
"""The user name that a helper gives for an identity token."""
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login left: a user name and a password (or access token), or an identity token."""

    username: str
    password: str
    identity_token: str = ""
    """What a token server gave a login, to be exchanged there for tokens."""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ...)"


def find_credentials(reference: Reference, environ: Mapping[str, str]) -> Credentials | None:
    """Return what a login left for the reference's registry; the first file that knows it wins."""
    for path in _auth_files(environ):
        named = str(path) == environ.get("REGISTRY_AUTH_FILE")
        config = _read_config(path, named=named)
        if config is None:
            continue
        found = _from_helper(config, reference) or _from_auths(config, reference, path)
        if found:
            return found
    return None


def _auth_files(environ: Mapping[str, str]) -> Iterator[Path]:
    if environ.get("REGISTRY_AUTH_FILE"):
        yield Path(environ["REGISTRY_AUTH_FILE"])
    if environ.get("XDG_RUNTIME_DIR"):
        yield Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
    home = Path(environ.get("HOME", "/"))
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _read_config(path: Path, *, named: bool) -> dict[str, Any] | None:
    """Return a file's content; only one that somebody *named* has to be there and be readable.

    In containers `HOME` often is a folder of another user.
    """
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if named:
            raise AccessDenied(
                f"{path}: these credentials cannot be read ({error.strerror}); "
                "mend REGISTRY_AUTH_FILE"
            ) from None
        return None
    except ValueError as error:
        raise AccessDenied(f"{path} is not valid JSON: {error}; log in again to renew it") from None
    return data if isinstance(data, dict) else None


def _names(reference: Reference) -> Iterator[str]:
    """Yield the keys that may hold credentials, the most specific first."""
    parts = [reference.host, *reference.repository.split("/")]
    for count in range(len(parts), 0, -1):
        yield "/".join(parts[:count])
    if reference.host == DOCKER_HUB:
        yield from (_HUB_LEGACY, "index.docker.io")
    yield f"https://{reference.host}"


def _from_auths(config: dict[str, Any], reference: Reference, path: Path) -> Credentials | None:
    auths = config.get("auths")
    if not isinstance(auths, dict):
        return None
    for name in _names(reference):
        entry = auths.get(name)
        if not isinstance(entry, dict):
            continue
        auth, identity = entry.get("auth"), entry.get("identitytoken")
        found = _decode(auth, name, path) if isinstance(auth, str) and auth else None
        if isinstance(identity, str) and identity:
            found = found or Credentials("", "")
            return Credentials(found.username, found.password, identity)
        if found:
            return found
    return None


def _decode(auth: str, name: str, path: Path) -> Credentials:
    try:
        username, colon, password = base64.b64decode(auth).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise AccessDenied(f"{path}: the entry of {name} is damaged; log in again to renew it")
    return Credentials(username, password.rstrip("\0"))


def _from_helper(config: dict[str, Any], reference: Reference) -> Credentials | None:
    helpers = config.get("credHelpers")
    helper = helpers.get(reference.host) if isinstance(helpers, dict) else None
    helper = helper or config.get("credsStore")
    if not isinstance(helper, str) or not helper.replace("-", "").replace("_", "").isalnum():
        return None
    server = _HUB_LEGACY if reference.host == DOCKER_HUB else reference.host
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            check=False,
            timeout=_HELPER_TIMEOUT,
        )
    except FileNotFoundError:
        raise AccessDenied(f"{program} is not on PATH, but the registry's login names it") from None
    except subprocess.TimeoutExpired:
        raise AccessDenied(f"{program} gave no answer in {_HELPER_TIMEOUT} s") from None
    if done.returncode != 0:
        # Helpers exit with 1 where they have nothing for this registry.
        return None
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise AccessDenied(f"{program} gave an answer that cannot be read") from None
    if username == _IDENTITY_USER:
        return Credentials("", "", secret)
    return Credentials(username, secret)


class ChallengeAuth(oras.auth.token.TokenAuth):  # type: ignore[misc] # oras has no types
    """oras's token authentication, with challenges read by RFC 9110 and answered as they allow.

    *registry* is the URL that credentials and tokens may be sent to.
    """

    def __init__(
        self, reference: Reference, credentials: Credentials | None, registry: str
    ) -> None:
        super().__init__()
        self._name = str(reference)
        self._host = reference.host
        self._registry = registry
        self._scope = f"repository:{reference.repository}:pull"
        self._credentials = credentials
        if credentials and credentials.password:
            self.set_basic_auth(credentials.username, credentials.password)

    def __repr__(self) -> str:
        return f"ChallengeAuth({self._host!r})"

    @property
    def has_credentials(self) -> bool:
        """Whether somebody logged in."""
        return self._credentials is not None

    @property
    def ways_in(self) -> str:
        """How to log in."""
        return f"skopeo login {self._host}, docker login {self._host}, or REGISTRY_AUTH_FILE"

    def set_basic_auth(self, username: str, password: str) -> None:
        """Remember a user name and password for challenges to come."""
        self._basic_auth = get_basic_auth(username, password)

    def authenticate_request(
        self, original: requests.Response, headers: dict[str, str], refresh: bool = False
    ) -> tuple[dict[str, str], bool]:
        """Answer a 401 or 403; raise `AccessDenied` where there is no answer.

        A Bearer challenge is preferred, wherever it stands: its token may be had without a login,
        and does less harm than a password where it is lost.
        """
        original.close()  # nobody reads its body
        if origin(original.url) != origin(self._registry):
            raise self._denied_elsewhere(original)
        challenges = parse_challenges(original.headers.get("WWW-Authenticate", ""))
        # One that was good may have expired.
        self.token = None
        reason = ""
        for challenge in challenges:
            if challenge.scheme == "bearer":
                try:
                    self.token = self._fetch_token(challenge)
                except NoToken as error:
                    reason = str(error)
                    continue
                return headers | {"Authorization": f"Bearer {self.token}"}, True
        sent = original.request.headers.get("Authorization") or ""
        if any(one.scheme == "basic" for one in challenges) and not sent.startswith("Basic "):
            if getattr(self, "_basic_auth", ""):
                return headers | {"Authorization": f"Basic {self._basic_auth}"}, True
            if self._credentials and not reason:
                reason = "it wants a user name and a password, but the login left an identity token"
        raise self.denied(original.status_code, reason)

    def _fetch_token(self, challenge: Challenge) -> str:
        server = TokenServer.of(challenge, self._registry, self._scope)
        basic: str = getattr(self, "_basic_auth", "")
        if self._credentials and self._credentials.identity_token:
            try:
                return server.exchange(
                    self.session, self._credentials.identity_token, _LONGEST_WAIT
                )
            except NoToken:
                # Not every token server knows OAuth2; a password is good for all.
                if not basic:
                    raise
        return server.token(self.session, basic, _LONGEST_WAIT)

    def denied(self, status: int, reason: str = "") -> AccessDenied:
        """Return the error for an access that was refused, for *reason* or the usual one."""
        if self.has_credentials:
            usual = "the credentials that were found are not accepted; log in again"
        else:
            usual = "it wants a login, or there is no such image"
        told = f"{reason}; {usual}" if reason else usual
        return AccessDenied(
            f"{self._name}: {self._host} refuses access ({status}): {told} ({self.ways_in})"
        )

    def _denied_elsewhere(self, original: requests.Response) -> AccessDenied:
        place = origin(original.url)
        return AccessDenied(
            f"{self._name}: {self._host} redirects to {place[1] if place else 'another server'}, "
            f"which refuses access ({original.status_code}); it gets no credentials, they are for "
            f"{self._host} alone: name the image as that server has it, or tell who runs the "
            "registry"
        )
