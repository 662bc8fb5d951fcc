"""Registries (OCI distribution-spec v1.1): manifests and blobs, verified, resumed, retried.

Built on `oras.provider.Registry`, its request and its authentication. Added to it: raw manifest
bytes that are hashed before they are parsed, blobs as streams that go on where they were cut,
time limits, and bounded retries that honour Retry-After.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import random
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import oras.provider
import requests
import urllib3
from oras.logger import logger as oras_logger

from layers import descriptor as media
from layers.abridged import abridged
from layers.auth import ChallengeAuth, find_credentials
from layers.decimals import decimal
from layers.digest import Digest, verify
from layers.errors import (
    AccessDenied,
    DigestMismatch,
    ImageNotFound,
    LayersError,
    MalformedImage,
    RegistryUnavailable,
)
from layers.image import JSON_LIMIT
from layers.pace import Pace
from layers.reference import DOCKER_HUB
from layers.store import CHUNK
from layers.tokens import TokenServerBusy
from layers.web import TRANSIENT, Trouble, WebSession, explain, trouble_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layers.descriptor import Descriptor
    from layers.reference import Reference

_HUB_ENDPOINT = "registry-1.docker.io"
_ACCEPT = ", ".join((*media.INDEX_TYPES, *media.MANIFEST_TYPES, *media.SCHEMA_1))
_NO_RANGES = frozenset({400, 416, 501})
"""What servers and proxies answer to a Range that they cannot serve."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)")
_NO_TAGS = (
    ValueError, AttributeError, RecursionError, MalformedImage, urllib3.exceptions.HTTPError,
)  # fmt: skip
_plain_request = inspect.unwrap(oras.provider.Registry.do_request)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a registry is waited for. Times in seconds."""

    tries: int = 4
    pause: float = 0.5
    """Before the second try; doubled each time, with jitter."""
    longest_pause: float = 60.0
    """The most that Retry-After can ask for."""
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    pace: Pace = field(default_factory=Pace)
    """How slowly an answer may come."""
    resumes: int = 20
    """How often one blob may be cut and continued."""
    sleep: Callable[[float], None] = time.sleep


class Registry(oras.provider.Registry):  # type: ignore[misc] # oras has no types
    """One repository of a registry. Not for several threads at once: `clone` gives each its own."""

    def __init__(self, reference: Reference, patience: Patience | None = None) -> None:
        # oras tells of failures on stderr as well; here they become errors.
        oras_logger.set_level(logging.CRITICAL)
        host = _HUB_ENDPOINT if reference.host == DOCKER_HUB else reference.host
        super().__init__(hostname=host, insecure=reference.is_loopback)
        self._reference = reference
        self._patience = patience or Patience()
        self.session = WebSession(
            self._patience.connect_timeout, self._patience.read_timeout, self._patience.pace
        )
        # A proxy of the environment is not for this machine itself.
        self.session.trust_env = not reference.is_loopback
        self._base = f"{self.prefix}://{host}/v2/{reference.repository}"
        self.auth = ChallengeAuth(reference, find_credentials(reference, os.environ), self._base)
        self.auth.session = self.session
        self.auth._tls_verify = True  # noqa: SLF001 - where oras's factory puts it
        self.auth.prefix = self.prefix

    def clone(self) -> Registry:
        """Return another client of the same repository, with the token that this one has."""
        twin = Registry(self._reference, self._patience)
        twin.auth.token = self.auth.token
        return twin

    def close(self) -> None:
        """Close the connections."""
        self.session.close()

    def manifest(self, tag: str | None, digest: Digest | None) -> tuple[bytes, str, Digest]:
        """Return a manifest's raw bytes, its media type and its digest; *digest* wins over *tag*.

        Bytes that do not have the digest they should have are a `DigestMismatch`.
        """
        for attempt in range(self._patience.tries):
            if attempt:
                self._patience.sleep(self._pause(attempt - 1))
            try:
                return self._manifest(tag, digest)
            except urllib3.exceptions.HTTPError as error:
                problem = explain(error).problem
        raise RegistryUnavailable(
            f"{self._reference}: the manifest was cut off {self._patience.tries} times ({problem});"
            " try again later"
        )

    def _manifest(self, tag: str | None, digest: Digest | None) -> tuple[bytes, str, Digest]:
        what = f"{self._reference}: manifest"
        response = self.do_request(
            f"{self._base}/manifests/{digest or tag}", headers={"Accept": _ACCEPT}, stream=True
        )
        with response:
            if response.status_code == 404:
                raise self._not_found(tag, digest)
            self._check(response)
            raw = _read_limited(response, what)
            promised = digest or _promised_digest(response)
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if promised:
            verify(raw, promised, what)
        return raw, media_type, promised or Digest.of(raw)

    def tags(self) -> list[str]:
        """Return the repository's tags, or as many as come on the first page; empty if unknown."""
        with self.do_request(f"{self._base}/tags/list?n=100", stream=True) as response:
            if response.status_code != 200:
                return []
            try:
                tags = json.loads(_read_limited(response, "the list of tags")).get("tags")
            except _NO_TAGS:
                return []
        return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []

    def blob(self, blob: Descriptor) -> Iterator[bytes]:
        """Yield a blob's bytes, going on after interruptions. They are not verified here.

        More bytes than *blob* promises may come (whoever verifies will say so), fewer may not.
        """
        offset = 0
        for attempt in range(1 + self._patience.resumes):
            progress = offset
            try:
                for chunk in self._blob_from(blob, offset):
                    offset += len(chunk)
                    yield chunk
            except (urllib3.exceptions.HTTPError, requests.RequestException, OSError) as error:
                problem = explain(error).problem
            else:
                if offset >= blob.size:
                    return
                problem = "the connection was closed early"
            if offset == progress and attempt >= self._patience.tries:
                break
            self._patience.sleep(self._pause(min(attempt, 3)))
        raise RegistryUnavailable(
            f"{self._reference}: blob {blob.digest} was cut off {attempt + 1} times, last after "
            f"{offset:,} of {blob.size:,} bytes ({problem}); try again later"
        )

    def do_request(  # the signature is oras's
        self,
        url: str,
        method: str = "GET",
        data: dict[str, Any] | bytes | None = None,
        headers: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Make a request, authenticated when asked to; transient failures are tried again."""
        began = time.monotonic()
        for attempt in range(1, self._patience.tries + 1):
            try:
                response: requests.Response = _plain_request(
                    self, url, method, data, dict(headers or {}), json, stream
                )
            except TokenServerBusy as busy:
                trouble = busy.trouble
            except requests.RequestException as error:
                trouble = explain(error)
            except ValueError as error:
                raise RegistryUnavailable(
                    f"{self._reference.host}: an answer cannot be understood ({error})"
                ) from None
            else:
                if response.status_code not in TRANSIENT:
                    return response
                trouble = trouble_of(response, self._patience.longest_pause)
                response.close()
            if not trouble.may_pass:
                break
            if attempt < self._patience.tries:
                pause = self._pause(attempt - 1) if trouble.wait is None else trouble.wait
                self._patience.sleep(pause)
        spent = time.monotonic() - began
        times = f"tried {attempt} times in {spent:.0f} s" if attempt > 1 else "not tried again"
        raise self._unavailable(trouble, times)

    def _unavailable(self, trouble: Trouble, times: str) -> RegistryUnavailable:
        advice = trouble.advice
        if trouble.limited and not self.auth.has_credentials:
            advice = f"log in ({self.auth.ways_in}), or {advice}"
        return RegistryUnavailable(
            f"{self._reference}: {self._reference.host}: {trouble.problem}; {advice} ({times})"
        )

    def _blob_from(self, blob: Descriptor, offset: int) -> Iterator[bytes]:
        with self._open_blob(blob, offset) as response:
            self._check(response)
            decode = _is_encoded(response, blob)
            if not decode:
                self._compare_size(response, blob, offset)
            # A server that knows no ranges begins again at the first byte.
            skip = 0 if _is_part(response, offset) else offset
            while chunk := response.raw.read(CHUNK, decode_content=decode):
                if skip:
                    skipped = min(skip, len(chunk))
                    chunk, skip = chunk[skipped:], skip - skipped
                if chunk:
                    yield chunk

    def _open_blob(self, blob: Descriptor, offset: int) -> requests.Response:
        """Return an answer with the blob from *offset* on, or all of it if that cannot be had."""
        if offset:
            response = self._request_blob(blob, {"Range": f"bytes={offset}-"})
            # A part of what is encoded is of no use: *offset* counts what is decoded.
            partly = _is_part(response, offset) and _is_encoded(response, blob)
            if response.status_code not in _NO_RANGES and not partly:
                return response
            response.close()
        return self._request_blob(blob, {})

    def _request_blob(self, blob: Descriptor, headers: dict[str, str]) -> requests.Response:
        response = self.do_request(
            f"{self._base}/blobs/{blob.digest}",
            headers={"Accept-Encoding": "identity"} | headers,
            stream=True,
        )
        if response.status_code == 404:
            response.close()
            raise ImageNotFound(f"{self._reference}: the registry has lost blob {blob.digest}")
        return response

    def _compare_size(self, response: requests.Response, blob: Descriptor, offset: int) -> None:
        """Refuse at once a blob that the server says is of another size than promised."""
        if response.status_code == 206:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != offset:
                raise RegistryUnavailable(
                    f"{self._reference.host}: a part of blob {blob.digest} was asked for, another "
                    "one came; try again later, or another registry"
                )
        total = _total_size(response)
        if total.isdigit() and decimal(total, blob.size) != blob.size:
            what = f"{self._reference}: blob {blob.digest}"
            raise DigestMismatch(what, f"{blob.size} bytes", f"{total} bytes")

    def _check(self, response: requests.Response) -> None:
        status = response.status_code
        if status in {200, 206}:
            return
        if status in {401, 403}:
            denied: AccessDenied = self.auth.denied(status)
            raise denied
        raise RegistryUnavailable(
            f"{self._reference}: the registry answers {status}; try again later"
        )

    def _not_found(self, tag: str | None, digest: Digest | None) -> ImageNotFound:
        try:
            tags = self.tags()
        except LayersError:
            # The list is a courtesy; what was asked for is missing all the same.
            tags = []
        if not tags:
            return ImageNotFound(
                f"{self._reference}: {self._reference.host} has no repository "
                f"{self._reference.repository!r}; check the name"
            )
        shown = abridged(sorted(tags))
        wanted = f"manifest {digest}" if digest else f"tag {tag!r}"
        return ImageNotFound(f"{self._reference}: there is no {wanted}; the repository has {shown}")

    def _pause(self, doublings: int) -> float:
        # Jitter, so that many builders that failed together do not return together.
        return float(self._patience.pause * 2**doublings * random.uniform(0.75, 1.25))  # noqa: S311


def _read_limited(response: requests.Response, what: str) -> bytes:
    raw: bytes = response.raw.read(JSON_LIMIT + 1, decode_content=True)
    if len(raw) > JSON_LIMIT:
        raise MalformedImage(f"{what} has more than {JSON_LIMIT:,} bytes")
    return raw


def _promised_digest(response: requests.Response) -> Digest | None:
    header = response.headers.get("Docker-Content-Digest")
    return Digest.parse(header) if header else None


def _total_size(response: requests.Response) -> str:
    """Return the size that an answer says the whole has, as it is on its way; "" if unknown."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match:
        return match[2]
    return "" if response.status_code == 206 else response.headers.get("Content-Length", "")


def _is_part(response: requests.Response, offset: int) -> bool:
    """Whether an answer begins at *offset*, and not at 0: some proxies answer 200 to that."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return response.status_code == 206 or (match is not None and int(match[1]) == offset)


def _is_encoded(response: requests.Response, blob: Descriptor) -> bool:
    """Whether a blob comes encoded, although `identity` was asked for.

    Some servers say so of every layer that is compressed; then what comes is the blob itself, and
    has its size.
    """
    names = response.headers.get("Content-Encoding", "").lower().split(",")
    encodings = {name.strip() for name in names} - {"", "identity"}
    return bool(encodings) and _total_size(response) != str(blob.size)
