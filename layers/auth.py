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
from oras.auth.utils import get_basic_auth, parse_auth_header

from layers.errors import AccessDenied
from layers.reference import DOCKER_HUB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from layers.reference import Reference

_HUB_LEGACY = "https://index.docker.io/v1/"
_HELPER_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password (or access token)."""

    username: str
    password: str

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
        if entry.get("identitytoken"):
            raise AccessDenied(
                f"{path}: {name} holds an identity token, which is not supported; log in with a "
                "user name and an access token instead"
            )
        if isinstance(entry.get("auth"), str) and entry["auth"]:
            return _decode(entry["auth"], name, path)
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
        return Credentials(str(answer["Username"]), str(answer["Secret"]))
    except (ValueError, KeyError, TypeError):
        raise AccessDenied(f"{program} gave an answer that cannot be read") from None


class ChallengeAuth(oras.auth.token.TokenAuth):  # type: ignore[misc] # oras has no types
    """oras's token authentication, for registries that ask for Basic as well as for Bearer."""

    def __init__(self, reference: Reference, credentials: Credentials | None) -> None:
        super().__init__()
        self._name = str(reference)
        self._host = reference.host
        self._has_credentials = credentials is not None
        if credentials:
            self.set_basic_auth(credentials.username, credentials.password)

    def __repr__(self) -> str:
        return f"ChallengeAuth({self._host!r})"

    def set_basic_auth(self, username: str, password: str) -> None:
        """Remember a user name and password for challenges to come."""
        self._basic_auth = get_basic_auth(username, password)

    def authenticate_request(
        self, original: requests.Response, headers: dict[str, str], refresh: bool = False
    ) -> tuple[dict[str, str], bool]:
        """Answer a 401 or 403; raise `AccessDenied` where there is no answer."""
        challenge = original.headers.get("Www-Authenticate", "")
        if challenge.lower().startswith("basic"):
            if self._has_credentials and "Authorization" not in original.request.headers:
                return headers | {"Authorization": f"Basic {self._basic_auth}"}, True
            raise self.denied(original.status_code)
        if original.status_code == 401:
            # A token that was good may have expired.
            self.token = None
        if not challenge.lower().startswith("bearer") or not parse_auth_header(challenge).realm:
            raise self.denied(original.status_code)
        try:
            answered, changed = super().authenticate_request(original, headers, refresh)
        except (AttributeError, ValueError):
            # oras takes for granted that a token server answers with a JSON object.
            changed = False
        if not changed:
            raise self.denied(original.status_code)
        return answered, True

    def denied(self, status: int) -> AccessDenied:
        """Return the error for an access that was refused."""
        if self._has_credentials:
            reason = "the credentials that were found are not accepted; log in again"
        else:
            reason = "it wants a login, or there is no such image"
        return AccessDenied(
            f"{self._name}: {self._host} refuses access ({status}): {reason} (skopeo login "
            f"{self._host}, docker login {self._host}, or REGISTRY_AUTH_FILE)"
        )
