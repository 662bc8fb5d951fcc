"""HTTP as registries and ADD use it: the environment's proxies and CAs, our words for failures."""

from __future__ import annotations

import email.utils
import io
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from layers.pace import TOO_LONG, TOO_SLOW, Pace, paced_pools

if TYPE_CHECKING:
    from collections.abc import Iterator

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
TOO_MANY_REQUESTS = 429
_SECONDS = re.compile(r"\d{1,9}")
_REDIRECT = 1 << 16
"""Bytes of a redirect's body that are read so that its connection can be used again."""


class _TimedAdapter(HTTPAdapter):
    """requests waits for ever unless it is told otherwise each time, and reads redirects whole."""

    def __init__(self, connect_timeout: float, read_timeout: float, pace: Pace) -> None:
        self._timeout = (connect_timeout, read_timeout)
        self._pools = paced_pools(pace)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override] # the same keywords, untyped
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        response = super().send(request, **kwargs)
        if response.is_redirect:
            _drop_body(response)
        return response


def _drop_body(response: requests.Response) -> None:
    """Leave a redirect without its body, which has no use, and maybe no end."""
    length = response.headers.get("Content-Length", "")
    if _SECONDS.fullmatch(length) and int(length) <= _REDIRECT:
        # So short a one is read, and the connection serves again.
        with suppress(urllib3.exceptions.HTTPError):
            response.raw.read(decode_content=False)
    response.raw.close()
    response.raw = io.BytesIO()


class WebSession(requests.Session):
    """A session that never reads ~/.netrc: credentials go where somebody sent them, only.

    Proxies and CAs of the environment are used all the same, unless `trust_env` is taken away.
    """

    def __init__(
        self, connect_timeout: float, read_timeout: float, pace: Pace | None = None
    ) -> None:
        super().__init__()
        self.auth = _as_it_is  # requests asks ~/.netrc where there is none
        self.headers["User-Agent"] = "golem-assemble"
        adapter = _TimedAdapter(connect_timeout, read_timeout, pace or Pace())
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Leave credentials behind when a redirect leads to another origin."""
        before, after = response.request.url, prepared_request.url
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call] # requests has no type for it
            prepared_request.headers.pop("Authorization", None)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer, and what to do about it."""

    problem: str
    advice: str
    may_pass: bool = True
    """Whether trying again may help."""
    wait: float | None = None
    """The seconds after which the server wants to be asked again."""
    limited: bool = False
    """Whether the server answers that it was asked too often."""


_AGAIN = "try again later"
_REACHABLE = "is it running and reachable?"
_NAME = "check the name, and whether there is a network"
_TRUST = "if it is the right one, name a file with its CA in REQUESTS_CA_BUNDLE"

# What the libraries say, the more telling first: errors are nested several deep.
_SIGNS = (
    ("ProxyError", Trouble("the proxy cannot be used", "check HTTPS_PROXY and HTTP_PROXY")),
    ("Temporary failure in name resolution", Trouble("its name cannot be resolved", _NAME)),
    ("Failed to resolve", Trouble("its name cannot be resolved", _NAME, may_pass=False)),
    ("Connection refused", Trouble("connection refused", _REACHABLE)),
    ("No route to host", Trouble("there is no way to it", _REACHABLE)),
    ("Network is unreachable", Trouble("there is no way to it", _REACHABLE)),
    ("certificate has expired", Trouble("its certificate has expired", _TRUST, may_pass=False)),
    ("is not valid for", Trouble("its certificate is for another name", _NAME, may_pass=False)),
    ("CERTIFICATE_VERIFY_FAILED",
     Trouble("its certificate is not trusted", _TRUST, may_pass=False)),
    ("WRONG_VERSION_NUMBER",
     Trouble("it does not speak https", "only registries on loopback may speak http",
             may_pass=False)),
    ("SSLError", Trouble("TLS cannot be agreed on", "check its certificate and versions of TLS",
                         may_pass=False)),
    ("InvalidURL", Trouble("its address makes no sense", "check the name", may_pass=False)),
    ("InvalidSchema", Trouble("it redirects to what is not http", _AGAIN, may_pass=False)),
    ("TooManyRedirects", Trouble("it redirects in circles", _AGAIN, may_pass=False)),
    (TOO_SLOW, Trouble("it sends too slowly", _AGAIN)),
    (TOO_LONG, Trouble("its answer has no end", _AGAIN, may_pass=False)),
    ("chunk size", Trouble("its answer has no end", _AGAIN, may_pass=False)),
    ("timed out", Trouble("no answer in time", _REACHABLE)),
    ("IncompleteRead", Trouble("the connection was closed early", _AGAIN)),
    ("Connection aborted", Trouble("the connection was closed", _AGAIN)),
    ("Connection reset", Trouble("the connection was reset", _AGAIN)),
)  # fmt: skip


def explain(error: Exception) -> Trouble:
    """Return what *error*, of requests or urllib3, is in a few words."""
    chain = list(_chain(error))
    text = "\n".join(f"{type(one).__name__} {one}" for one in chain)
    for sign, trouble in _SIGNS:
        if sign in text:
            return trouble
    # The outer errors hold the whole URL, with whatever secret is in its query.
    inner = chain[-1]
    return Trouble(str(inner).partition("\n")[0][:200] or type(inner).__name__, _AGAIN)


def trouble_of(response: requests.Response, longest_wait: float) -> Trouble:
    """Return why an answer of a `TRANSIENT` status is none."""
    wait = _retry_after(response)
    limited = response.status_code == TOO_MANY_REQUESTS
    if limited:
        advice = "wait a while" if wait is None else f"wait {wait:.0f} s"
    else:
        advice = _AGAIN if wait is None else f"try again in {wait:.0f} s"
    problem = f"it answers {response.status_code}" + (" (too many requests)" if limited else "")
    pause = None if wait is None else min(wait, longest_wait)
    return Trouble(problem, advice, wait=pause, limited=limited)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those in it, the innermost last."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        reason = getattr(following, "reason", None)
        nested = [one for one in (reason, *following.args) if isinstance(one, BaseException)]
        following = nested[0] if nested else following.__cause__ or following.__context__


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds of Retry-After, which may be a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - time.time())
