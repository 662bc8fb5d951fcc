"""Times RUN: how soon a command starts, what its changes cost, and a package installation.

`make bench` runs it, as root; beside it buildah does the same installation, in the same run, from
packages that are in the image already. Each kind of sandbox is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench import PROGRAM, machine
from make_image import CACHE
from measure import Meter
from support.cache import made_once
from support.debian import debian_layout
from support.images import REF_NAME

from assembler.sandbox.harvest import harvest
from assembler.sandbox.manner import ExactOwners, Manner
from assembler.sandbox.original import LowerDirectory
from layers.layerwriter import LayerWriter
from layers.spool import Spool
from layers.tempfiles import TempArea

RUNGS = ("root", "ranges", "recorded", "chroot")
PACKAGES = "openssh-client openssh-server postgresql-common man-db dbus"
FETCH = f"""\
FROM base
RUN apt-get update && apt-get install -y --no-install-recommends --download-only {PACKAGES}
"""
INSTALL = f"""\
FROM base
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get install -y --no-install-recommends --no-download {PACKAGES}
"""
MANY, CACHED = 10, 20
FILES, FILE_SIZE = 10_000, 50_000
START, FIRST, HARVEST, APT_RATIO, PLAN = 0.15, 1.0, 2.5, 1.25, 1.0


def trues(count: int) -> str:
    return "FROM base\n" + "".join(f"RUN true {number}\n" for number in range(count))


def packed_base() -> Path:
    """A Debian base with the packages in it, not yet installed."""

    def write(draft: Path) -> None:
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=".run-") as folder:
            Ours(Path(folder), debian_layout(), "root").build(FETCH, f"type=oci,dest={folder}/a")
            shutil.unpack_archive(f"{folder}/a", draft, "tar")

    return made_once(CACHE / "packed-base", write)


@dataclass(frozen=True, slots=True)
class Ours:
    """Builds with a store of its own."""

    folder: Path
    base: Path
    rung: str

    def build(self, dockerfile: str, output: str = "type=image", *options: str) -> float:
        """Seconds that a build took."""
        path = self.folder / "Dockerfile"
        path.write_text(dockerfile)
        command = [
            PROGRAM, "build", "-q", "--store", self.folder / "store", "--sandbox", self.rung,
            "--build-context", f"base=oci:{self.base}", "--output", output, "-t", "bench", "-f",
            path, *options, self.folder,
        ]  # fmt: skip
        with Meter(self.folder) as meter:
            meter.run(*map(str, command))
        return meter.cost(Path(os.devnull)).wall

    def forget(self) -> None:
        subprocess.run(
            [PROGRAM, "prune", "--store", self.folder / "store"], check=True, capture_output=True
        )


def start(ours: Ours) -> tuple[float, float]:
    """Seconds of one `RUN true`, and of the first one's root."""
    empty = "FROM base\n"
    ours.build(empty)  # the base's layer is in the store
    cold = ours.build(trues(1), "type=image", "--no-cache") - ours.build(empty)
    warm = ours.build(trues(1), "type=image", "--no-cache") - ours.build(empty)
    more = ours.build(trues(1 + MANY), "type=image", "--no-cache") - ours.build(
        trues(1), "type=image", "--no-cache"
    )
    return more / MANY, cold - warm


def planning(ours: Ours) -> tuple[float, float]:
    """Seconds of a build with 20 remembered RUNs, and of one without any."""
    ours.build(trues(CACHED))
    return ours.build(trues(CACHED)), ours.build("FROM base\n")


def installing(ours: Ours) -> float:
    return ours.build(INSTALL, "type=image", "--no-cache") - ours.build("FROM base\n")


