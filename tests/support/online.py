"""Debian bases for what is fetched while RUN runs: with this machine's ways to the package indexes.

apt goes where mmdebstrap went. pip and npm are told by the base's environment what this machine's
own are told: the index, and the certificates to trust. So Dockerfiles need not know of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from support.cache import cache_root, made_once
from support.debian import CONFIG, CREATED, SUITE, bootstrap, debian_tar
from support.images import oci_layout
from support.layers import file, layer

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_INSIDE = "etc/certificates-of-the-tests.crt"


def online_debian() -> Path:
    """A layout of Debian's minbase."""
    return _layout(f"{SUITE}-online.oci", debian_tar())


def online_node() -> Path:
    """A layout of Debian with npm, as images called node have it."""
    tar = made_once(cache_root() / f"{SUITE}-npm.tar", lambda draft: bootstrap(draft, "npm"))
    return _layout(f"{SUITE}-npm-online.oci", tar)


def _layout(name: str, tar: Path) -> Path:
    def write(draft: Path) -> None:
        given = [file(_INSIDE, _CERTIFICATES.read_bytes())] if _CERTIFICATES.exists() else []
        environment = [*CONFIG["Env"], *_environment(trusting=bool(given))]
        config = {**CONFIG, "Env": environment}
        oci_layout(draft, [tar.read_bytes(), layer(*given)], config, created=CREATED)

    return made_once(cache_root() / name, write)


def _environment(*, trusting: bool) -> list[str]:
    found = {
        "PIP_INDEX_URL": _told("python3", "-m", "pip", "config", "get", "global.index-url"),
        "npm_config_registry": _told("npm", "config", "get", "registry"),
    }
    if trusting:
        for name in ("PIP_CERT", "npm_config_cafile", "NODE_EXTRA_CA_CERTS"):
            found[name] = f"/{_INSIDE}"
    return [f"{name}={value}" for name, value in found.items() if value]


def _told(program: str, *arguments: str) -> str:
    """What a program says, which may not be there or know nothing."""
    if shutil.which(program) is None:
        return ""
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env=os.environ
    )
    return done.stdout.strip() if done.returncode == 0 else ""
