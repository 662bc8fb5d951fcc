"""Builds the documented Dockerfile upon a real Debian and boots it as a provider would.

python3 tests/boot/boot_example.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from boot_gvmi import DEFAULT_CACHE, DEFAULT_TIMEOUT  # noqa: E402 - after the path
from check_boot import check  # noqa: E402
from support.debian import debian_layout  # noqa: E402
from support.registry import Registry  # noqa: E402


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch, Registry() as registry:
        base = registry.push_layout(debian_layout(), "debian:latest")
        image = Path(scratch) / "example.gvmi"
        command = [
            Path(sys.executable).with_name("golem-assemble"), "build", "-t", "golem-example",
            "--build-context", f"debian:latest=docker://{base}", "--store", Path(scratch) / "store",
            "-o", image, ROOT / "fixtures" / "golem-example",
        ]  # fmt: skip
        subprocess.run(command, check=True)
        expectations = check(image, cache=DEFAULT_CACHE, timeout=DEFAULT_TIMEOUT)
    for expectation, holds in expectations.items():
        print(f"{'ok    ' if holds else 'FAILED'} {expectation}")
    return 0 if all(expectations.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