def installing_by_buildah(folder: Path, base: Path) -> float:
    storage = ("--root", f"{folder}/root", "--runroot", f"{folder}/runroot")
    policy = folder / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    signed = ("--signature-policy", str(policy))

    index = json.loads((base / "index.json").read_bytes())
    name = index["manifests"][0]["annotations"][REF_NAME]

    def seconds(dockerfile: str) -> float:
        path = folder / "Dockerfile"
        path.write_text(dockerfile.replace("FROM base", f"FROM oci:{base}:{name}"))
        command = (
            "buildah", *storage, "build", "-q", *signed, "--isolation", "chroot",
            "--layers=false", "--no-cache", "-f", str(path), str(folder),
        )  # fmt: skip
        with Meter(folder) as meter:
            meter.run(*command)
        return meter.cost(Path(os.devnull)).wall

    try:
        seconds("FROM base\n")
        return seconds(INSTALL) - seconds("FROM base\n")
    finally:
        unmount(folder)


def unmount(folder: Path) -> None:
    """End the mounts that buildah left below *folder*, which could not be removed with them."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed(mounts):
        if mount.startswith(f"{folder}/"):
            subprocess.run(["umount", mount], check=True)


def harvesting(folder: Path) -> float:
    """Seconds from 10,000 changed files to a hashed layer in the store's temporary area."""
    upper, lower = folder / "upper", folder / "lower"
    lower.mkdir()
    data = os.urandom(FILE_SIZE)
    for number in range(FILES):
        path = upper / str(number // 100) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    begin = time.monotonic()
    reading, writing = os.pipe()
    with Spool(TempArea(folder)) as spool:
        writer = LayerWriter(spool)

        def read() -> None:
            while chunk := os.read(reading, 1 << 20):
                writer.append(chunk)

        reader = threading.Thread(target=read)
        reader.start()
        harvest(str(upper), LowerDirectory(str(lower)), writing, Manner(ExactOwners()))
        os.close(writing)
        reader.join()
        writer.finish()
        writer.close()
    os.close(reading)
    return time.monotonic() - begin


def measure(rung: str, runs: int, folder: Path) -> str:
    """The row of one kind of sandbox, medians. Nothing in *folder* is removed meanwhile.

    For minutes after a removal ext4 is slow to make files where others were: a matter of its own.
    """
    found = []
    for _ in range(runs):
        ours = Ours(Path(tempfile.mkdtemp(dir=folder)), debian_layout(), rung)
        one, first = start(ours)
        cached, empty = planning(ours)
        ours = Ours(Path(tempfile.mkdtemp(dir=folder)), packed_base(), rung)
        ours.build(trues(1))  # the root is unpacked
        own = installing(ours)
        peers = installing_by_buildah(Path(tempfile.mkdtemp(dir=folder)), packed_base())
        found.append((one, first, cached - empty, own, peers, own / peers))
    one, first, planned, own, peers, ratio = map(statistics.median, zip(*found, strict=True))
    return (
        f"| {rung} | {one:.2f} | {first:.2f} | {planned:.2f} | {own:.1f} | {peers:.1f} "
        f"| {ratio:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each kind")
    parser.add_argument("--rung", choices=RUNGS, action="append", help="only these")
    options = parser.parse_args()
    print("\n".join(machine()))
    print(f"\n### RUN; medians of {options.runs}, seconds")
    print(f"\n| | one more `RUN true` | first root | {CACHED} remembered RUNs ", end="")
    print(
        "| packages | by buildah | x buildah |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".run-") as folder:
        for rung in options.rung or RUNGS:
            print(measure(rung, options.runs, Path(folder)), flush=True)
        print(f"| budget | {START} | {FIRST} | {PLAN} | | | {APT_RATIO} |")
        times = [harvesting(Path(tempfile.mkdtemp(dir=folder))) for _ in range(options.runs)]
    what = f"a layer of {FILES:,} files, {FILES * FILE_SIZE / 1e6:.0f} MB"
    print(f"\n{what}: {statistics.median(times):.2f} s (budget: {HARVEST} s)")


if __name__ == "__main__":
    main()
