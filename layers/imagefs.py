"""`ImageFS`: the merged `Tree` as a PyFilesystem, copy on write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from fs import errors
from fs.base import FS
from fs.mode import Mode
from fs.path import basename, normpath
from fs.permissions import Permissions

from layers.imagecopy import Copier, merge_directories
from layers.imagefile import ImageFile, open_stream
from layers.imageinfo import apply_info, make_info
from layers.imagepaths import (
    Place,
    check_names,
    check_target,
    decode,
    encode,
    find,
    find_directory,
    locate,
    locate_existing,
    resolve,
)
from layers.kinds import Kind
from layers.scratch import Scratch
from layers.tree import Node

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from fs.info import Info
    from fs.subfs import SubFS

    from layers.tempfiles import TempArea
    from layers.tree import Tree

_CHUNK = 1 << 20


class ImageFS(FS):
    """An image's files, to be read and edited through PyFilesystem's interface.

    Edits change *tree* in place; the layers' own data are never written. What is written goes to
    *area* and is gone after `close`, so stream `image_tree` before. What is made belongs to 0:0.

    *mtime*, in seconds since 1970, is the time of whatever is made, and of files whose contents
    change: the clock is never asked. Other times stay, those of directories too when names in them
    come and go, so that an edit shows where it was made and nowhere else.

    Symbolic links are followed inside the image, never out of it. As in `OSFS`, `getinfo` tells of
    what a link leads to, but in the namespaces `link`, `lstat` and `image` of the link; a link to
    nothing is not found. Unlike `OSFS`, `scandir` tells of links themselves (`is_dir` is false):
    so a walk meets every name once, and comes to an end.
    """

    def __init__(self, tree: Tree, area: TempArea, *, mtime: int) -> None:
        super().__init__()
        self.image_tree = tree
        self._mtime = mtime
        self._scratch = Scratch(area, mtime)
        self._meta = {
            "case_insensitive": False,
            "invalid_path_chars": "\0",
            "network": False,
            "read_only": False,
            "supports_rename": False,
            "thread_safe": True,
            "unicode_paths": True,
            "virtual": False,
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.image_tree.root.children)} names>"

    def close(self) -> None:
        """Give the scratch space back; twice is fine."""
        with self._lock:
            self._scratch.close()
            super().close()

    def validatepath(self, path: str) -> str:
        """Return *path* absolute; `InvalidPath` where no Linux file system could hold it."""
        check_names(path)
        valid: str = super().validatepath(path)
        return valid

    # Reading

    def getinfo(
        self, path: str, namespaces: Collection[str] | None = None, *, follow: bool = True
    ) -> Info:
        """Describe what *path* leads to; with *follow* false, a link at its end itself."""
        with self._lock:
            entry = node = self._find(path, follow=False)
            if follow and entry.kind is Kind.SYMLINK:
                node = self._find(path)
            return make_info(basename(normpath(path)), node, entry, namespaces or ())

    def islink(self, path: str) -> bool:
        """Whether *path* is a symbolic link, if only to nothing."""
        return self._find(path, follow=False).kind is Kind.SYMLINK

    def readlink(self, path: str) -> str:
        """Return a symbolic link's target as it is written; `ResourceInvalid` for others."""
        node = self._find(path, follow=False)
        if node.kind is not Kind.SYMLINK:
            raise errors.ResourceInvalid(path, msg="'{path}' is not a symbolic link")
        return decode(node.target)

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory, in the order of their bytes."""
        with self._lock:
            return [decode(name) for name in sorted(self._directory(path).children)]

    def scandir(
        self,
        path: str,
        namespaces: Collection[str] | None = None,
        page: tuple[int, int] | None = None,
    ) -> Iterator[Info]:
        """Describe the names in a directory, links not followed, in the order of their bytes."""
        with self._lock:
            children = dict(self._directory(path).children)
        names = sorted(children)[slice(*page) if page else slice(None)]
        wanted = namespaces or ()
        return (make_info(decode(name), children[name], children[name], wanted) for name in names)

    # Files

    def openbin(self, path: str, mode: str = "r", buffering: int = -1, **options: Any) -> BinaryIO:
        """Open a file; what a layer holds is copied when it is first written to."""
        parsed = Mode(mode)
        parsed.validate_bin()
        with self._lock:
            node = self._file(path, parsed)
            if parsed.truncate:
                self._scratch.replace(node, None)
            return open_stream(ImageFile(self._scratch, node, parsed, path), buffering)

    def upload(
        self, path: str, file: BinaryIO, chunk_size: int | None = None, **options: Any
    ) -> None:
        """Give a file all that *file* holds; the image is locked until that is read."""
        with self._lock:
            node = self._file(path, Mode("wb"))
            chunks = iter(lambda: file.read(chunk_size or _CHUNK), b"")
            self._scratch.replace(node, self._scratch.store(chunks))

    def copy(
        self, src_path: str, dst_path: str, overwrite: bool = False, preserve_time: bool = False
    ) -> None:
        """Copy a file, with its mode but without setuid and setgid; no bytes move."""
        with self._lock:
            source, place = self._find(src_path), self._locate(dst_path, follow=True)
            if source.kind is not Kind.FILE:
                raise errors.FileExpected(src_path)
            if place.node is not None and not overwrite:
                raise errors.DestinationExists(dst_path)
            if place.node is None:
                self._put(place, Copier(self._scratch, preserve_time=preserve_time).copy(source))
                return
            if place.node.kind is not Kind.FILE:
                raise errors.FileExpected(dst_path)
            self._scratch.replace(place.node, self._scratch.settle(source))
            if preserve_time:
                place.node.mtime = source.mtime

    def move(
        self, src_path: str, dst_path: str, overwrite: bool = False, preserve_time: bool = False
    ) -> None:
        """Give a file, link or device another name; nothing else about it changes."""
        with self._lock:
            source, node = self._existing(src_path)
            place = self._locate(dst_path, follow=False)
            if node.is_directory:
                raise errors.FileExpected(src_path)
            if place.node is not None and not overwrite:
                raise errors.DestinationExists(dst_path)
            if place.node is not None and place.node.is_directory:
                raise errors.FileExpected(dst_path)
            del source.parent.children[source.name]
            self._put(place, node)

    def remove(self, path: str) -> None:
        """Remove a name of anything but a directory; links are not followed."""
        with self._lock:
            place, node = self._existing(path)
            if node.is_directory:
                raise errors.FileExpected(path)
            del place.parent.children[place.name]

    def symlink(self, path: str, target: str) -> None:
        """Make a symbolic link at *path*; its *target* need not exist."""
        check_target(target)
        link = Node(Kind.SYMLINK, 0o777, mtime=self._mtime)
        link.target = encode(target)
        with self._lock:
            self._put(self._free_place(path), link)

    def hardlink(self, path: str, existing: str) -> None:
        """Give what is at *existing* (not followed, no directory) one more name."""
        with self._lock:
            node = self._find(existing, follow=False)
            if node.is_directory:
                raise errors.FileExpected(existing)
            self._put(self._free_place(path), node)

    # Directories

    def makedir(
        self, path: str, permissions: Permissions | None = None, recreate: bool = False
    ) -> SubFS[FS]:
        """Make a directory, 0755 unless told otherwise: there is no umask."""
        with self._lock:
            place = self._locate(path, follow=False)
            if place.node is None:
                mode = 0o755 if permissions is None else Permissions.get_mode(permissions)
                self._put(place, Node(Kind.DIRECTORY, mode, mtime=self._mtime))
            elif not recreate:
                raise errors.DirectoryExists(path)
            return self.opendir(path)

    def removedir(self, path: str) -> None:
        """Remove an empty directory."""
        with self._lock:
            place, node = self._removable_directory(path)
            if not place.name:
                raise errors.RemoveRootError(path)
            if node.children:
                raise errors.DirectoryNotEmpty(path)
            del place.parent.children[place.name]

    def removetree(self, dir_path: str) -> None:
        """Remove a directory and what is in it; of the root, only what is in it."""
        with self._lock:
            place, node = self._removable_directory(dir_path)
            if place.name:
                del place.parent.children[place.name]
            else:
                node.children.clear()

    def copydir(
        self, src_path: str, dst_path: str, create: bool = False, preserve_time: bool = False
    ) -> None:
        """Copy what is in a directory into another; links and devices stay what they are."""
        with self._lock:
            self._check_two(src_path, dst_path, create=create)
            copier = Copier(self._scratch, preserve_time=preserve_time)
            place = self._locate(dst_path, follow=True)
            source = self._directory(src_path)
            target = place.node or copier.copy(source)
            if not target.is_directory:
                raise errors.DirectoryExpected(dst_path)
            merge_directories(source, target, copier.copy, dst_path)
            if place.node is None:
                self._put(place, target)

    def movedir(
        self, src_path: str, dst_path: str, create: bool = False, preserve_time: bool = False
    ) -> None:
        """Move a directory, or what is in it where *dst_path* exists; nothing is copied."""
        with self._lock:
            self._check_two(src_path, dst_path, create=create)
            source, node = self._removable_directory(src_path)
            place = self._locate(dst_path, follow=True)
            if place.node is None:
                self._put(place, node)
                del source.parent.children[source.name]
                return
            if not place.node.is_directory:
                raise errors.DirectoryExpected(dst_path)
            # Gone first: what is in it may take its name.
            del source.parent.children[source.name]
            try:
                merge_directories(node, place.node, lambda moved: moved, dst_path)
            except errors.FSError:
                source.parent.children[source.name] = node
                raise

    # Metadata

    def setinfo(
        self, path: str, info: Mapping[str, Mapping[str, object]], *, follow: bool = True
    ) -> None:
        """Set the time, permissions and ids (namespaces details, access), xattrs (image)."""
        with self._lock:
            apply_info(self._find(path, follow=follow), info)

    def touch(self, path: str) -> None:
        """Make a file, or give an existing one the time that edits have here."""
        with self._lock:
            if not self.create(path):
                self.settimes(path)

    def settimes(
        self, path: str, accessed: datetime | None = None, modified: datetime | None = None
    ) -> None:
        """Set the time of modification; without any, to the one that edits have here."""
        if accessed is None and modified is None:
            self.setinfo(path, {"details": {"modified": self._mtime}})
        else:
            super().settimes(path, accessed, modified)

    # Places

    def _find(self, path: str, *, follow: bool = True) -> Node:
        self.validatepath(path)
        with self._lock:
            return find(self.image_tree, path, follow=follow)

    def _directory(self, path: str) -> Node:
        self.validatepath(path)
        return find_directory(self.image_tree, path)

    def _locate(self, path: str, *, follow: bool) -> Place:
        self.validatepath(path)
        return locate(self.image_tree, path, follow=follow)

    def _existing(self, path: str) -> tuple[Place, Node]:
        self.validatepath(path)
        return locate_existing(self.image_tree, path)

    def _file(self, path: str, mode: Mode) -> Node:
        """Return the file to open, made where *mode* says so."""
        place = self._locate(path, follow=not mode.exclusive)
        if place.node is None:
            if not mode.create:
                raise errors.ResourceNotFound(path)
            return self._put(place, Node(Kind.FILE, 0o644, mtime=self._mtime))
        if mode.exclusive:
            raise errors.FileExists(path)
        if place.node.kind is not Kind.FILE:
            raise errors.FileExpected(path)
        return place.node

    def _free_place(self, path: str) -> Place:
        place = self._locate(path, follow=False)
        if place.node is not None:
            raise errors.FileExists(path)
        return place

    def _removable_directory(self, path: str) -> tuple[Place, Node]:
        place, node = self._existing(path)
        if not node.is_directory:
            raise errors.DirectoryExpected(path)
        return place, node

    def _put(self, place: Place, node: Node) -> Node:
        place.parent.children[place.name] = node
        return node

    def _check_two(self, src_path: str, dst_path: str, *, create: bool) -> None:
        """Refuse what neither copying nor moving a directory can do."""
        if not create and not self.exists(dst_path):
            raise errors.ResourceNotFound(dst_path)
        self._directory(src_path)
        source, target = (resolve(self.image_tree, path) for path in (src_path, dst_path))
        if target[: len(source)] == source:
            raise errors.OperationFailed(dst_path, msg="'{path}' is inside the source directory")
