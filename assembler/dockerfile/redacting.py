"""Texts without the passwords of the URLs in them, to be shown to anybody."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?i)\b(https?|ftps?|git|ssh)://[^\s/?#\"'<>]*@")


def redact(text: str) -> str:
    """Return *text* without the user names and passwords of URLs: either may be a token.

    To be called before a text is cut, which might leave the beginning of a password.
    """
    return _USERINFO.sub(r"\1://***@", text)
