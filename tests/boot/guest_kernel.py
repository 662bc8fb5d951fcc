"""Debian's kernel and busybox, and an initramfs around them.

The packages are downloaded and unpacked, never installed: no root, no initramfs-tools.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The cloud kernel is smaller, but has no 9p.
_META_PACKAGE = "linux-image-amd64"
_MODULES = ("virtio_pci", "virtio_blk", "squashfs", "overlay", "9pnet_virtio", "9p")
_MODULE_SUFFIX = re.compile(r"\.ko(\.xz)?$")


class KernelError(Exception):
    """The guest's kernel cannot be had; the message says why."""


@dataclass(frozen=True, slots=True)
class GuestKernel:
    """A kernel, a static busybox, and uncompressed modules in the order of insertion."""

    vmlinuz: Path
    busybox: Path
    modules: tuple[Path, ...]


def guest_kernel(cache: Path) -> GuestKernel:
    """Return the kernel kept in *cache*, which is filled from Debian's mirror the first time."""
    wanted = sha256(" ".join((_META_PACKAGE, *_MODULES)).encode()).hexdigest()[:10]
    kept = cache / f"guest-{wanted}"
    if not kept.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as scratch:
            _fill(Path(scratch), Path(scratch, "kept"))
            try:
                Path(scratch, "kept").rename(kept)
            except OSError:
                if not kept.is_dir():  # else another process was faster, and did the same
                    raise
    modules = tuple(sorted((kept / "modules").iterdir()))
    return GuestKernel(kept / "vmlinuz", kept / "busybox", modules)


def _fill(scratch: Path, kept: Path) -> None:
    packages = (_kernel_package(), "busybox-static")
    _run("apt-get", "download", *packages, cwd=scratch)
    root = scratch / "root"
    for archive in scratch.glob("*.deb"):
        _run("dpkg-deb", "-x", archive.name, root.name, cwd=scratch)
    (kept / "modules").mkdir(parents=True)
    shutil.copy(_only(root, "boot/vmlinuz-*"), kept / "vmlinuz")
    shutil.copy(_only(root, "**/bin/busybox"), kept / "busybox")
    for number, (name, content) in enumerate(_ordered_modules(root)):
        (kept / "modules" / f"{number:02}-{name}.ko").write_bytes(content)


def _kernel_package() -> str:
    shown = _run("apt-cache", "show", "--no-all-versions", _META_PACKAGE, cwd=Path.cwd())
    match = re.search(r"^Depends: .*?(linux-image-[\w.+-]+)", shown, re.MULTILINE)
    if not match:
        raise KernelError(f"apt knows no kernel behind {_META_PACKAGE}; run apt-get update")
    return match[1]


def _run(*command: str, cwd: Path) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise KernelError(f"{command[0]} is missing; the guest's kernel is Debian's") from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip() or f"exit status {error.returncode}"
        raise KernelError(
            f"{' '.join(command)} failed: {reason} (run apt-get update if apt's lists are old)"
        ) from error
    return done.stdout


def _only(root: Path, pattern: str) -> Path:
    found = list(root.glob(pattern))
    if len(found) != 1:
        raise KernelError(f"the packages hold {len(found)} files {pattern}, not one")
    return found[0]


def _ordered_modules(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the modules wanted, each after those it depends on."""
    files = {
        _normal(_MODULE_SUFFIX.sub("", path.name)): path
        for path in root.glob("**/lib/modules/**/*.ko*")
        if _MODULE_SUFFIX.search(path.name)
    }
    lists = root.glob("**/lib/modules/*/modules.builtin")
    built_in = {_normal(Path(line).stem) for each in lists for line in each.read_text().split()}
    seen: set[str] = set()

    def visit(name: str) -> Iterator[tuple[str, bytes]]:
        if name in seen or name in built_in:
            return
        seen.add(name)
        if name not in files:
            raise KernelError(f"{_META_PACKAGE} has no module {name}")
        content = files[name].read_bytes()
        if files[name].suffix == ".xz":
            content = lzma.decompress(content)
        for needed in _dependencies(content):
            yield from visit(needed)
        yield name, content

    for name in _MODULES:
        yield from visit(name)


def _normal(module: str) -> str:
    return module.replace("-", "_")


def _dependencies(module: bytes) -> list[str]:
    """Read "depends=" of the .modinfo section, a run of NUL-terminated strings."""
    match = re.search(rb"\0depends=([^\0]+)\0", module)
    return [_normal(name) for name in match[1].decode().split(",")] if match else []


def write_initramfs(kernel: GuestKernel, scripts: dict[str, bytes], target: Path) -> None:
    """Write an uncompressed initramfs: busybox, the modules, and *scripts* by path."""
    with target.open("wb") as out:
        cpio = _CpioWriter(out)
        for directory in ("bin", "dev", "modules"):
            cpio.add(directory, stat.S_IFDIR | 0o755)
        # The kernel opens the console for the first process before any devtmpfs is mounted.
        cpio.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
        cpio.add("bin/busybox", stat.S_IFREG | 0o755, kernel.busybox.read_bytes())
        for module in kernel.modules:
            cpio.add(f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes())
        for path, content in scripts.items():
            cpio.add(path, stat.S_IFREG | 0o755, content)
        cpio.finish()


class _CpioWriter:
    """The "newc" format: 110 bytes of hexadecimal fields, name, content, each padded to 4."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._inode = 0

    def add(
        self, path: str, mode: int, content: bytes = b"", *, device: Sequence[int] = (0, 0)
    ) -> None:
        self._inode += 1
        name = os.fsencode(path) + b"\0"
        uid = gid = mtime = checksum = 0
        links = 1
        fields = (self._inode, mode, uid, gid, links, mtime, len(content), 0, 0, *device)
        header = "070701" + "".join(f"{field:08X}" for field in (*fields, len(name), checksum))
        self._write(header.encode() + name)
        self._write(content)

    def finish(self) -> None:
        self.add("TRAILER!!!", 0)

    def _write(self, part: bytes) -> None:
        self._out.write(part + bytes(-len(part) % 4))
