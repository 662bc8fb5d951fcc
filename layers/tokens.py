"""Token servers: a Bearer challenge and a login become a token (distribution-spec, "token").

Credentials are sent to the realm that the registry named and, where that redirects, nowhere else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import urllib3

from layers.urls import origin
from layers.web import TRANSIENT, Trouble, explain, trouble_of

if TYPE_CHECKING:
    import requests

    from layers.challenges import Challenge

_CLIENT = "golem-assemble"
_ANSWER_LIMIT = 1 << 20
_TOKEN = re.compile(r"[\x21-\x7e]+")


class NoToken(Exception):
    """The token server gives none; the text says why."""


class TokenServerBusy(Exception):
    """The token server fails in a way that may pass."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.problem)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class TokenServer:
    """Where a challenge says that a token is to be had, and for what."""

    realm: str
    service: str
    scope: str

    @classmethod
    def of(cls, challenge: Challenge, registry: str, default_scope: str) -> TokenServer:
        """Return what *challenge* of the *registry*'s URL names; `NoToken` if it cannot be used."""
        realm = challenge.parameters.get("realm", "")
        place = origin(realm)
        if place is None:
            raise NoToken(f"it names no token server that can be asked ({realm!r:.100})")
        if place[0] == "http" and urlsplit(registry).scheme == "https":
            raise NoToken(
                f"its token server {place[1]} would be spoken to without encryption (http); the "
                "registry has to name an https one"
            )
        service = challenge.parameters.get("service", "")
        return cls(realm, service, challenge.parameters.get("scope", "").strip() or default_scope)

    @property
    def host(self) -> str:
        """The server's name."""
        return urlsplit(self.realm).hostname or ""

    def token(self, session: requests.Session, basic: str, longest_wait: float) -> str:
        """Return a token for who *basic* (base64 of `user:password`) is, or for nobody."""
        headers = {"Authorization": f"Basic {basic}"} if basic else {}
        answer = session.get(self.realm, params=self._asked(), headers=headers, stream=True)
        return self._read(answer, longest_wait)

    def exchange(self, session: requests.Session, identity: str, longest_wait: float) -> str:
        """Return a token for an identity token (distribution-spec, "oauth2")."""
        form = self._asked() | {
            "grant_type": "refresh_token", "refresh_token": identity, "client_id": _CLIENT,
        }  # fmt: skip
        # A redirect that keeps the method would take the identity token along.
        answer = session.post(self.realm, data=form, stream=True, allow_redirects=False)
        return self._read(answer, longest_wait)

    def _asked(self) -> dict[str, str]:
        return ({"service": self.service} if self.service else {}) | {"scope": self.scope}

    def _read(self, answer: requests.Response, longest_wait: float) -> str:
        with answer:
            if answer.status_code in TRANSIENT:
                raise TokenServerBusy(trouble_of(answer, longest_wait))
            if answer.status_code != 200:
                raise NoToken(f"its token server {self.host} answers {answer.status_code}")
            if urlsplit(answer.url).scheme == "http" and urlsplit(self.realm).scheme == "https":
                raise NoToken(f"its token server {self.host} redirects to one without encryption")
            try:
                raw = answer.raw.read(_ANSWER_LIMIT + 1, decode_content=True)
            except urllib3.exceptions.HTTPError as error:
                raise TokenServerBusy(explain(error)) from None
        token = _token_in(raw) if len(raw) <= _ANSWER_LIMIT else None
        if token is None:
            raise NoToken(f"its token server {self.host} gives no token")
        return token


def _token_in(raw: bytes) -> str | None:
    try:
        data: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    found = data.get("token") or data.get("access_token")
    return found if isinstance(found, str) and _TOKEN.fullmatch(found) else None
