"""Boot a .gvmi file in qemu the way a provider does, and run one command in it.

    python3 tests/boot/boot_gvmi.py image.gvmi --command "sh -c 'ls -l /golem'"

No KVM, no root, no network card: emulated by TCG, about ten seconds. The kernel is Debian's,
fetched once by apt-get into the cache. Exit status: the command's, or 2 when the boot failed.
"""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guest_kernel import KernelError, guest_kernel, write_initramfs
from provider_trailer import Trailer, TrailerError, read_trailer

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_CACHE = Path(__file__).resolve().parents[2] / "build" / "boot"
DEFAULT_COMMAND = "sh -c 'pwd; echo hello > /golem/output/from-guest; id -u'"
DEFAULT_TIMEOUT = 120.0

_INIT = Path(__file__).with_name("guest_init.sh")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOG_LINES = 25


class BootError(Exception):
    """The image did not boot, or would not on a provider; *log* is the console's tail."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True, slots=True)
class BootResult:
    """What became of the command: exit status, both its outputs in one, seconds in all."""

    status: int
    output: str
    seconds: float


def volume_directory(volumes_dir: Path, volume: str) -> Path:
    """Return the host's directory that the guest sees at *volume*."""
    return volumes_dir / volume.removeprefix("/")


def boot(
    image: Path,
    command: Sequence[str],
    *,
    volumes_dir: Path,
    cache: Path = DEFAULT_CACHE,
    timeout: float = DEFAULT_TIMEOUT,
) -> BootResult:
    """Boot *image*, run *command* in it, power off.

    The volumes' directories are made below *volumes_dir*; what lies there already, the guest sees.
    *timeout* (seconds) is for the machine's run alone. Raises BootError, and OSError where *cache*
    or *volumes_dir* cannot be written.
    """
    if not command:
        raise BootError("there is no command to run")
    try:
        trailer = read_trailer(image)
        kernel = guest_kernel(cache)
    except (TrailerError, KernelError) as error:
        raise BootError(str(error)) from error
    for volume in trailer.volumes:
        volume_directory(volumes_dir, volume).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="boot-gvmi-") as scratch:
        work = Path(scratch)
        scripts = {
            "init": _INIT.read_bytes(),
            "job.sh": _job(trailer).encode(),
            "launch.sh": _launcher(trailer, command).encode(),
        }
        write_initramfs(kernel, scripts, work / "initramfs")
        machine = _machine(image, trailer, volumes_dir, kernel.vmlinuz, work)
        started = time.monotonic()
        failure = _run(machine, timeout)
        seconds = time.monotonic() - started
        status = _status(work / "console", failure)
        output = (work / "output").read_bytes().decode(errors="replace")
    return BootResult(status, output, seconds)


def _job(trailer: Trailer) -> str:
    mounts = [f"    mount_volume {_tag(i)} {shlex.quote(v)}" for i, v in enumerate(trailer.volumes)]
    body = "\n".join(["mount_volumes() {", "    :", *mounts, "}"])
    return f"{body}\nwork_dir={shlex.quote(trailer.work_dir)}\n"


def _tag(number: int) -> str:
    return f"volume{number}"


def _launcher(trailer: Trailer, command: Sequence[str]) -> str:
    """Return the script that runs in the image's root, by busybox's shell from outside of it.

    busybox prefers its own commands to the image's, but for an absolute path: hence `which`.
    """
    # `env` takes a string without "=" for the program; no program would see it in getenv either.
    settings = [entry for entry in trailer.env if entry.find("=") > 0]
    path = dict(entry.split("=", 1) for entry in settings).get("PATH", _DEFAULT_PATH)
    program, *arguments = command
    return f"""\
cd {shlex.quote(trailer.work_dir)} || exit
program=$(PATH={shlex.quote(path)} which {shlex.quote(program)}) || {{
    echo "command not found: "{shlex.quote(program)}
    exit 127
}}
exec nsenter -S {trailer.uid} -G {trailer.gid} env -i {shlex.join(settings)} \\
    "$program" {shlex.join(arguments)}
"""


def _machine(
    image: Path, trailer: Trailer, volumes_dir: Path, vmlinuz: Path, work: Path
) -> list[str]:
    """Return qemu's command line: console and output of the command are two serial ports."""
    drive = f"if=none,id=image,format=raw,readonly=on,file={_option(image)}"
    line = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot"]
    line += ["-machine", "pc", "-accel", "tcg", "-cpu", "max", "-m", "768", "-display", "none"]
    line += ["-kernel", str(vmlinuz), "-initrd", str(work / "initramfs")]
    # panic=-1 reboots at once, which -no-reboot makes the end of the run.
    line += ["-append", "console=ttyS0 panic=-1 rdinit=/init mitigations=off"]
    line += ["-serial", f"file:{work / 'console'}", "-serial", f"file:{work / 'output'}"]
    line += ["-drive", drive, "-device", "virtio-blk-pci,drive=image"]
    for number, volume in enumerate(trailer.volumes):
        # "none" needs neither root nor xattrs: an owner that cannot be set is let be.
        path = _option(volume_directory(volumes_dir, volume))
        line += ["-fsdev", f"local,id={_tag(number)},path={path},security_model=none"]
        line += ["-device", f"virtio-9p-pci,fsdev={_tag(number)},mount_tag={_tag(number)}"]
    return line


def _option(path: Path) -> str:
    return str(path.resolve()).replace(",", ",,")


def _run(machine: Sequence[str], timeout: float) -> str:
    """Run qemu to its end; return what is to be said if the guest reported nothing."""
    try:
        done = subprocess.run(
            machine,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise BootError(f"{machine[0]} is missing; install qemu-system-x86") from error
    except subprocess.TimeoutExpired:
        return f"the guest was not done after {timeout:g} s"
    if done.returncode:
        return f"qemu ended with status {done.returncode}: {done.stderr.strip()}"
    return "the guest stopped without a report"


def _status(console: Path, failure: str) -> int:
    """Read the guest's report off its console."""
    text = console.read_text(errors="replace").replace("\r", "") if console.exists() else ""
    tail = "\n".join(text.splitlines()[-_LOG_LINES:])
    died = re.search(r"^golem-boot: error: (.*)$", text, re.MULTILINE)
    if died:
        raise BootError(died[1], tail)
    ended = re.search(r"^golem-boot: status ([0-9]+)$", text, re.MULTILINE)
    if not ended:
        raise BootError(failure, tail)
    return int(ended[1])


def main() -> int:
    arguments = _arguments()
    # As an exception it passes through subprocess.run, which then ends qemu.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        volumes_dir = arguments.volumes_dir or _new_volumes_dir(arguments.cache)
        result = boot(
            arguments.image,
            shlex.split(arguments.command),
            volumes_dir=volumes_dir,
            cache=arguments.cache,
            timeout=arguments.timeout,
        )
    except BootError as error:
        if error.log:
            print(error.log, file=sys.stderr)
        print(f"boot_gvmi: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"boot_gvmi: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(result.output, end="")
    for volume in read_trailer(arguments.image).volumes:
        print(f"volume {volume}: {volume_directory(volumes_dir, volume)}")
    print(f"status {result.status} after {result.seconds:.1f} s")
    return result.status


def _new_volumes_dir(cache: Path) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="volumes-", dir=cache))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Boot a .gvmi file in qemu as a provider does.")
    parser.add_argument("image", type=Path, metavar="FILE.gvmi")
    parser.add_argument("--command", default=DEFAULT_COMMAND, help="default: %(default)s")
    parser.add_argument("--volumes-dir", type=Path, help="default: a new one in the cache")
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, help="seconds")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
