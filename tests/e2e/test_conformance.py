"""Small Dockerfiles, built here and by `buildah build`: the same tree, the same config.

Compared are names, types, modes, owners, sizes, contents, links, devices and every field of the
config; ours through the layers that the build put into the store, as umoci unpacks them. Where
BuildKit and buildah differ BuildKit is right, and `DIFFERENT` says in what.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

import pytest
from dockerfiles import ALONE, BAD, CASES, DIFFERENT, IGNORE
from support.buildah import Buildah
from support.images import oci_layout
from support.layers import directory, file, layer, symlink
from support.trees import ROOT, differences, snapshot_umoci

from assembler.assembling import Settings
from assembler.building import built
from assembler.errors import AssemblerError
from assembler.progress import NoView, Progress
from assembler.request import Request
from assembler.storing import keep_image
from layers.errors import LayersError
from layers.session import Session
from layers.store import ContentStore

BASE = "localhost/base:1"
BASE_LAYERS = [
    layer(
        directory("etc"), directory("usr"), directory("usr/bin"), symlink("bin", "usr/bin"),
        file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nme:x:1000:1001::/home/me:/bin/sh\n"),
        file("etc/group", b"root:x:0:\nme:x:1001:\nstaff:x:50:me\n"),
        directory("there", mode=0o700, uid=3, gid=4), file("there/old", b"old", mode=0o600),
        directory("there/sub", mode=0o711, uid=5, gid=6), file("plain", b"plain"),
        file("usr/bin/tool", b"tool", mode=0o4755), symlink("out", "/there"),
        symlink("abs", "/not/yet"), directory("home"), directory("home/me", uid=1000, gid=1001),
    ),
]  # fmt: skip
BASE_CONFIG = {
    "Env": ["PATH=/usr/bin:/bin", "GIVEN=base"], "Cmd": ["sh"], "WorkingDir": "/home",
    "Labels": {"from": "base"}, "User": "",
}  # fmt: skip
IGNORED_FIELDS = {"mtime", "xattrs"}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """A folder with something of every kind."""
    root = tmp_path_factory.mktemp("conformance") / "context"
    for name, text in {
        "a.txt": "a", "b.txt": "bb", "c.md": "ccc", "run.sh": "#!/bin/sh\n", "dir/one": "1",
        "dir/two": "22", "dir/deep/er/three": "333", "dir/.hidden": "h", "src/main.c": "int x;",
        "src/util.c": "int y;", "src/lib/a.h": "h", "with space/f 1": "s", "private": "p",
"tree/sub/new": "n", "tree/file": "t", "hard/1": "hard",
        "suid/s": "s", "odd[x]/f": "o",
    }.items():  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
    (root / "empty").mkdir()
    (root / "run.sh").chmod(0o755)
    (root / "private").chmod(0o600)
    (root / "dir" / "deep").chmod(0o750)
    (root / "tree" / "sub").chmod(0o777)
    (root / "suid" / "s").chmod(0o4755)
    os.link(root / "hard" / "1", root / "hard" / "2")
    (root / "link").symlink_to("a.txt")
    (root / "dirlink").symlink_to("dir")
    (root / "dir" / "up").symlink_to("../a.txt")
    (root / "dir" / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    for suffix, mode in {
        "tar": "w",
        "tar.gz": "w:gz",
        "tar.bz2": "w:bz2",
        "tar.xz": "w:xz",
    }.items():
        with tarfile.open(root / f"archive.{suffix}", mode) as archive:
            for name, kind, text in (
                ("in", tarfile.DIRTYPE, b""), ("in/f", tarfile.REGTYPE, b"f"),
                ("in/l", tarfile.SYMTYPE, b""), ("in/h", tarfile.LNKTYPE, b""),
            ):  # fmt: skip
                info = tarfile.TarInfo(name)
                info.type, info.size, info.mode = kind, len(text), 0o750
                info.uid, info.gid = 11, 12
                info.linkname = {"in/l": "f", "in/h": "in/f"}.get(name, "")
                archive.addfile(info, io.BytesIO(text))
    return root


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "layout"
    return oci_layout(folder, BASE_LAYERS, BASE_CONFIG, created="2020-01-01T00:00:00Z").path


@pytest.fixture(scope="module")
def buildah(tmp_path_factory, base):
    return Buildah(tmp_path_factory.mktemp("buildah"), {BASE: base})


def build_here(folder, dockerfile, context, base, options, contexts=()):
    """Return the tree (by umoci) and the config of what this project makes of a Dockerfile."""
    given = {"--build-arg": [], "--label": [], "--target": [None]}
    for option in options:
        name, _, value = option.partition("=")
        given[name].append(value)
    request = Request.of(
        str(context), str(dockerfile), ["result"], given["--target"][-1],
        [f"{BASE}=oci:{base}", *contexts],
        given["--build-arg"], given["--label"],
    )  # fmt: skip
    store = folder / "store"
    session = Session(ContentStore(store))
    with built(request, Settings(), session, Progress(NoView())) as result:
        raw = result.config.serialize()
        session.store.tag(str(request.tags[0]), keep_image(result.image, raw, result.made, session))
    return snapshot_umoci(store, "result:latest"), json.loads(raw)


def compared(config):
    """What two configs must agree in; absent and empty are the same."""
    settings = {key: value for key, value in (config.get("config") or {}).items() if value}
    for name in ("Image", "Hostname"):  # old fields of Docker's, about the build
        settings.pop(name, None)
    if settings.get("WorkingDir") == "/":
        del settings["WorkingDir"]  # what BuildKit gives scratch, and buildah does not
    settings.get("Labels", {}).pop("io.buildah.version", None)
    if not settings.get("Labels"):
        settings.pop("Labels", None)
    return {"config": settings, **{key: config.get(key) for key in ("architecture", "os")}}


def written(tmp_path, text, ignore):
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / "Dockerfile.dockerignore").write_text(ignore)
    return tmp_path / "Dockerfile"


@pytest.mark.parametrize("name", CASES)
def test_the_result_is_buildahs(name, tmp_path, context, base, buildah):
    text, *options = CASES[name]
    ignore = IGNORE.get(name, "")
    dockerfile = written(tmp_path, text.replace("BASE", BASE), ignore)
    want_tree, want_config = buildah.build(dockerfile, context, options, ignore)
    have_tree, have_config = build_here(tmp_path, dockerfile, context, base, options)
    # buildah shows every container's root as 0555.
    want_tree.pop(ROOT), have_tree.pop(ROOT)
    found = differences(want_tree, have_tree, ignore=IGNORED_FIELDS)
    want, have = compared(want_config), compared(have_config)
    if want != have:
        found.append(f"config: {have}, not {want}")
    expected = DIFFERENT.get(name)
    if expected is None:
        assert not found, "\n".join(found)
    else:
        assert found == list(expected[1]), "\n".join(found)


@pytest.mark.parametrize("name", BAD)
def test_what_buildah_refuses_too_is_refused(name, tmp_path, context, base, buildah):
    text, problem = BAD[name]
    dockerfile = written(tmp_path, text.replace("BASE", BASE), "")
    with pytest.raises(AssertionError):
        buildah.build(dockerfile, context, ())
    with pytest.raises((AssemblerError, LayersError), match=problem):
        build_here(tmp_path, dockerfile, context, base, ())


def told(tree, base):
    """The entries of *tree* that *base* has not, a line each."""
    lines = []
    for name, entry in sorted(tree.items()):
        # What a directory holds changes nothing in its own entry.
        if base.get(name) == entry or name == ROOT:
            continue
        slash = "/" if entry.kind == "directory" else ""
        line = f"{os.fsdecode(name)}{slash} {entry.mode:o} {entry.uid}:{entry.gid}"
        if entry.target is not None:
            line += f" -> {os.fsdecode(entry.target)}"
        lines.append((line, entry.sha256))
    return lines


@pytest.mark.parametrize("name", ALONE)
def test_what_buildah_cannot_do_is_done_as_buildkit_does(name, tmp_path, context, base):
    text, expected = ALONE[name]
    dockerfile = written(tmp_path, text.replace("BASE", BASE), "")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "f").write_text("other")
    contexts = [f"other={tmp_path / 'folder'}"]
    tree, _ = build_here(tmp_path, dockerfile, context, base, (), contexts)
    want = []
    for line in expected:
        head, _, text = line.partition(" ")[2].partition(" ")[2].partition(" ")
        if text and not text.startswith("-> "):
            digest = hashlib.sha256(text.replace("\\n", "\n").encode()).hexdigest()
            want.append((line.removesuffix(f" {text}"), digest))
        else:
            want.append((line, None))
        assert head
    assert told(tree, snapshot_umoci(base)) == want
