"""Places where RUN is done through the installed command, in each kind of sandbox."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.images import oci_layout
from support.layers import directory, file, layer, symlink
from support.ordinary import AS_ORDINARY, UID, open_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from support.layers import Item

COMMAND = Path(sys.executable).with_name("golem-assemble")
AS_ROOT = os.geteuid() == 0
USER = "user"
"""The way `recorded`, for an ordinary user."""
EVERY_WAY = os.environ.get("GOLEM_TEST_WAYS") == "all"
"""Whether everything is tried in every way, which takes a good while longer."""
NAMESPACED = ("root", "ranges", "recorded", USER) if AS_ROOT else (USER,)
WAYS = (*NAMESPACED, "chroot") if AS_ROOT else NAMESPACED
UNLIKE = WAYS if EVERY_WAY else tuple(way for way in WAYS if way in {"root", USER, "chroot"})
"""Ways that differ in what isolates: what holds in `recorded` by root holds for a user's, ..."""
ACCOUNTS = f"""
root:x:0:0:root:/root:/bin/sh
someone:x:{UID}:{UID}::/home:/bin/sh
""".lstrip()


def small_base(*more: Item) -> bytes:
    """A layer with busybox and what every image has, and *more*, which comes last."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split() if name != "busybox"]
    folders = ("bin", "etc", "proc", "sys", "dev", "root", "home", "usr", "var")
    return layer(
        *(directory(name) for name in folders if name not in {item.name for item in more}),
        *(() if "tmp" in {item.name for item in more} else [directory("tmp", 0o1777)]),
        file("bin/busybox", Path(busybox).read_bytes(), 0o755),
        *(symlink(f"bin/{name}", "busybox") for name in names),
        *more,
    )  # fmt: skip


def unwatched() -> dict[str, str]:
    """The environment for a program that is to be interrupted: its coverage is not measured.

    An exception that comes while coverage holds its own lock would wait for that forever.
    """
    return {name: value for name, value in os.environ.items() if "COVERAGE" not in name}


PASSWD = file("etc/passwd", ACCOUNTS.encode())


class Site:
    """A folder with a context, a store and bases; *way* is a sandbox's name, or `USER`."""

    def __init__(self, folder: Path, way: str) -> None:
        self.folder = folder
        self.way = way
        self.context = folder / "context"
        self.store = folder / "store"
        self.context.mkdir()

    @property
    def sandbox(self) -> str:
        return "recorded" if self.way == USER else self.way

    def base(self, *items: Item, name: str = "base") -> None:
        """Give the builds an image called *name*; `base` is what they begin with."""
        oci_layout(self.folder / name, [small_base(*items)], {"Env": ["PATH=/bin"]})
        self.give()

    def give(self) -> None:
        """Have everything belong to who builds."""
        if self.way == USER and AS_ROOT:
            subprocess.run(["chown", "-R", f"{UID}:{UID}", self.folder], check=True)

    def command(self, dockerfile: str, *options: str | Path) -> list[str | Path]:
        (self.context / "Dockerfile").write_text(f"FROM base\n{dockerfile}\n")
        return [
            *(AS_ORDINARY if self.way == USER else ()),
            COMMAND, "build", "--sandbox", self.sandbox, "--store", self.store, "--progress",
            "plain", "--build-context", f"base=oci:{self.folder}/base", "--output", "type=image",
            "-t", "made", *options, self.context,
        ]  # fmt: skip

    def build(
        self,
        dockerfile: str,
        *options: str | Path,
        status: int = 0,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Build; everything that was said. A traceback is never right."""
        done = subprocess.run(
            self.command(dockerfile, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env=None if env is None else {**os.environ, **env}, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout[-4000:]
        assert "Traceback" not in done.stdout
        assert "this is a bug" not in done.stdout
        return done.stdout

    def check_nothing_is_left(self) -> None:
        """Neither files in the making, nor trees but a base's, nor mounts are in the store."""
        assert not list((self.store / "tmp").iterdir())
        assert not list((self.store / "trees").glob(".tmp.*"))
        assert str(self.folder) not in Path("/proc/mounts").read_text()


@contextmanager
def site(way: str) -> Iterator[Site]:
    """A new place, away from folders that others cannot pass."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="run-"))
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        if way == USER:
            open_way(COMMAND)
        place = Site(folder, way)
        place.give()
        yield place


def output_of(said: str) -> list[str]:
    """The lines that commands printed."""
    return re.findall(r"^\S+ \[[^\]]* ?\d+/\d+\] \d+\.\d (.*)$", said, re.MULTILINE)


def processes(word: str) -> list[int]:
    """The processes of this machine that have *word* among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words:
                found.append(int(entry.name))
    return found


def eventually(true: Callable[[], object], seconds: float = 30.0) -> bool:
    """Whether *true* became so in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def script(lines: Sequence[str] | str) -> str:
    """A RUN of several lines."""
    text = lines if isinstance(lines, str) else "\n".join(lines)
    return f"RUN <<'END'\n{text}\nEND"
