"""ADD's URLs: fetched, limited in size, checked."""

from __future__ import annotations

import email.utils
import hashlib
import hmac
import http
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from assembler.dockerfile import redact
from assembler.errors import BuildError, DownloadError
from layers.kinds import Kind
from layers.spool import check_size
from layers.tree import Data, Node, Tree
from layers.urls import origin

if TYPE_CHECKING:
    import requests

    from layers.session import Session
    from layers.spool import Spool

_CHUNK = 1 << 18
_TIMEOUT = (15, 60)
_SLOWEST = 60.0
"""Seconds in which a download brings a KiB, at least."""
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
OFFLINE = "--offline fetches nothing; download it beforehand, and ADD or COPY the file"
_UNNAMED = "__unnamed__"


def download(
    url: str, checksum: str, spool: Spool, session: Session, *, needs_checksum: bool
) -> Tree:
    """Fetch *url* into *spool*; return a tree with one file: 0600, 0:0, the time it says.

    Raises `DownloadError` if the server does not answer, or not now; `BuildError` if it has no such
    thing, or that is not what *checksum* says.
    """
    shown = redact(url)
    if checksum and not _CHECKSUM.fullmatch(checksum):
        raise BuildError(f"--checksum={checksum}: write it as sha256: and 64 hex digits")
    if needs_checksum and not checksum:
        raise BuildError(
            f"{shown}: with a source date epoch the result must not depend on a server; add "
            "--checksum=sha256:..."
        )
    if origin(url) is None:
        raise BuildError(f"{shown}: this URL leads nowhere; check it")
    if session.offline:
        raise BuildError(f"{shown}: {OFFLINE}")
    node = Node(Kind.FILE, 0o600)
    node.mtime = _fetch(url, spool, session)
    actual = _digest(spool, checksum.partition(":")[0] or "sha256")
    if checksum and not hmac.compare_digest(actual, checksum):
        raise BuildError(f"{shown}: its checksum is {actual}, not {checksum}")
    if spool.size:
        node.data = Data(spool, 0, spool.size)
    tree = Tree()
    tree.root.children[_name(url)] = node
    return tree


def _fetch(url: str, spool: Spool, session: Session) -> int:
    # They take a while to import.
    import requests
    from requests.utils import get_auth_from_url

    from layers.pace import Pace
    from layers.web import WebSession, explain

    shown = redact(url)
    login = get_auth_from_url(url)
    try:
        with (
            WebSession(*_TIMEOUT, Pace(_SLOWEST)) as web,
            web.get(url, stream=True, auth=login if any(login) else None) as response,
        ):
            _check(response, shown)
            for chunk in response.iter_content(_CHUNK):
                session.check()
                spool.append(chunk)
                session.limits.check("file_bytes", spool.size, shown)
                check_size(spool, response.raw.tell(), session.limits, shown)
            return _modified(response)
    except requests.exceptions.InvalidURL:
        raise BuildError(f"{shown}: this URL leads nowhere; check it") from None
    except requests.RequestException as error:
        trouble = explain(error)
        raise DownloadError(f"{shown}: {trouble.problem}; {trouble.advice}") from None
    except ValueError:  # of urllib and urllib3, which requests lets through
        raise BuildError(f"{shown}: the server redirects it to what is no URL") from None


def _check(response: requests.Response, shown: str) -> None:
    """Raise for an answer that is not the file: `DownloadError` if that may pass."""
    from layers.web import TRANSIENT, trouble_of

    if response.status_code == http.HTTPStatus.OK:
        return
    if response.status_code in TRANSIENT:
        trouble = trouble_of(response, 0)
        raise DownloadError(f"{shown}: {trouble.problem}; {trouble.advice}")
    where = ""
    if origin(response.url) != origin(
        response.history[0].url if response.history else response.url
    ):
        where = f" {urlsplit(response.url).hostname}, where it leads,"
    raise BuildError(
        f"{shown}: the server{where} answers {response.status_code} {response.reason[:100]}; check "
        "the URL"
    )


def _modified(response: requests.Response) -> int:
    try:
        text = response.headers.get("Last-Modified", "")
        return max(0, int(email.utils.parsedate_to_datetime(text).timestamp()))
    except (ValueError, OverflowError):
        return 0


def _digest(spool: Spool, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    for position in range(0, spool.size, _CHUNK):
        digest.update(spool.read_at(position, _CHUNK))
    return f"{algorithm}:{digest.hexdigest()}"


def _name(url: str) -> bytes:
    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return os.fsencode(name if name not in {"", ".", ".."} and "\0" not in name else _UNNAMED)
