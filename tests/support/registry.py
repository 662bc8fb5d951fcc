"""Debian's docker-registry on a free port of loopback, with a storage of its own."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

START_SECONDS = 20
STOP_SECONDS = 10


class Registry:
    """A running registry, while its context lasts.

    With *user* and *password* it asks for Basic authentication. `log` is the path of what it
    writes, `address` is `127.0.0.1:PORT`.
    """

    def __init__(self, *, user: str | None = None, password: str = "") -> None:
        self._login = None if user is None else (user, password)

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="registry-")
        root = Path(self._folder.name)
        self.storage = root / "storage"
        self.log = root / "log"
        self.address = f"127.0.0.1:{_free_port()}"
        configuration = root / "config.yml"
        configuration.write_text(json.dumps(self._configuration(root)))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(configuration)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def push_layout(
        self, layout: str | os.PathLike[str], name: str, *, tag: str = "latest", whole: bool = True
    ) -> str:
        """Push *tag* of an OCI layout as *name* (`repo:tag`); the reference it has there.

        *whole* pushes every image of an index; else skopeo takes the one for this machine.
        """
        source = f"oci:{os.fspath(layout)}:{tag}"
        return self.push(source, name, *(["--all"] if whole else []))

    def push(self, source: str, name: str, *options: str) -> str:
        """Push any source skopeo knows (`oci:...`, `docker-archive:...`) as *name*."""
        reference = f"{self.address}/{name}"
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        if self._login is not None:
            command += ["--dest-creds", ":".join(self._login)]
        command += [*options, source, f"docker://{reference}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"skopeo could not push {source}: {done.stderr.strip()}")
        return reference

    def _configuration(self, root: Path) -> dict[str, object]:
        # JSON is YAML; the registry reads nothing else.
        configuration: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address},
        }
        if self._login is not None:
            passwords = root / "htpasswd"
            passwords.write_text(_htpasswd(*self._login))
            configuration["auth"] = {"htpasswd": {"realm": "tests", "path": str(passwords)}}
        return configuration

    def _wait_until_it_answers(self) -> None:
        request = urllib.request.Request(f"http://{self.address}/v2/")
        if self._login is not None:
            token = base64.b64encode(":".join(self._login).encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        give_up = time.monotonic() + START_SECONDS
        while not _answers(request):
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"docker-registry did not start: {self.log.read_text()}")
            # Nothing tells that it listens; the wait for its end is a wait that ends early.
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def _answers(request: urllib.request.Request) -> bool:
    # A proxy of the environment has no business on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _htpasswd(user: str, password: str) -> str:
    """A line with a bcrypt hash, the only kind the registry takes; libcrypt makes it."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    hashed = crypt(password.encode(), b"$2y$05$" + b"." * 22)
    return f"{user}:{hashed.decode()}\n"
