"""Times `golem-assemble convert` beside its floor and its peers: `make bench`.

All pull the same image from a docker-registry on loopback (the floor reads the ready merged tar
from a file) and write a squashfs of the same options. The page cache is warm for all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from make_image import CACHE, facts, image
from measure import Cost, Meter
from support.cache import made_once
from support.registry import Registry
from support.trees import differences, snapshot_squashfs, snapshot_umoci, umoci_unpack

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(sys.executable).parent / "golem-assemble"
PROCESSORS = 2
BLOCK_SIZE = 131072
SQUASHFS = [
    *("-comp", "gzip", "-Xcompression-level", "6", "-b", str(BLOCK_SIZE)),
    *("-noappend", "-no-progress", "-quiet", "-no-tailends", "-processors", str(PROCESSORS)),
]
OURS = ("cold", "warm")
TITLES = {
    "cold": "golem-assemble, cold",
    "warm": "golem-assemble, blobs in the store",
    "floor": "mksquashfs -tar, the floor",
    "umoci": "skopeo + umoci + mksquashfs",
    "buildah": "buildah + mksquashfs",
}
WALL_RATIO, OWN_CPU, OWN_PEAK = 1.15, 8.0, 350 << 20


@dataclass(frozen=True, slots=True)
class Own:
    """What our process alone took, its children not counted."""

    cpu: float
    peak: int


@dataclass(frozen=True, slots=True)
class Result:
    cost: Cost
    own: Own | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """One image, where it is served, and the folder of one run."""

    name: str
    reference: str
    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def cold(self) -> Result:
        return self._ours(self.folder / "store")

    def warm(self) -> Result:
        store = self.folder / "store"
        convert(store, self.folder / "first", self.reference)
        return self._ours(store)

    def floor(self) -> Result:
        tar = merged_tar(self.name)
        with Meter(self.folder) as meter:
            meter.run("mksquashfs", "-", self.output, "-tar", *SQUASHFS, stdin=tar)
        return Result(meter.cost(self.output))

    def umoci(self) -> Result:
        layout, bundle = self.folder / "oci", self.folder / "bundle"
        with Meter(self.folder) as meter:
            pull = ("skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false")
            meter.run(*pull, f"docker://{self.reference}", f"oci:{layout}:latest")
            meter.run("umoci", "unpack", "--image", f"{layout}:latest", bundle)
            meter.run("mksquashfs", bundle / "rootfs", self.output, *SQUASHFS)
        return Result(meter.cost(self.output))

    def buildah(self) -> Result:
        storage = ("--root", self.folder / "root", "--runroot", self.folder / "runroot")
        policy = self.folder / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        with Meter(self.folder) as meter:
            pull = ("from", "--quiet", "--tls-verify=false", "--signature-policy", policy)
            container = meter.run("buildah", *storage, *pull, self.reference).strip()
            root = meter.run("buildah", *storage, "mount", container).strip()
            meter.run("mksquashfs", root, self.output, *SQUASHFS)
        subprocess.run(["buildah", *storage, "rm", "--all"], check=True, capture_output=True)
        return Result(meter.cost(self.output))

    def _ours(self, store: Path) -> Result:
        report = self.folder / "report.json"
        command = convert_command(store, self.output, self.reference)
        with Meter(self.folder) as meter:
            meter.run(*command, "--report", report)
        resources = json.loads(report.read_text())["resources"]
        own = Own(resources["self_cpu_seconds"], resources["self_peak_rss_bytes"])
        if meter.sampled_peak > own.peak * 1.02:
            raise SystemExit(
                f"the report tells a peak of {own.peak} bytes, {meter.sampled_peak} was seen"
            )
        return Result(meter.cost(self.output), own)


def convert_command(store: Path, output: Path, reference: str) -> list[str | Path]:
    options = ("--compression", "gzip", "--level", "6", "--block-size", str(BLOCK_SIZE))
    where = ("--store", store, "-o", output)
    return [PROGRAM, "convert", "-q", *options, "--processors", str(PROCESSORS), *where, reference]


def convert(store: Path, output: Path, reference: str) -> None:
    subprocess.run(convert_command(store, output, reference), check=True, capture_output=True)


def merged_tar(name: str) -> Path:
    """The tar of the tree that umoci unpacks, times in whole seconds as mksquashfs needs them."""

    def write(draft: Path) -> None:
        fields = ("--format=posix", "--pax-option=delete=atime,delete=ctime,delete=mtime")
        kept = ("--numeric-owner", "--xattrs", "--xattrs-include=*")
        with umoci_unpack(image(name)) as root:
            subprocess.run(["tar", "-cf", draft, *fields, *kept, "-C", root, "."], check=True)

    return made_once(image(name).parent / "merged.tar", write)


def chains(only: str) -> list[str]:
    """The chains that a comma-separated list names; "ours" is both of ours."""
    wanted = [name for item in only.split(",") for name in (OURS if item == "ours" else (item,))]
    unknown = [name for name in wanted if name not in TITLES]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; there are {', '.join(TITLES)} and ours")
    return wanted


def measure(name: str, reference: str, wanted: list[str], runs: int) -> dict[str, list[Result]]:
    """Run each chain *runs* times, in turns."""
    results: dict[str, list[Result]] = {chain: [] for chain in wanted}
    if "floor" in wanted:
        # Read once, so that the floor, like the registry's blobs just pushed, is in the page cache.
        with merged_tar(name).open("rb") as tar, open(os.devnull, "wb") as nowhere:
            shutil.copyfileobj(tar, nowhere, 1 << 20)
    for turn in range(runs):
        for chain in wanted:
            with tempfile.TemporaryDirectory(dir=CACHE, prefix=".run-") as folder:
                run: Callable[[], Result] = getattr(Bench(name, reference, Path(folder)), chain)
                results[chain].append(run())
            wall = results[chain][-1].cost.wall
            print(f"{name} {turn + 1}/{runs} {chain}: {wall:.1f} s", file=sys.stderr)
    return results


def table(results: dict[str, list[Result]]) -> list[str]:
    """The results as markdown, medians of all runs."""
    head = ["", "wall s", "CPU s", "own CPU s", "peak MiB", "extra disk MB", "output MB", "x floor"]
    floor = median(results["floor"], "wall") if "floor" in results else None
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for chain, runs in results.items():
        own = [run.own for run in runs if run.own]
        peak = statistics.median(o.peak for o in own) if own else median(runs, "peak")
        wall = median(runs, "wall")
        rows.append(
            [
                TITLES[chain],
                f"{wall:.1f}",
                f"{median(runs, 'cpu'):.1f}",
                f"{statistics.median(o.cpu for o in own):.1f}" if own else "",
                f"{peak / 2**20:.0f}",
                f"{median(runs, 'disk') / 1e6:.0f}",
                f"{median(runs, 'output') / 1e6:.0f}",
                f"{wall / floor:.2f}" if floor else "",
            ]
        )
    return ["| " + " | ".join(row) + " |" for row in rows]


def median(runs: list[Result], field: str) -> float:
    return statistics.median(getattr(run.cost, field) for run in runs)


def budgets(results: dict[str, list[Result]]) -> list[str]:
    """How the large image stands to what was promised."""
    if "cold" not in results or "floor" not in results:
        return []
    ratio = median(results["cold"], "wall") / median(results["floor"], "wall")
    own = [run.own for run in results["cold"] if run.own]
    cpu = statistics.median(o.cpu for o in own)
    peak = statistics.median(o.peak for o in own)
    return [
        f"- wall {ratio:.2f} x floor: {_verdict(ratio <= WALL_RATIO)} (at most {WALL_RATIO})",
        f"- own CPU {cpu:.1f} s: {_verdict(cpu <= OWN_CPU)} (at most {OWN_CPU:.0f} s)",
        f"- own memory {peak / 2**20:.0f} MiB: {_verdict(peak <= OWN_PEAK)} "
        f"(at most {OWN_PEAK >> 20} MiB)",
    ]


def check(name: str, reference: str) -> list[str]:
    """Where our tree differs from umoci's; what the guest needs is expected to be there."""
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=".run-") as folder:
        output = Path(folder) / "out"
        convert(Path(folder) / "store", output, reference)
        return differences(snapshot_umoci(image(name)), snapshot_squashfs(output))


