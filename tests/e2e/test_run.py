"""RUN, done on the rungs of the ladder and by `buildah build`: the same files come of it.

Compared are names, types, modes, owners, times (but for what is of now), contents, links, devices
and extended attributes. What differs on which rung is in `runs.DIFFERENT`, and in docs/run.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from builders import as_snapshot
from run_dockerfiles import ALONE, BY_COPIES, CASES, DIFFERENT, rungs_of
from support.buildah import Buildah
from support.images import REF_NAME, oci_layout
from support.layers import MTIME, directory, file, hardlink, symlink
from support.runs import COMMAND, small_base
from support.trees import ROOT, differences, snapshot_umoci

from assembler.assembling import Settings
from assembler.building import built
from assembler.errors import RunError
from assembler.progress import NoView, Progress
from assembler.request import Request, RunOptions
from assembler.sandbox.roots import Roots
from assembler.storing import keep_image
from layers.session import Session
from layers.store import ContentStore

BASE = "localhost/base:1"
RUNGS = ("root", "ranges", "recorded", "chroot")
CONFIG = {"Env": ["PATH=/bin"], "Cmd": ["sh"]}
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nme:x:1000:1001:me:/home/me:/bin/sh\n"
GROUP = b"root:x:0:\nme:x:1001:\nstaff:x:50:me\n"
NOW = -1
PAGE = Path(__file__).resolve().parents[2] / "docs" / "run.md"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    items = (
        directory("run"), file("etc/passwd", PASSWD), file("etc/group", GROUP),
        *(file(f"etc/{name}") for name in ("hostname", "hosts", "resolv.conf")),
        directory("home/me", uid=1000, gid=1001),
        directory("there", mode=0o755, uid=3, gid=4), file("there/old", b"old", mode=0o640, uid=3),
        directory("there/sub", mode=0o711, uid=5, gid=6), file("there/sub/f", b"f", gid=6),
        file("plain", b"plain"), symlink("out", "/there"),
        directory("hard"), file("hard/1", b"hard", uid=9), hardlink("hard/2", "hard/1", uid=9),
    )  # fmt: skip
    return oci_layout(tmp_path_factory.mktemp("base") / "base", [small_base(*items)], CONFIG).path


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    root = tmp_path_factory.mktemp("context")
    (root / "dir").mkdir()
    for name in ("a.txt", "b.txt", "dir/one"):
        (root / name).write_text(name)
        os.utime(root / name, (MTIME, MTIME))
    return root


@pytest.fixture(scope="module")
def buildah(tmp_path_factory, base):
    return Buildah(tmp_path_factory.mktemp("buildah"), {BASE: base})


@pytest.fixture(scope="module")
def copying_buildah(tmp_path_factory, base):
    return Buildah(tmp_path_factory.mktemp("vfs"), {BASE: base}, "vfs")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Where each way has its store: what the base unpacks to is kept there."""
    return tmp_path_factory.mktemp("stores")


def build_here(folder, rung, dockerfile, context, base, *, by_umoci=True):
    """Return the tree of what a rung makes of a Dockerfile: of its layers, by umoci, or ours."""
    options = RunOptions(sandbox=rung)
    request = Request.of(
        str(context),
        str(dockerfile),
        ["x"],
        contexts=[f"{BASE}=oci:{base}"],
        run=options,
        cache=False,
    )
    session = Session(ContentStore(folder / f"store-{rung}"))
    with built(request, Settings(), session, Progress(NoView())) as result:
        raw = result.config.serialize()
        session.store.tag("x:latest", keep_image(result.image, raw, result.made, session))
        if not by_umoci:
            return as_snapshot(result.tree)
    return snapshot_umoci(session.store.root, "x:latest")


def settled(tree, since):
    """*tree* without the root, which buildah shows as 0555, and with one time for all of now.

    So is that of /run, in which buildah makes and removes a file of its own.
    """
    return {
        name: replace(entry, mtime=NOW) if entry.mtime >= since or name == b"run" else entry
        for name, entry in tree.items()
        if name != ROOT
    }


