"""Makes the images of the benchmark, once, in build/bench (root, the mirrors, some minutes).

large: a Debian base, then what apt, pip and npm install, then a layer that removes things and one
that changes and links them: about 90,000 entries, 1.4 GB, six layers. small: the base alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.cache import REPOSITORY, made_once
from support.debian import CONFIG, CREATED, debian_tar
from support.images import OCI, Layer, Layout
from support.layers import entry, opaque, whiteout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.layers import Item

CACHE = REPOSITORY / "build" / "bench"
APT = [
    *("python3", "build-essential", "git", "libboost-dev", "ca-certificates"),
    *("fonts-dejavu", "python3-doc"),
]
PIP = ["numpy", "scipy", "pandas", "matplotlib", "sympy", "scikit-learn"]
NPM = [
    *("typescript", "webpack", "eslint", "jest", "@babel/preset-env", "core-js", "prettier"),
    *("lodash", "rxjs", "date-fns", "three", "aws-sdk", "react-dom"),
]
PYTHON_PACKAGES = "usr/local/lib/python3.11/dist-packages"
NODE_PACKAGES = "opt/app/node_modules"


@dataclass(frozen=True, slots=True)
class Facts:
    """What an image is made of. *paths* and *unpacked* are those of the merged tree.

    *unpacked* is the bytes of its files, *plain* those of the layers' tars, *blobs* compressed.
    """

    layers: int
    entries: int
    paths: int
    hard_links: int
    whiteouts: int
    opaque: int
    unpacked: int
    plain: int
    blobs: int

    def sentence(self) -> str:
        return (
            f"layers: {self.layers}, paths: {self.paths:,}, hard links: {self.hard_links:,}, "
            f"whiteouts: {self.whiteouts:,}, opaque: {self.opaque}, "
            f"unpacked {self.unpacked / 1e6:,.0f} MB, layers' tars {self.plain / 1e6:,.0f} MB, "
            f"blobs {self.blobs / 1e6:,.0f} MB"
        )


def image(name: str) -> Path:
    """The layout of the image *name* ("large" or "small"), tagged `latest`."""
    steps = {"small": (), "large": LARGE}[name]
    return made_once(CACHE / name, lambda draft: make(draft, steps)) / "layout"


def facts(name: str) -> Facts:
    return Facts(**json.loads((image(name).parent / "facts.json").read_text()))


def make(draft: Path, steps: Sequence[Step]) -> None:
    """The Debian base, and a layer of what each step changes in its tree."""
    draft.mkdir()
    tars = [Path(shutil.copy(debian_tar(), draft / "base.tar"))]
    with tempfile.TemporaryDirectory(dir=draft) as folder:
        root = Path(folder)
        run("tar", "-xpf", tars[0], "-C", root, "--numeric-owner", "--xattrs", "--acls")
        for step in steps:
            before = look(root)
            step(root)
            tars.append(draft / f"{step.__name__}.tar")
            write_difference(root, before, tars[-1])
            print(f"{step.__name__}: {tars[-1].stat().st_size:,} bytes", file=sys.stderr)
        found = count(root, tars)
    layout = Layout(draft / "layout")
    layers = [adopt(layout, tar) for tar in tars]
    layout.tag(layout.image(layers, CONFIG, created=CREATED), "latest")
    found["blobs"] = sum(int(str(layer.descriptor["size"])) for layer in layers)
    (draft / "facts.json").write_text(json.dumps(asdict(Facts(**found)), indent=1) + "\n")


def install_apt(root: Path) -> None:
    """Debian packages, as `RUN apt-get install` does: its lists stay behind."""
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    quiet = ("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-qq")
    run("chroot", root, *quiet, "update")
    run("chroot", root, *quiet, "-y", "--no-install-recommends", "install", *APT)
    run("chroot", root, *quiet, "clean")


def install_pip(root: Path) -> None:
    target = root / PYTHON_PACKAGES
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--root-user-action=ignore", "--target", target, *PIP)


def install_npm(root: Path) -> None:
    project = root / "opt" / "app"
    project.mkdir()
    (project / "package.json").write_text('{"private": true}\n')
    quiet = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps")
    run("npm", "install", *quiet, "--prefix", project, *NPM)


def remove(root: Path) -> None:
    """What images remove to be small: whiteouts; and folders emptied or replaced: opaque."""
    for gone in (*(root / PYTHON_PACKAGES).glob("*/tests"), root / "usr/share/man"):
        shutil.rmtree(gone)
    for gone in sorted((root / NODE_PACKAGES).rglob("*.map"))[::3]:
        gone.unlink()
    for emptied in (
        "var/lib/apt/lists",
        "var/cache/apt/archives",
        "usr/share/fonts/truetype/dejavu",
    ):
        shutil.rmtree(root / emptied)
        (root / emptied).mkdir()
        (root / emptied / ".keep").touch()


def change(root: Path) -> None:
    """Links within and across layers, changed owners and modes, replaced kinds, an xattr."""
    for package in ("rxjs", "date-fns"):
        run("cp", "-al", root / NODE_PACKAGES / package, root / "opt" / package)
    for tool in sorted((root / "usr/bin").glob("git*")):
        os.link(tool, root / "usr/local/bin" / f"linked-{tool.name}", follow_symlinks=False)
    for module in sorted((root / PYTHON_PACKAGES / "sympy").rglob("*.py")):
        os.chown(module, 1000, 1000)
    (root / "etc/motd").write_text("made for the benchmark\n")
    (root / "var/spool/mail").unlink(missing_ok=True)
    (root / "var/spool/mail").mkdir()
    os.setxattr(root / "usr/bin/python3.11", "user.origin", b"benchmark")


Step = Callable[[Path], None]
LARGE: tuple[Step, ...] = (install_apt, install_pip, install_npm, remove, change)

Seen = dict[bytes, tuple[int, int, bool]]


def look(root: Path) -> Seen:
    """Every path below *root* with its inode, change time, and whether it is a folder."""
    seen: Seen = {}
    base = os.fsencode(root)
    for folder, folders, files in os.walk(base):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            is_folder = name in folders and not os.path.islink(path)
            seen[path[len(base) + 1 :]] = (status.st_ino, status.st_ctime_ns, is_folder)
    return seen


def write_difference(root: Path, before: Seen, tar: Path) -> None:
    """The layer that leads from *before* to what *root* is now (layer.md, "Representing Changes").

    Whiteouts stand in front of what GNU tar writes: they act on lower layers only.
    """
    after = look(root)
    changed = sorted(path for path, seen in after.items() if before.get(path) != seen)
    names = tar.with_suffix(".names")
    names.write_bytes(b"".join(path + b"\0" for path in changed))
    with tar.open("wb") as out:
        for item in hidden(before, after):
            out.write(entry(item))
        out.flush()
        fields = ("--format=posix", "--pax-option=delete=atime,delete=ctime,delete=mtime")
        kept = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "--no-recursion")
        run("tar", "-c", *fields, *kept, "-C", root, "--null", "-T", names, stdout=out)
    names.unlink()


def hidden(before: Seen, after: Seen) -> Iterator[Item]:
    """Whiteouts and opaque marks, none below a path that is hidden already."""
    covered = b"\0"
    for path in sorted(before, key=lambda path: path + b"/"):
        if path.startswith(covered):
            continue
        was, now = before[path], after.get(path)
        if now is None:
            covered = path + b"/"
            yield whiteout(path)
        elif was[2] and now[2] and was[0] != now[0]:
            covered = path + b"/"
            yield opaque(path)


def adopt(layout: Layout, tar: Path) -> Layer:
    """Move *tar* into *layout*, as gzip of level 6."""
    with tar.open("rb") as stream:
        diff_id = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    run(shutil.which("pigz") or "gzip", "-6", "-n", tar)
    return layout.adopt(tar.with_name(tar.name + ".gz"), diff_id, OCI.layer["gzip"])


def count(root: Path, tars: list[Path]) -> dict[str, int]:
    """All Facts but the size of the blobs."""
    lines = [line for tar in tars for line in run("tar", "-tvf", tar).splitlines()]
    marks = [line for line in lines if "/.wh." in line or " .wh." in line]
    opaques = sum(line.endswith("/.wh..wh..opq") for line in marks)
    seen = look(root)
    statuses = [os.lstat(os.path.join(os.fsencode(root), path)) for path in seen]
    files = {status.st_ino: status.st_size for status in statuses if stat.S_ISREG(status.st_mode)}
    return {
        "layers": len(tars),
        "entries": len(lines),
        "paths": len(seen),
        "hard_links": sum(line.startswith("h") for line in lines),
        "whiteouts": len(marks) - opaques,
        "opaque": opaques,
        "unpacked": sum(files.values()),
        "plain": sum(tar.stat().st_size for tar in tars),
    }


def run(*command: object, stdout: object = subprocess.PIPE) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} failed ({done.returncode}):\n{done.stderr.strip()[-2000:]}")
    return done.stdout or ""


def main() -> None:
    for name in ("small", "large"):
        image(name)
        print(name, json.dumps(asdict(facts(name))))


if __name__ == "__main__":
    main()
