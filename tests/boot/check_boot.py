"""Check that the documented example image works on a provider: boot it and look around.

    python3 tests/boot/check_boot.py golem-example.gvmi

The image: FROM debian, VOLUME /golem/input /golem/output, WORKDIR /golem/work.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from boot_gvmi import DEFAULT_CACHE, DEFAULT_TIMEOUT, BootError, boot, volume_directory

_SCRIPT = """\
pwd
ls -ld /golem/work
cat /golem/input/in
echo from-guest > /golem/output/out
cat /proc/mounts
"""


def check(image: Path, *, cache: Path, timeout: float) -> dict[str, bool]:
    """Boot *image* and return each expectation with whether it holds."""
    with tempfile.TemporaryDirectory(prefix="check-boot-") as scratch:
        volumes_dir = Path(scratch)
        given = volume_directory(volumes_dir, "/golem/input") / "in"
        given.parent.mkdir(parents=True)
        given.write_text("from-host\n")
        command = ["sh", "-c", _SCRIPT]
        result = boot(image, command, volumes_dir=volumes_dir, cache=cache, timeout=timeout)
        made = volume_directory(volumes_dir, "/golem/output") / "out"
        written = made.read_text() if made.is_file() else ""
    print(result.output, end="")
    print(f"booted, ran and powered off in {result.seconds:.1f} s")
    lines = result.output.splitlines()
    types = {mount[1]: mount[2] for mount in map(str.split, lines) if len(mount) == 6}
    return {
        "the command succeeded": result.status == 0,
        "pwd says /golem/work": lines[:1] == ["/golem/work"],
        "/golem/work is a directory": any(
            line.startswith("d") and line.endswith(" /golem/work") for line in lines
        ),
        "the root is an overlay": types.get("/") == "overlay",
        "/golem/input is a 9p mount": types.get("/golem/input") == "9p",
        "/golem/output is a 9p mount": types.get("/golem/output") == "9p",
        "the guest read the host's file": "from-host" in lines,
        "the host read the guest's file": written == "from-guest\n",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Boot the example image and check it.")
    parser.add_argument("image", type=Path, metavar="FILE.gvmi")
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT, help="seconds")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        expectations = check(arguments.image, cache=arguments.cache, timeout=arguments.timeout)
    except BootError as error:
        print(f"{error.log}\ncheck_boot: {error}".lstrip(), file=sys.stderr)
        return 1
    for expectation, holds in expectations.items():
        print(f"{'ok    ' if holds else 'FAILED'} {expectation}")
    return 0 if all(expectations.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
