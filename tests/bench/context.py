"""Times the copying of a large build context, and a rebuild in which nothing changed.

`make bench` runs it; beside it `tar -c | sha256sum` reads and hashes the same files, and buildah
builds the same Dockerfiles. The page cache is warm for all of them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import PROGRAM, machine
from make_image import CACHE
from measure import Cost, Meter
from support.cache import made_once

if TYPE_CHECKING:
    from collections.abc import Callable

FILES, SIZE, PER_FOLDER = 50_000, 20_000, 100
COPY = "FROM scratch\nCOPY . /data/\n"
STEPS = "FROM scratch\n" + "".join(f"COPY c/{n} /part-{n}/\n" for n in range(10))
RATIO, REBUILD = 1.0, 1.0
TITLES = {
    "tar": "tar -c \\| sha256sum",
    "first": "golem-assemble build, first time",
    "again": "golem-assemble build, nothing changed",
    "buildah": "buildah build, first time",
    "steps": "golem-assemble build, ten cached steps",
    "buildah_steps": "buildah build --layers, ten cached steps",
}


def context() -> Path:
    """50,000 files of 20,000 random bytes each, a hundred to a folder."""

    def write(draft: Path) -> None:
        source = random.Random(1)
        for number in range(FILES):
            folder = draft / "c" / str(number // PER_FOLDER)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.bin").write_bytes(source.randbytes(SIZE))

    return made_once(CACHE / "context", write)


class Runs:
    """Each kind of run, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = context()

    def tar(self) -> Cost:
        return self._timed(["sh", "-c", 'tar -cf - -C "$0" . | sha256sum', str(self._files)])

    def first(self) -> Cost:
        return self._timed(self._ours(COPY))

    def again(self) -> Cost:
        return self._twice(self._ours(COPY))

    def buildah(self) -> Cost:
        return self._timed(self._buildah(COPY))

    def steps(self) -> Cost:
        return self._twice(self._ours(STEPS))

    def buildah_steps(self) -> Cost:
        return self._twice(self._buildah(STEPS, "--layers"))

    def _ours(self, dockerfile: str) -> list[str]:
        store = str(self._folder / "store")
        quietly = ["-q", "--store", store, "--output", "type=image", "-t", "bench"]
        return [str(PROGRAM), "build", *quietly, "-f", self._written(dockerfile), str(self._files)]

    def _buildah(self, dockerfile: str, *options: str) -> list[str]:
        places = ("--root", f"{self._folder}/root", "--runroot", f"{self._folder}/run")
        build = ("build", "-q", "--isolation", "chroot", "-t", "bench", *options)
        where = ("-f", self._written(dockerfile), str(self._files))
        return ["buildah", *places, "--storage-driver", "vfs", *build, *where]

    def _written(self, dockerfile: str) -> str:
        path = self._folder / "Dockerfile"
        path.write_text(dockerfile)
        return str(path)

    def _twice(self, command: list[str]) -> Cost:
        subprocess.run(command, check=True, capture_output=True)
        return self._timed(command)

    def _timed(self, command: list[str]) -> Cost:
        with Meter(self._folder) as meter:
            meter.run(*command)
        return meter.cost(Path("/dev/null"))


def measure(runs: int) -> dict[str, list[Cost]]:
    """All kinds, in turns."""
    CACHE.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[Cost]] = {name: [] for name in TITLES}
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".run-") as folder:
        Runs(Path(folder)).tar()  # whatever comes first would pay for the page cache
    for turn in range(runs):
        for name, costs in results.items():
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".run-") as folder:
                run: Callable[[], Cost] = getattr(Runs(Path(folder)), name)
                costs.append(run())
            print(f"context {turn + 1}/{runs} {name}: {costs[-1].wall:.2f} s", file=sys.stderr)
    return results


def table(results: dict[str, list[Cost]]) -> list[str]:
    """The results as markdown, medians of all runs."""
    base = statistics.median(cost.wall for cost in results["tar"])
    rows = ["| | wall s | CPU s | x tar |", "| --- | ---: | ---: | ---: |"]
    for name, costs in results.items():
        wall, cpu = (
            statistics.median(getattr(c, field) for c in costs) for field in ("wall", "cpu")
        )
        ratio = f"{wall / base:.2f}" if name in {"tar", "first", "again", "buildah"} else ""
        rows.append(f"| {TITLES[name]} | {wall:.2f} | {cpu:.2f} | {ratio} |")
    return rows


def budgets(results: dict[str, list[Cost]]) -> list[str]:
    """How the results stand to what was promised."""
    wall = {name: statistics.median(cost.wall for cost in costs) for name, costs in results.items()}
    ratio, steps = wall["first"] / wall["tar"], wall["steps"]
    return [
        f"- copying {ratio:.2f} x tar | sha256sum: {_verdict(ratio <= RATIO)} (at most {RATIO})",
        f"- ten cached steps {steps:.2f} s: {_verdict(steps < REBUILD)} (under {REBUILD:.0f} s)",
    ]


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each kind, in turns")
    options = parser.parse_args()
    print("\n".join(machine()))
    results = measure(options.runs)
    print(f"\n### context: {FILES:,} files of {SIZE:,} bytes; medians of {options.runs}\n")
    print("\n".join([*table(results), "", *budgets(results)]))


if __name__ == "__main__":
    main()