def brief(line):
    """A difference without the values that are of no interest."""
    return re.sub(r": (mtime|size|sha256|links) .*", r": \1", line)


def compare(want, since, rung, *arguments, by_umoci):
    folder, *others = arguments
    try:
        have = settled(build_here(folder, rung, *others, by_umoci=by_umoci), since)
    except RunError:
        return ("it fails",)
    return tuple(map(brief, differences(want, have)))


def expected(name, rung):
    return sum(
        (cases[name].get(rung, cases[name].get("all", ()))
         for cases in DIFFERENT.values() if name in cases), (),
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_rung_makes_what_buildah_makes(name, tmp_path, context, base, stores, request):
    buildah = request.getfixturevalue("copying_buildah" if name in BY_COPIES else "buildah")
    since = int(time.time())
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(CASES[name].replace("BASE", BASE))
    want = settled(buildah.build(dockerfile, context, ())[0], since)
    rungs = rungs_of(name)
    folder = tmp_path if "type=cache" in CASES[name] else stores
    found = {
        # umoci is slow: that our tree is what it unpacks holds for one way if for another.
        rung: compare(want, since, rung, folder, dockerfile, context, base, by_umoci=not number)
        for number, rung in enumerate(rungs)
    }
    assert found == {rung: expected(name, rung) for rung in rungs}


@pytest.mark.parametrize("name", ALONE)
def test_here_documents_are_buildkits(name, tmp_path, context, base, stores):
    text, files = ALONE[name]
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {BASE}\n{text}\n")
    tree = build_here(stores, "root", dockerfile, context, base)
    for path, content in files.items():
        assert tree[path.encode()].sha256 == hashlib.sha256(content.encode()).hexdigest()


def test_without_an_overlay_one_copy_of_the_image_is_there_at_a_time(
    tmp_path, context, base, monkeypatch
):
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {BASE}\nRUN touch /a\nRUN touch /b\nRUN touch /c\n")
    prepare, found = Roots.prepare, []

    def counted(*arguments):
        prepared = prepare(*arguments)
        found.append(len(list((tmp_path / "store-chroot" / "trees").glob(".tmp.*"))))
        return prepared

    monkeypatch.setattr(Roots, "prepare", counted)
    tree = build_here(tmp_path, "chroot", dockerfile, context, base, by_umoci=False)
    assert {b"a", b"b", b"c"} <= set(tree)
    assert found == [1, 1, 1]


def test_every_difference_is_explained():
    page = PAGE.read_text()
    *reasons, ours = DIFFERENT
    assert ours == "buildah does it otherwise"
    rows = re.findall(r"^\| (.+?) \|", page, re.MULTILINE)
    assert set(reasons) <= set(rows)
    assert {name for cases in DIFFERENT.values() for name in cases} <= set(CASES)


@pytest.fixture
def build(tmp_path, base):
    """Build a text with the installed command; layers' blobs are in `tmp_path / "store"`."""

    def build(text, *options, rung="root", status=0, **environment):
        (tmp_path / "c").mkdir(exist_ok=True)
        (tmp_path / "c" / "Dockerfile").write_text(f"FROM {BASE}\n{text}\n")
        done = subprocess.run(
            [
                COMMAND, "build", "--sandbox", rung, "--store", tmp_path / "store", "-t", "x",
                "--output", "type=image", "--build-context", f"{BASE}=oci:{base}", *options,
                tmp_path / "c",
            ],
            capture_output=True, text=True, check=False, env=os.environ | environment,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stderr

    return build


def printed(said):
    """What commands printed."""
    return re.findall(r"\[\d+/\d+\] [\d.]+ (.*)", said)


def cached(said):
    """The steps that were not done again."""
    steps = dict(re.findall(r"(\[\d+/\d+\]) RUN (.*)", said))
    return [steps[step] for step in re.findall(r"(\[\d+/\d+\]) CACHED", said) if step in steps]


def layers(tmp_path):
    """The layers of the image `x`, bottom first: path and descriptor."""
    store = tmp_path / "store"

    def blob(digest):
        return store / "blobs" / digest.replace(":", "/")

    index = json.loads((store / "index.json").read_text())
    (digest,) = {entry["digest"] for entry in index["manifests"]
                 if entry.get("annotations", {}).get(REF_NAME) == "x:latest"}  # fmt: skip
    manifest = json.loads(blob(digest).read_text())
    return [blob(layer["digest"]) for layer in manifest["layers"]]


def names(layer):
    with tarfile.open(layer) as tar:
        return tar.getnames()


@pytest.mark.parametrize("rung", RUNGS)
def test_nothing_done_is_a_layer_of_nothing(build, tmp_path, rung):
    build("RUN true\nRUN true", rung=rung)
    assert [names(path) for path in layers(tmp_path)[1:]] == [[], []]


@pytest.mark.parametrize("rung", RUNGS)
def test_the_root_directory_is_the_images(build, tmp_path, rung):
    said = build("RUN chmod 711 / && chown 5 /\nRUN stat -c '%a %u' /", rung=rung)
    shown = "711 0" if rung == "recorded" else "711 5"
    assert printed(said) == [shown]
    with tarfile.open(layers(tmp_path)[1]) as tar:
        assert (tar.getmember(".").mode, tar.getmember(".").uid) == (0o711, 5)
    assert names(layers(tmp_path)[2]) == []


@pytest.mark.parametrize("rung", RUNGS)
def test_a_command_sees_only_what_is_in_the_image(build, tmp_path, rung):
    # Not the mount points of the step before, nor what its layer could not hold.
    (tmp_path / "s").write_text("secret")
    cache, secret = "--mount=type=cache,target=/h/c/k", "--mount=type=secret,id=s,target=/home/s"
    text = f"""
        RUN touch -d @1000000000 /home
        RUN {cache} {secret} touch /etc/.wh.gone && rm /etc/passwd
        RUN test ! -e /home/s && test ! -e /etc/.wh.gone && mkdir /h && mkdir -p /h/c/k
        RUN stat -c %Y /home
    """
    said = build(text, "--secret", f"id=s,src={tmp_path}/s", rung=rung)
    assert printed(said) == ["1000000000"]
    made = layers(tmp_path)[1:]
    assert {*names(made[1])} - {"etc"} == {"etc/.wh.passwd"}
    assert {*names(made[2])} - {"."} == {"h", "h/c", "h/c/k"}


@pytest.mark.parametrize("rung", ["root", "chroot"])
def test_holes_take_no_place_in_a_layer(build, tmp_path, rung):
    build("RUN truncate -s 100M /x && echo end >> /x", rung=rung)
    assert layers(tmp_path)[-1].stat().st_size < 100_000


def test_nothing_of_the_sandbox_is_in_a_layer(build, tmp_path):
    build(
        "RUN --mount=type=secret,id=s --mount=type=tmpfs,target=/t/u --mount=target=/m touch /x",
        "--secret", "id=s,env=S", S="hidden",
    )  # fmt: skip
    assert names(layers(tmp_path)[-1]) == [".", "x"]


def test_a_failing_command_is_told_with_its_line_status_and_last_words(build):
    said = build("RUN true\nRUN echo one; echo two >&2; exit 3", status=20)
    assert "Dockerfile:3: RUN echo one; echo two >&2; exit 3: it ended with status 3" in said
    assert said.endswith("its last words:\n  one\n  two\n")


@pytest.mark.parametrize("rung", RUNGS)
def test_what_cannot_be_run_is_told(build, rung):
    assert "none: there is no such program in the image" in build(
        'RUN ["none"]', rung=rung, status=20
    )
    assert "killed by signal 9" in build("RUN kill -9 $$", rung=rung, status=20)


def test_what_takes_too_long_is_ended(build):
    said = build("RUN sleep 60", "--run-timeout", "0.5", status=20)
    assert "took longer than 0.5 s" in said


def test_output_is_shown_line_by_line(build):
    said = build("RUN echo a; printf 'b\\033[1mold\\rnew'", "--progress", "plain")
    assert printed(said) == ["a", "new"]


def test_what_was_done_is_not_done_again(build):
    text = "RUN echo 1\nRUN echo {}\nRUN echo 3"
    build(text.format(2))
    again = build(text.format(2))
    assert cached(again) == ["echo 1", "echo 2", "echo 3"]
    assert not printed(again)
    changed = build(text.format("two"))
    assert cached(changed) == ["echo 1"]
    assert printed(changed) == ["two", "3"]
    assert "CACHED" not in build(text.format(2), rung="recorded")


def test_no_file_is_newer_than_the_source_date_epoch(build, tmp_path):
    build("RUN touch /x /etc/y && touch -d @1000 /old", SOURCE_DATE_EPOCH="1000000000")
    with tarfile.open(layers(tmp_path)[-1]) as tar:
        times = {member.name: member.mtime for member in tar}
    assert times.pop("old") == 1000
    assert set(times.values()) == {1000000000}


@pytest.mark.parametrize("rung", RUNGS)
def test_caches_last_over_builds_and_are_told_apart_by_id(build, rung):
    text = "RUN --mount=type=cache,target=/c,id={} ls /c && touch /c/{}"
    build(text.format("a", "one"), rung=rung)
    second = build(text.format("a", "two") + "\nRUN test ! -e /c/one", rung=rung)
    assert printed(second) == ["one"]
    assert not printed(build(text.format("b", "one"), "--no-cache", rung=rung))


@pytest.mark.parametrize("sharing", ["locked", "private", "shared"])
def test_caches_of_every_sharing_can_be_used(build, sharing):
    build(f"RUN --mount=type=cache,target=/c,sharing={sharing} touch /c/x && test -e /c/x")


@pytest.mark.parametrize("rung", RUNGS)
def test_secrets_are_seen_and_left_out(build, tmp_path, rung):
    said = build(
        "RUN --mount=type=secret,id=s,env=V,target=/run/s,mode=0444 --mount=type=secret,id=s "
        "cat /run/s /run/secrets/s | wc -c > /x; test ${#V} = 7 && stat -c %a /run/s",
        "--secret", "id=s,env=S", rung=rung, S="1234567",
    )  # fmt: skip
    assert printed(said) == ["444"]
    for blob in (tmp_path / "store" / "blobs" / "sha256").iterdir():
        assert b"1234567" not in blob.read_bytes()


def test_a_required_secret_must_be_given(build):
    said = build("RUN --mount=type=secret,id=s,required true", status=3)
    assert "the secret s is required and was not given" in said


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("how", ["RUN --network=none", "--offline", "--network=none"])
def test_without_a_network_there_is_none(build, rung, how):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = build(
            f"{how if how[0] == 'R' else 'RUN'} nc -w 1 127.0.0.1 {port} 2>/dev/null || echo no",
            *([how] if how[0] == "-" else []), rung=rung,
        )  # fmt: skip
    assert printed(said) == ["no"]


def test_triggers_of_the_base_are_run(build, tmp_path):
    build("ONBUILD RUN echo 1 > /x")
    store = tmp_path / "store"
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "Dockerfile").write_text("FROM x\nRUN test -e /x\n")
    command = [COMMAND, "build", "-q", "--store", store, "-t", "y", "--output", "type=image"]
    subprocess.run([*command, tmp_path / "second"], check=True)


def test_an_unknown_sandbox_is_refused(build):
    assert "--sandbox: jail: choose one of auto, root" in build("RUN true", rung="jail", status=2)
