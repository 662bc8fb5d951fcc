"""Texts without the passwords of the URLs in them, to be shown to anybody."""

from __future__ import annotations

import re

# In what names images and files of this machine an @ begins a digest, or is a part of a name.
_LOCAL = r"(?:docker|oci|zip|tar|file|osfs|mem|temp)(?:-\w+)?://"
_USERINFO = re.compile(rf"(?i)(?<![\w+.-])(?!{_LOCAL})([a-z][a-z0-9+.-]*)://[^\s/?#\"'<>]*@")


def redact(text: str) -> str:
    """Return *text* without the user names and passwords of URLs: either may be a token.

    To be called before a text is cut, which might leave the beginning of a password.
    """
    return _USERINFO.sub(r"\1://***@", text)
