"""A real Debian base, bootstrapped once by mmdebstrap from the machine's own mirror."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.cache import cache_root, made_once
from support.images import oci_layout

SUITE = "bookworm"
CREATED = "2024-02-03T04:05:06.789012345Z"
CONFIG: dict[str, object] = {
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "Cmd": ["bash"],
}


def debian_tar() -> Path:
    """The tar of Debian's minbase."""
    return made_once(cache_root() / f"{SUITE}.tar", bootstrap)


def debian_layout() -> Path:
    """An OCI layout of it, one layer, tagged `latest`."""

    def write(draft: Path) -> None:
        oci_layout(draft, [debian_tar().read_bytes()], CONFIG, created=CREATED)

    return made_once(cache_root() / f"{SUITE}.oci", write)


def bootstrap(tar: Path, *packages: str) -> None:
    """Run mmdebstrap into *tar*; as a user other than root it needs user namespaces."""
    mode = "root" if os.geteuid() == 0 else "unshare"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--mode={mode}"]
    command += [*(f"--include={name}" for name in packages), SUITE, str(tar)]
    done = subprocess.run([*command, *_mirror()], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"mmdebstrap could not make {SUITE}: {done.stderr.strip()}")


def _mirror() -> list[str]:
    """The machine's own sources where they are of this suite, else mmdebstrap's default."""
    apt = Path("/etc/apt")
    for sources in (apt / "sources.list.d" / "debian.sources", apt / "sources.list"):
        if sources.is_file() and SUITE in sources.read_text():
            return [str(sources)]
    return []
