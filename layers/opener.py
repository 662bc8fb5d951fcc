"""PyFilesystem's opener for local images: `fs.open_fs("oci:///path/to/layout?tag=x")`."""

from __future__ import annotations

import os
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fs.errors import CreateFailed
from fs.opener import Opener

from layers.descriptor import Platform
from layers.errors import InvalidReference, LayersError
from layers.imagefs import ImageFS
from layers.reference import LocalReference
from layers.rootfs import open_rootfs
from layers.session import Session
from layers.sources import DEFAULT_PLATFORM, Wanted, open_image
from layers.store import ContentStore, default_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fs.opener.parse import ParseResult

    from layers.tempfiles import TempArea
    from layers.tree import Tree

_PARAMETERS = ("tag", "platform", "store")


class ImageOpener(Opener):
    """Opens `oci://DIR`, `oci-archive://FILE` and `docker-archive://FILE`.

    Parameters after a `?`: `tag=NAME`, `platform=OS/ARCH[/VARIANT]`, and `store=DIR`, where layers
    are unpacked to. In the path, `?`, `!`, `@` and `%` are written as %3F, %21, %40 and %25.
    """

    def __init__(self) -> None:
        self.protocols = ["oci", "oci-archive", "docker-archive"]

    def open_fs(
        self, fs_url: str, parse_result: ParseResult, writeable: bool, create: bool, cwd: str
    ) -> ImageFS:
        """Open the image's merged tree. It can always be written to, but only until it is closed.

        Edits never reach the image, so *writeable* asks for nothing more; and *create* makes no
        image where there is none. Whatever fails is a `CreateFailed`.
        """
        try:
            with ExitStack() as stack:
                return _open(_reference(fs_url, parse_result, cwd), parse_result.params, cwd, stack)
        except (LayersError, OSError) as error:
            # PyFilesystem formats messages: one with braces in it must come in as an argument.
            raise CreateFailed("{details}", error) from error


class _OpenedImage(ImageFS):
    """An `ImageFS` that closes the image it is of."""

    def __init__(self, tree: Tree, area: TempArea, *, mtime: int, image: ExitStack) -> None:
        super().__init__(tree, area, mtime=mtime)
        self._image = image

    def close(self) -> None:
        """Give the scratch space and the image's layers back; twice is fine."""
        super().close()
        self._image.close()


def _open(
    source: LocalReference, parameters: Mapping[str, str], cwd: str, stack: ExitStack
) -> ImageFS:
    store = parameters.get("store")
    content = ContentStore(_path(store, cwd), _warn) if store else ContentStore(default_root())
    session = Session(content)
    image = stack.enter_context(open_image(source, session, _wanted(parameters)))
    tree = stack.enter_context(open_rootfs(image, session))
    mtime = _seconds(image.config.created)
    return _OpenedImage(tree, session.store.area, mtime=mtime, image=stack.pop_all())


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)


def _reference(fs_url: str, parsed: ParseResult, cwd: str) -> LocalReference:
    if parsed.username is not None:
        raise InvalidReference(f"{fs_url}: an @ in the path or a tag must be written as %40")
    unknown = sorted(parsed.params.keys() - set(_PARAMETERS))
    if unknown:
        raise InvalidReference(
            f"{fs_url}: there is no parameter {unknown[0]!r}; there are {', '.join(_PARAMETERS)}"
        )
    if not parsed.resource:
        raise InvalidReference(f"{fs_url}: a path must follow {parsed.protocol}://")
    path = str(_path(parsed.resource, cwd))
    return LocalReference(parsed.protocol, path, parsed.params.get("tag") or None)


def _wanted(parameters: Mapping[str, str]) -> Wanted:
    platform = parameters.get("platform")
    if not platform:
        return Wanted(DEFAULT_PLATFORM)
    try:
        return Wanted(Platform.parse(platform), explicit=True)
    except ValueError as error:
        raise InvalidReference(str(error)) from None


def _path(text: str, cwd: str) -> Path:
    return Path(os.path.abspath(os.path.join(cwd, os.path.expanduser(text))))


def _seconds(created: str | None) -> int:
    """Return a config's `created` as seconds since 1970; 0 where it cannot be read."""
    try:
        moment = datetime.fromisoformat(created or "")
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(int(moment.timestamp()), 0)
