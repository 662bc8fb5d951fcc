"""Extended attributes of real files: which are the image's, which are marks of ours or the machine.

Names are bytes, as in tar headers; `os` wants and gives text.
"""

from __future__ import annotations

import errno
import os

OWNER = b"user.golem.owner"
"""Where the recorder keeps `UID:GID` of a file whose owner has no id in the namespace."""
USER_OVERLAY = b"user.overlay."
TRUSTED_OVERLAY = b"trusted.overlay."

_MARKS = (USER_OVERLAY, TRUSTED_OVERLAY, OWNER)
_KEPT = (b"user.", b"trusted.", b"security.", b"system.posix_acl_")
# Labels that the machine's own policy puts on every file.
_OF_THE_MACHINE = (b"security.selinux", b"security.ima", b"security.evm", b"security.SMACK64")
_CAPABILITY = b"security.capability"
_CAPABILITY_3 = 24
_REFUSALS = {
    errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.ENOSPC,
}  # fmt: skip

Attributes = dict[bytes, bytes]


def is_mark(name: bytes) -> bool:
    """Whether an attribute tells the overlay or the recorder something.

    In an image it is hostile or an accident: on a lower directory it would be obeyed.
    """
    return name.startswith(_MARKS)


def read(path: bytes) -> tuple[Attributes | None, Attributes]:
    """Return what a layer should hold of *path*'s attributes (`None`: nothing), and the marks."""
    own: Attributes = {}
    marks: Attributes = {}
    for text in _listed(path):
        name = os.fsencode(text)
        if is_mark(name):
            marks[name] = os.getxattr(path, text, follow_symlinks=False)
        elif name.startswith(_KEPT) and not name.startswith(_OF_THE_MACHINE):
            own[name] = _portable(name, os.getxattr(path, text, follow_symlinks=False))
    return own or None, marks


def write(file: bytes | int, attributes: Attributes) -> list[bytes]:
    """Set what can be set on *file*; return the names of the rest."""
    refused = []
    for name, value in attributes.items():
        if is_mark(name) or b"\0" in name:
            refused.append(name)
            continue
        try:
            if isinstance(file, int):
                os.setxattr(file, name, value)
            else:
                os.setxattr(file, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            refused.append(name)
    return refused


def _listed(path: bytes) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def _portable(name: bytes, value: bytes) -> bytes:
    """Return capabilities as version 2: version 3 names the root of one namespace."""
    if name == _CAPABILITY and len(value) == _CAPABILITY_3 and value[3] == 3:
        return value[:3] + b"\x02" + value[4:20]
    return value
