"""What a chain of commands costs: wall and CPU time, the largest process, disk."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds and bytes. *cpu* is user and system time of all processes, children included.

    *peak* is the largest resident set of any one process. *disk* is the most that the file
    system had in use beyond what it had at the start, unlinked files included, less the output.
    """

    wall: float
    cpu: float
    peak: int
    disk: int
    output: int


class Meter:
    """Runs commands, one after the other, and adds up what they take.

    `sampled_peak` is the VmHWM of the direct children alone, as far as sampling saw it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "stderr"
        self._environment = {**os.environ, "TMPDIR": str(folder)}
        self._cpu = 0.0
        self._peak = 0
        self._disk = 0
        self._child: int | None = None
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self.sampled_peak = 0

    def __enter__(self) -> Self:
        # What earlier runs wrote must not be flushed at the cost of this one.
        os.sync()
        self._used = _used(self._folder)
        self._sampler.start()
        self._start = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._wall = time.monotonic() - self._start
        self._done.set()
        self._sampler.join()

    def run(self, *command: str | Path, stdin: Path | str = os.devnull) -> str:
        """Run *command*, with a file as its input; what it printed."""
        printed = self._folder / "stdout"
        with open(stdin, "rb") as source, printed.open("wb") as out, self._log.open("wb") as errors:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=source,
                stdout=out,
                stderr=errors,
                env=self._environment,
            )
            self._child = process.pid
            _, status, usage = os.wait4(process.pid, 0)
            self._child = None
        process.returncode = os.waitstatus_to_exitcode(status)
        self._cpu += usage.ru_utime + usage.ru_stime
        self._peak = max(self._peak, usage.ru_maxrss * 1024)
        if process.returncode:
            told = self._log.read_text(errors="replace")[-2000:]
            raise SystemExit(f"{command[0]} exited with {process.returncode}:\n{told}")
        return printed.read_text()

    def cost(self, output: Path) -> Cost:
        """What it was, once the context is left."""
        size = output.stat().st_size
        return Cost(self._wall, self._cpu, self._peak, max(0, self._disk - size), size)

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._disk = max(self._disk, _used(self._folder) - self._used)
            child = self._child
            if child is not None:
                self.sampled_peak = max(self.sampled_peak, _high_water(child))


def _used(folder: Path) -> int:
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def _high_water(process: int) -> int:
    """VmHWM in bytes; 0 for a process that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
