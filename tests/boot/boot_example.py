"""Builds documented Dockerfiles upon a real Debian and boots them as a provider would.

python3 tests/boot/boot_example.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from boot_gvmi import DEFAULT_CACHE, DEFAULT_TIMEOUT, boot  # noqa: E402 - after the path
from check_boot import check  # noqa: E402
from support.debian import debian_layout  # noqa: E402
from support.registry import Registry  # noqa: E402

COMMAND = Path(sys.executable).with_name("golem-assemble")
PAGE = ROOT / "docs" / "run.md"
FLOW = "From a Dockerfile with RUN to a provider"
_LOOK = """\
cat /srv/worker/made
stat -c '%a %U %G %h %n' /srv/worker /srv/worker/made /srv/worker/serve /usr/local/bin/read-all
getcap /usr/local/bin/serve
cat /home/worker/who
stat -c '%U %n' /home/worker/who
readlink /usr/share/doc
"""
SEEN = """\
made by RUN
2770 worker audio 2 /srv/worker
644 worker audio 1 /srv/worker/made
755 root root 2 /srv/worker/serve
4755 root root 1 /usr/local/bin/read-all
/usr/local/bin/serve cap_net_bind_service=ep
worker
worker /home/worker/who
/srv/worker
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        expectations = boot_example(Path(scratch)) | boot_run(Path(scratch))
    for expectation, holds in expectations.items():
        print(f"{'ok    ' if holds else 'FAILED'} {expectation}")
    return 0 if all(expectations.values()) else 1


def boot_example(scratch: Path) -> dict[str, bool]:
    """The documented example, its base from a registry."""
    with Registry() as registry:
        base = registry.push_layout(debian_layout(), "debian:latest")
        image = scratch / "example.gvmi"
        command = [
            COMMAND, "build", "-t", "golem-example", "--build-context",
            f"debian:latest=docker://{base}", "--store", scratch / "store", "-o", image,
            ROOT / "fixtures" / "golem-example",
        ]  # fmt: skip
        subprocess.run(command, check=True)
    return check(image, cache=DEFAULT_CACHE, timeout=DEFAULT_TIMEOUT)


def boot_run(scratch: Path) -> dict[str, bool]:
    """What docs/run.md shows of an image with RUN, its commands as they stand there."""
    path = f"{COMMAND.parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "XDG_CACHE_HOME": str(scratch / "cache")}
    shutil.copytree(ROOT / "fixtures" / "users-and-capabilities", scratch / "worker")
    given = f"debian:bookworm-slim --build-context given=oci:{debian_layout()}"
    commands = [f"echo FROM given | golem-assemble build -q --output type=image -t {given} -f - ."]
    section = PAGE.read_text().partition(f"## {FLOW}\n")[2].partition("\n## ")[0]
    commands += re.findall(r"^\$ (.*)", section, re.MULTILINE)
    for command in commands:
        print(f"$ {command}", flush=True)
        subprocess.run(["sh", "-euc", command], cwd=scratch, env=environment, check=True)
    result = boot(scratch / "worker.gvmi", ["sh", "-c", _LOOK], volumes_dir=scratch / "volumes")
    print(result.output, end="")
    return {
        f"with RUN, the guest sees {line}": line in result.output.replace("\r", "").splitlines()
        for line in SEEN.splitlines()
    }


if __name__ == "__main__":
    sys.exit(main())
