"""Images such as Golem's users build with RUN: on the rungs of the ladder, and by `buildah build`.

They fetch from Debian, and from the indexes of Python and Node that this machine uses. What differs
is in DIFFERENT; docs/run.md says why. `GOLEM_TEST_WAYS=all` builds each in every way.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.buildah import Buildah
from support.images import oci_layout
from support.online import online_debian, online_node
from support.ordinary import open_way, ordinary
from support.runs import COMMAND, EVERY_WAY, UNLIKE, USER, WAYS, small_base
from support.trees import ROOT, differences, snapshot_directory, umoci_unpack

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
LIBRARY = "docker.io/library"
IGNORED = {"mtime"}
CHANGING = re.compile(
    rb"""
      var/(log|cache|lib/apt)/.*      # what was done when
    | .*\.pyc                         # has the times of its sources
    | var/lib/dpkg/.*-old | etc/.*-   # copies from before the last change
    | etc/ld\.so\.cache
    | etc/hosts | root/\.cache         # mount points that buildah leaves
    | app/node_modules/\.package-lock\.json
    """,
    re.VERBOSE,
)
"""Files whose contents, or whose being there, two builds of one builder differ in."""
IMAGES = {
    "users-and-capabilities": UNLIKE,
    "c-multi-stage": (USER,),
    "python-pip-task": (),
    "node-npm-task": (),
}
"""The ways that build each by default: the others take minutes and say more of the same."""
PRINTS = {
    "c-multi-stage": (["/usr/local/bin/worker"], "compiled\n"),
    "python-pip-task": (["/usr/bin/python3", "/app/task.py"], "45\n"),
    "node-npm-task": (["/usr/bin/node", "/app/main.js"], "true\n"),
    "users-and-capabilities": (["/bin/cat", "/home/worker/who"], "worker\n"),
}
DIFFERENT: dict[tuple[str, str], tuple[str, ...]] = {}
CASES = [(name, way) for name, ways in IMAGES.items() for way in (WAYS if EVERY_WAY else ways)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    busybox = oci_layout(tmp_path_factory.mktemp("base") / "busybox", [small_base()]).path
    found = {
        f"{LIBRARY}/debian:bookworm-slim": online_debian(),
        f"{LIBRARY}/busybox:latest": busybox,
    }
    if "node-npm-task" in {name for name, _ in CASES}:
        found[f"{LIBRARY}/node:22-slim"] = online_node()
    return found


@pytest.fixture(scope="module")
def buildahs(tmp_path_factory, bases):
    """What buildah makes of a fixture, once for each."""
    made = {}
    buildah = Buildah(tmp_path_factory.mktemp("buildah"), bases)

    def build(name):
        if name not in made:
            made[name] = buildah.build(FIXTURES / name / "Dockerfile", FIXTURES / name, ())[0]
        return made[name]

    return build


@pytest.fixture(scope="module")
def folders():
    """A folder for each way, with a store of its own: others' steps are not to be found there."""
    # Not pytest's own, which its next start closes to others.
    with ExitStack() as stack:
        made = {way: Path(stack.enter_context(tempfile.TemporaryDirectory())) for way in WAYS}
        yield made


def build(name, way, folder, bases):
    for path in (
        COMMAND,
        FIXTURES / name / "Dockerfile",
        *(b / "index.json" for b in bases.values()),
    ):
        open_way(path)
    command = [
        *(ordinary(folder) if way == USER else ()), COMMAND, "build", "--no-cache", "--sandbox",
        "recorded" if way == USER else way, "--store", folder / "store", "-t", name,
        "--output", "type=image", *(f"--build-context={n}=oci:{b}" for n, b in bases.items()),
        FIXTURES / name,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "store"


def kept(tree):
    return {
        name: entry for name, entry in tree.items() if name != ROOT and not CHANGING.fullmatch(name)
    }


@pytest.mark.parametrize(("name", "way"), CASES)
def test_an_image_is_buildahs_and_does_what_it_should(name, way, folders, bases, buildahs):
    want = kept(buildahs(name))
    store = build(name, way, folders[way], bases)
    with umoci_unpack(store, f"{name}:latest") as root:
        found = differences(want, kept(snapshot_directory(root)), ignore=IGNORED)
        command, printed = PRINTS[name]
        done = subprocess.run(
            ["chroot", root, *command], capture_output=True, text=True, check=True
        )
    assert done.stdout == printed
    assert tuple(found) == DIFFERENT.get((name, way), ())
