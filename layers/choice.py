"""Which of several images a name means: those of a layout's index, or of `docker save`'s list.

A name that fits more than one image is refused with a list of what there is: the first of several
may be the wrong one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layers.decimals import decimal
from layers.errors import AmbiguousImage, ImageNotFound, InvalidReference
from layers.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_SHOWN = 20
_LABEL_SHOWN = 120


def by_name(names: Sequence[Sequence[str]], wanted: str) -> list[int]:
    """Return the positions of the images that *wanted* fits, each known by some of *names*.

    A whole name comes first, as written, then by Docker Hub's rules; a tag alone comes last.
    """
    exact = _positions(names, lambda name: name == wanted)
    return (
        exact
        or _positions(names, lambda name: _same_reference(name, wanted))
        or _positions(names, lambda name: _has_tag(name, wanted))
    )


def by_index(count: int, wanted: str) -> int | None:
    """Return the position that *wanted* gives as `@N`; `None` for a name, or for `@N` past *count*.

    The first of *count* images is `@0` (containers-transports(5), "source-index").
    """
    return decimal(wanted[1:], count - 1) if is_index(wanted) and count else None


def is_index(wanted: str) -> bool:
    """Whether *wanted* is `@N` rather than a name."""
    return wanted.startswith("@") and wanted[1:].isascii() and wanted[1:].isdigit()


def ambiguous(name: str, labels: Iterable[str], wanted: str | None) -> AmbiguousImage:
    """Return the error for *wanted*, or for no tag at all, that fits several images."""
    choices = tuple(labels)
    how = "holds several images" if wanted is None else f"{wanted!r} fits several images"
    return AmbiguousImage(
        f"{name}: {how}; there is {listed(choices)}; name one in full, or add :@ and its number",
        choices,
    )


def missing(name: str, labels: Iterable[str], wanted: str) -> ImageNotFound:
    """Return the error for *wanted* that no image is called."""
    what = f"image number {wanted}" if is_index(wanted) else f"tag {wanted!r}"
    return ImageNotFound(f"{name}: there is no {what}; there is {listed(tuple(labels)) or 'none'}")


def listed(labels: Sequence[str]) -> str:
    """Return *labels* for people, each with the number that chooses it."""
    shown = [f"@{number} {_printable(label)}" for number, label in enumerate(labels[:_SHOWN])]
    more = f" and {len(labels) - _SHOWN:,} more" if len(labels) > _SHOWN else ""
    return ", ".join(shown) + more


def _printable(label: str) -> str:
    """Return a stranger's text as it may be shown: short, and without control characters."""
    short = label if len(label) <= _LABEL_SHOWN else label[:_LABEL_SHOWN] + "..."
    return short if short.isprintable() else repr(short)


def _positions(names: Sequence[Sequence[str]], fits: Callable[[str], bool]) -> list[int]:
    return [number for number, own in enumerate(names) if any(map(fits, own))]


def _same_reference(name: str, wanted: str) -> bool:
    try:
        return Reference.parse(name) == Reference.parse(wanted)
    except InvalidReference:
        return False


def _has_tag(name: str, wanted: str) -> bool:
    return "/" not in wanted and name.endswith(f":{wanted}")
