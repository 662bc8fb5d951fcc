"""The Dockerfiles in `fixtures/`, such as Golem's users write, built by the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.trees import snapshot_squashfs
from test_run_images import IMAGES

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
COMMAND = Path(sys.executable).with_name("golem-assemble")
BASES = ("busybox:latest", "debian:latest", "python:3.12-slim", "node:22-slim")
EXPECTED: dict[str, tuple[dict[str, tuple[int, int]], dict[str, object]]] = {
    "busybox": ({"golem/work": (0o755, 0)}, {"WorkingDir": "/golem/work"}),
    "golem-example": ({"golem/input": (0o755, 0)}, {"WorkingDir": "/golem/work"}),
    "python-task": (
        {"app/task/__main__.py": (0o644, 0), "golem/output": (0o755, 0)},
        {"Entrypoint": ["python3", "-m", "task"]},
    ),
    "node-task": ({"app/package.json": (0o644, 0), "app/src/main.js": (0o644, 0)}, {}),
    "static-tool": (
        {"usr/local/bin/tool": (0o755, 0), "bin/sh": (0o777, 0)},
        {"Volumes": {"/data": {}}},
    ),
    "dataset": (
        {"srv/data/2026/one.csv": (0o444, 1000), "srv/data/2026": (0o555, 1000)},
        {"Volumes": {"/golem/output": {}}},
    ),
    "tarball-tool": ({"opt/cracker-1.0/bin/crack": (0o755, 0)}, {}),
    "configured": (
        {"etc/worker/worker.conf": (0o644, 0), "usr/local/bin/worker": (0o755, 0)},
        {},
    ),
    "entrypoint": ({"golem/serve": (0o755, 0)}, {"Entrypoint": ["/golem/serve"]}),
    "versions": ({"etc/release-notes": (0o644, 0)}, {}),
    "many-stages": (
        {"usr/local/bin/worker": (0o755, 0), "usr/local/bin/manager": (0o755, 0)},
        {"Volumes": {"/golem/state": {}}},
    ),
    "parents": (
        {"srv/models/a/weights.bin": (0o644, 0), "srv/index.json": (0o644, 0)},
        {},
    ),
}  # fmt: skip
WITH_RUN = {path.parent.name for path in FIXTURES.glob("*/Dockerfile")
            if "\nRUN " in path.read_text()}  # fmt: skip
"""Built by `test_run_images`."""
ABSENT = {
    "python-task": ["app/test_task.py"],
    "node-task": ["app/src/debug.log"],
    "static-tool": ["tools"],
    "dataset": ["srv/data/2026/draft.csv"],
    "many-stages": ["golem/input"],
    "parents": ["srv/models/a/notes.txt"],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "busybox"
    subprocess.run([sys.executable, FIXTURES / "make_base.py", folder], check=True)
    return folder


@pytest.fixture
def build(tmp_path, base):
    def build(name, *options):
        out = tmp_path / "out.gvmi"
        contexts = [f"--build-context={image}=oci:{base}" for image in BASES]
        command = [COMMAND, "build", "-q", "--store", tmp_path / "store", "-o", out]
        subprocess.run([*command, *contexts, *options, FIXTURES / name], check=True)
        shown = subprocess.run(
            [COMMAND, "inspect", "--json", out], capture_output=True, check=True
        ).stdout
        subprocess.run([COMMAND, "verify", out], check=True, stdout=subprocess.DEVNULL)
        return snapshot_squashfs(out), json.loads(shown)["config"]

    return build


def test_every_fixture_is_tried():
    tried = set(EXPECTED) | WITH_RUN
    assert tried == {path.parent.name for path in FIXTURES.glob("*/Dockerfile")}
    assert set(IMAGES) == WITH_RUN


@pytest.mark.parametrize("name", EXPECTED)
def test_a_fixture_builds_as_its_author_would_expect(name, build):
    tree, config = build(name)
    entries, settings = EXPECTED[name]
    for path, (mode, uid) in entries.items():
        entry = tree[os.fsencode(path)]
        # What git keeps of modes is whether a file can be executed.
        assert (entry.mode | 0o020 if entry.mode & 0o200 else entry.mode, entry.uid) == (
            (mode | 0o020 if mode & 0o200 else mode), uid,
        ), path  # fmt: skip
    for path in ABSENT.get(name, ()):
        assert os.fsencode(path) not in tree
    for key, value in settings.items():
        assert config[key] == value


def test_versions_and_targets_are_chosen(build):
    tree, config = build("versions", "--build-arg", "VERSION=v1")
    assert tree[b"etc/release-notes"].size == len("the first\n")
    assert config["Labels"]["org.opencontainers.image.title"] == "task 1"
    tree, config = build("many-stages", "--target", "worker")
    assert b"usr/local/bin/manager" not in tree
    assert sorted(config["Volumes"]) == ["/golem/input", "/golem/output"]


def test_what_is_in_the_images_runs(build, tmp_path):
    build("tarball-tool")
    root = tmp_path / "root"
    unpack = ["unsquashfs", "-quiet", "-no-progress", "-dest", root, tmp_path / "out.gvmi"]
    subprocess.run(unpack, check=True, stdout=subprocess.DEVNULL)
    user = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    run = [*user, "chroot", root, "/opt/cracker-1.0/bin/crack"]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "cracked\n"