def machine() -> list[str]:
    """What this ran on, for the reader of the table."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    tools = [_version(*command) for command in (["mksquashfs", "-version"], ["skopeo", "-v"])]
    tools += [_version(*command) for command in (["umoci", "-v"], ["buildah", "-v"])]
    return [
        f"- {os.cpu_count()} x {models[0] if models else platform.machine()}, "
        f"{memory / 2**30:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}",
        f"- {'; '.join(tools)}",
        f"- gzip level 6, blocks of {BLOCK_SIZE} bytes, {PROCESSORS} processors, warm page cache",
    ]


def _version(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0].strip()


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each chain, in turns")
    parser.add_argument("--image", choices=("small", "large", "both"), default="both")
    parser.add_argument("--only", default=",".join(TITLES), metavar="CHAIN,...")
    parser.add_argument("--check", action="store_true", help="compare our tree with umoci's too")
    options = parser.parse_args()
    wanted = chains(options.only)
    names = ["small", "large"] if options.image == "both" else [options.image]
    print("\n".join(machine()))
    with Registry() as registry:
        for name in names:
            reference = registry.push_layout(image(name), f"bench:{name}")
            results = measure(name, reference, wanted, options.runs)
            print(f"\n### {name}: {facts(name).sentence()}; medians of {options.runs}\n")
            print("\n".join(table(results)))
            if name == "large":
                print("\n".join(["", *budgets(results)]))
            if options.check:
                print("\n".join(["", "against umoci's tree:", *check(name, reference)]))


if __name__ == "__main__":
    main()
