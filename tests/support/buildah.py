"""The other builder: buildah, with storage of its own and no daemon, in chroot isolation."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from support.trees import snapshot_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.trees import Snapshot


# Now and then it cannot seal the copy of itself that it is about to execute, and gives up.
_SEALING = "sealing memfd copy: Device or resource busy"


class Buildah:
    """buildah upon *bases*, layouts by the names that Dockerfiles have for them.

    The *driver* `vfs` copies every layer, and its builds wait for the next full second.
    """

    def __init__(self, folder: Path, bases: dict[str, Path], driver: str = "overlay") -> None:
        self.folder = folder
        places = ("--root", folder / "r", "--runroot", folder / "rr")
        self._command = ("buildah", "--storage-driver", driver, *places)
        policy = folder / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._policy = ("--signature-policy", policy)
        for name, layout in bases.items():
            pulled = self.run("pull", "-q", *self._policy, f"oci:{layout}:latest").strip()
            self.run("tag", pulled, name)

    def run(self, *arguments: object) -> str:
        done = self._try(*arguments)
        if _SEALING in done.stderr:
            done = self._try(*arguments)
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout

    def _try(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in (*self._command, *arguments)],
            capture_output=True, text=True, check=False, errors="replace",
        )  # fmt: skip

    def build(
        self, dockerfile: Path, context: Path, options: Sequence[str], ignored: str = ""
    ) -> tuple[Snapshot, dict[str, object]]:
        """Return the tree and the config of what buildah makes of a Dockerfile.

        *ignored* are the lines of a .dockerignore.
        """
        ignore = self.folder / "ignore"
        ignore.write_text(ignored)
        image = self.run(
            "build", "-q", "--format", "docker", "--isolation", "chroot", "--layers=false",
            *self._policy, "--pull-never", "--ignorefile", ignore, "-f", dockerfile, *options,
            context,
        ).splitlines()[-1]  # fmt: skip
        container = self.run("from", *self._policy, image).strip()
        tree = snapshot_directory(self.run("mount", container).strip())
        self.run("rm", container)
        config = json.loads(self.run("inspect", "--type", "image", image))["Docker"]
        self.run("rmi", "-f", image)
        return tree, config
