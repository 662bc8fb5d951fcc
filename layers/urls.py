"""URLs as text: where they lead, and how they are shown. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_USERINFO = re.compile(r"(?i)\b(https?|ftps?)://[^\s/?#\"'<>]*@")
_PORTS = {"http": 80, "https": 443}


def redact(text: str) -> str:
    """Return *text* without the user names and passwords of the URLs in it."""
    return _USERINFO.sub(r"\1://***@", text)


def origin(url: str) -> tuple[str, str, int] | None:
    """Return a URL's scheme, host and port (RFC 6454, 4); `None` if it is not http or https."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port
