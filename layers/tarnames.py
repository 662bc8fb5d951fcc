"""Names of a tar's entries: cleaned, checked, shown.

Pure functions on bytes. Every problem is a `ValueError` whose text completes the sentence
"entry ...: ".
"""

from __future__ import annotations

NAME_MAX = 255
"""Bytes of one component of a path, as Linux has it."""
STARGZ_FILES = frozenset({b"stargz.index.json", b".prefetch.landmark", b".no.prefetch.landmark"})
"""What eStargz puts at a layer's root for its own use."""
_UNCLEAN_BEGINNINGS = (b"", b"/", b".")


def is_clean(name: bytes) -> bool:
    """Whether `clean_path` would return *name* as it is, and no reader would see it otherwise."""
    return not (
        name[:1] in _UNCLEAN_BEGINNINGS
        or name[-1:] == b"/"
        or b"//" in name
        or b"/./" in name
        or b"/.." in name
        or name.endswith(b"/.")
        or name in STARGZ_FILES
    )


def clean_path(name: bytes) -> bytes:
    """Return *name* without leading, doubled and trailing slashes and `.` and `..` components.

    An empty name is the root's, as everywhere. Raises `ValueError` for what no entry may be called.
    """
    if b"\0" in name:
        raise ValueError("its name holds a NUL byte")
    parts = name.split(b"/")
    if b".." in parts:
        parts = _without_dots(name, parts)
    if b"" in parts or b"." in parts:
        parts = [part for part in parts if part not in (b"", b".")]
    if len(name) > NAME_MAX and any(_is_too_long(part) for part in parts):
        raise ValueError(f"a name has more than {NAME_MAX} bytes, the most that Linux allows")
    return b"/".join(parts)


def _without_dots(name: bytes, parts: list[bytes]) -> list[bytes]:
    """Resolve `..` by the names alone, as umoci, containerd and Docker do.

    So `link/../x` is `x`, wherever the link leads to.
    """
    kept: list[bytes] = []
    for part in parts:
        if part != b"..":
            if part not in (b"", b"."):
                kept.append(part)
        elif kept:
            kept.pop()
        else:
            raise ValueError(f'{show_name(name)} leaves the image (".." in its path)')
    return kept


def _is_too_long(part: bytes) -> bool:
    # A whiteout has no place on a disk; what it removes has.
    return len(part.removeprefix(b".wh.")) > NAME_MAX


def show_name(name: bytes) -> str:
    """Return *name* in quotes, as errors have it."""
    text = name.decode("utf-8", "backslashreplace")
    return f'"{text[:200]}"' if len(text) <= 200 else f'"{text[:200]}..."'
