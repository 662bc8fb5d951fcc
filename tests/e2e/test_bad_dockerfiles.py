"""What is wrong with a Dockerfile or its context is told in a sentence, with file and line."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import resource
import subprocess
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.images import oci_layout
from support.layers import file, layer
from support.ordinary import ordinary

from assembler.assembling import Settings
from assembler.building import built
from assembler.errors import DockerfileError
from assembler.progress import NoView, Progress
from assembler.request import Request
from assembler.stepkey import CopyInputs
from layers.session import Session
from layers.store import ContentStore


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("COPY none /x", "COPY: none: there is nothing of that name in the build context"),
        ("COPY ../a /x", "COPY: ../a leads out of the build context"),
        ("COPY escape/x /x", "there is nothing of that name in the build context"),
        ("COPY ./dir/../../a /x", "COPY: ./dir/../../a leads out of the build context"),
        ("COPY dir/../escape/none* /x/", "nothing in the build context matches"),
        ("COPY loop /x", "loop of symbolic links"),
        ("COPY dir/deep /x", "(the pattern '**/deep' of .dockerignore excludes it)"),
        ("COPY *.none /x/", "nothing in the build context matches"),
        ("COPY [a /x", "pattern [a: its [ is not closed"),
        ("COPY --chmod=9 a.txt /x", "--chmod=9: write it in octal"),
        ("COPY --chown=ghost a.txt /x", "the user 'ghost' is not in the image's /etc/passwd"),
        ("COPY --chown=0:ghosts a.txt /x", "the group 'ghosts' is not in the image's /etc/group"),
        ("USER ghost\nWORKDIR /new", "the user 'ghost' is not in the image's /etc/passwd"),
        ("COPY a.txt kept/d.txt /x", "end it with a slash"),
        ("COPY a.txt /f\nCOPY dir /f/g", '"f" is not a directory'),
        ("COPY a.txt /f\nCOPY dir /f", "/f is not a directory in the image"),
        ("COPY a.txt /f\nWORKDIR /f/g", '"f" is not a directory'),
        ("COPY a.txt /f\nADD dir/b.txt /f/g/h", '"f" is not a directory'),
        ("COPY dir /d\nCOPY a.txt /d/b.txt/", "/d/b.txt is not a directory in the image"),
        ("COPY dir /d/\nCOPY kept /e\nCOPY dir/b.txt /e/d.txt/x", "is not a directory"),
        ("COPY dir /d\nCOPY --from=0 x /d", "--from=0: a stage has nothing from itself"),
        ("COPY secret /x", "secret: it cannot be read (Permission denied); make it readable"),
        ("COPY closed /x", "closed: it cannot be read (Permission denied); make it readable"),
        ("ADD --checksum=sha256:00 http://127.0.0.1:1/x /x", "64 hex digits"),
        ("ADD http://[x/a /x", "http://[x/a: this URL leads nowhere; check it"),
        ("ADD http:///a /x", "http:///a: this URL leads nowhere"),
        ("ADD --checksum=sha256:00 a.txt /x", "--checksum is for URLs"),
        ("ADD broken.tgz /x/", "broken.tgz: the archive is damaged"),
        ("ADD evil.tar /x/", "evil.tar: the archive is malformed"),
        ("STOPSIGNAL SIGNOTHING", "'SIGNOTHING' is no signal"),
        ("STOPSIGNAL " + "9" * 5000, "9' is no signal"),
        ("STOPSIGNAL RTMIN+" + "9" * 5000, "9' is no signal"),
        ("COPY --chown=" + "9" * 5000 + " a.txt /x", "9' is not in the image's /etc/passwd"),
        ("COPY --chown=1:" + "9" * 5000 + " a.txt /x", "9' is not in the image's /etc/group"),
        ('COPY --exclude="[a" a.txt /x', "pattern"),
    ],
)
def test_what_cannot_be_copied_is_told_with_its_line(command, tmp_path, project, line, problem):
    folder = project(f"FROM scratch\n{line}\n", "**/deep\n")
    (folder / "escape").symlink_to("../..")
    (folder / "loop").symlink_to("loop")
    (folder / "secret").write_text("s")
    (folder / "closed").mkdir()
    for name in ("secret", "closed"):
        (folder / name).chmod(0)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x" * 50))
        info = tarfile.TarInfo("big")
        info.size = 100_000
        archive.addfile(info, io.BytesIO(os.urandom(100_000)))
    (folder / "broken.tgz").write_bytes(packed.getvalue()[:50_000])
    (folder / "evil.tar").write_bytes(layer(file("../x", b"")))
    build = [command, "build", "-q", "--store", tmp_path / "s", "-o", tmp_path / "x", folder]
    done = subprocess.run([*ordinary(tmp_path), *build], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert problem in done.stderr
    assert done.stderr.startswith("golem-assemble: Dockerfile:")
    assert not (tmp_path / "x").exists()
    assert list((tmp_path / "s" / "tmp").iterdir()) == []


def test_what_is_added_from_a_server_is_checked(run, project, tmp_path):
    folder = project("")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    digest = hashlib.sha256(b"a.txt").hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a.txt"
        project(f"FROM scratch\nADD --checksum=sha256:{digest} {url} /x/\n")
        run("build", "-q", "-o", "x.gvmi", "--source-date-epoch", "5", "project")
        shown = run("ls", "-l", "x.gvmi", "/x").stdout
        assert shown.startswith("-rw-------         0:0            5 1970-01-01 00:00")
        project(f"FROM scratch\nADD --checksum=sha256:{'0' * 64} {url} /x/\n")
        done = run("build", "-o", "y.gvmi", "project", status=3)
        assert f"Dockerfile:2: ADD: {url}: its checksum is sha256:{digest}, not" in done.stderr
        project(f"FROM scratch\nADD {url} /x/\n")
        done = run("build", "-o", "y", "--source-date-epoch", "5", "project", status=3)
        assert "add --checksum=sha256:" in done.stderr
        project(f"FROM scratch\nADD {url}.none /x/\n")
        told = run("build", "-q", "-o", "y", "project", status=3).stderr
        assert f"Dockerfile:2: ADD: {url}.none: the server answers 404 File not found; " in told
        server.shutdown()


def as_user(command, tmp_path, context):
    """What a build by an ordinary user prints on stderr; it must fail, and leave nothing."""
    build = [command, "build", "-q", "--store", tmp_path / "s", "-o", tmp_path / "x", context]
    done = subprocess.run([*ordinary(tmp_path), *build], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert not (tmp_path / "x").exists()
    return done.stderr


def test_unreadable_files_are_named_together_before_anything_is_written(command, project, tmp_path):
    folder = project("FROM scratch\nCOPY a.txt /a\nCOPY . /all/\n", "dir/deep\n")
    for number in range(7):
        (folder / "kept" / f"{number}").write_text("x")
        (folder / "kept" / f"{number}").chmod(0)
    (folder / "dir" / "deep" / "c.txt").chmod(0)  # which is ignored
    assert as_user(command, tmp_path, folder) == (
        "golem-assemble: Dockerfile:3: COPY: kept/0, kept/1, kept/2, kept/3, kept/4 and 2 more: "
        "they cannot be read (Permission denied); make them readable, or exclude them\n"
    )
    # The first COPY has its layer; of the second there is nothing.
    layers = (tmp_path / "s" / "blobs" / "sha256").iterdir()
    assert len(list(layers)) == 1
    assert list((tmp_path / "s" / "tmp").iterdir()) == []


def test_unreadable_files_that_are_not_copied_do_not_matter(command, project, tmp_path):
    folder = project("FROM scratch\nCOPY --exclude=**/*.key . /all/\nCOPY kept /kept/\n")
    for name in ("a.key", "dir/b.key"):
        (folder / name).write_text("x")
        (folder / name).chmod(0)
    build = [command, "build", "-q", "--store", tmp_path / "s", "-o", tmp_path / "x", folder]
    for _ in range(2):  # the second time all steps are remembered
        subprocess.run([*ordinary(tmp_path), *build], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM scratch\nCOPPY a b\n", "2: COPPY a b: 'COPPY' is no instruction; did you"),
        ("ENV a=b\n", "1: ENV a=b: before the first FROM only ARG can stand"),
        ("FROM scratch AS a\nCOPY --from=a x /\n", "2: COPY: --from=a: a stage has nothing from"),
        ("FROM scratch\nCOPY --from=0 x /\n", "2: COPY: --from=0: a stage has nothing from itself"),
        (
            "FROM scratch AS a\nCOPY --from=b x /\nFROM scratch AS b\nCOPY --from=a x /\n",
            "2: COPY: --from=b: that stage does not come before this one; move it up",
        ),
        ("FROM scratch\nCOPY --from=7 x /\n", "2: COPY: --from=7: there is no stage of that"),
        ("FROM scratch\nCOPY --from=Ghost x /\n", "2: COPY: "),
        ("FROM scratch\n\n# x\nADD https://x/y.git /z\n", "4: ADD: git sources are not supported"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_text_is_told_before_anything_is_done(run, project, text, problem):
    project(text)
    done = run("build", "-o", "x.gvmi", "project", status=3)
    assert done.stderr.startswith(f"golem-assemble: Dockerfile:{problem}")


def test_an_unknown_stage_is_told_with_those_there_are(run, project):
    project("FROM scratch AS one\nFROM scratch\n")
    done = run("build", "--target", "two", "project", status=15)
    assert "--target two: there is no such stage; there are one, 1" in done.stderr


def test_stages_that_begin_with_each_other_are_warned_of_and_are_images(run, project, tmp_path):
    oci_layout(tmp_path / "b", [], {})
    project("FROM b AS a\nFROM a AS b\n")
    done = run("build", "--build-context", "b=oci:b", "-o", "x.gvmi", "project")
    assert (
        "Dockerfile:1: FROM b means an image, as the stage of that name comes later" in done.stderr
    )


def many(line, count=20_000):
    return "FROM scratch\n" + "".join(line.format(n=n) for n in range(count))


def cpu_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


MONSTERS = {
    "10 MB": ("FROM scratch\n" + f"# {'x' * 95}\n" * 99_000 + "ENV a=b\n", 0),
    "more than 10 MB": ("FROM scratch\n" + f"# {'x' * 995}\n" * 10_100, 15),
    "a line of 1 MB": (f"FROM scratch\nENV a={'b' * 999_900} c=$a\n", 0),
    "a line of more than 1 MB": (f"FROM scratch\nENV a={'b' * 1_000_000}\n", 3),
    "more than 100,000 lines": ("FROM scratch\n" * 100_001, 3),
    "100,000 lines": (many("ENV a{n}=b\n", 99_999), 0),
    "labels": (many("LABEL a{n}=b\n"), 0),
    "volumes": (many("VOLUME /a{n}\n"), 0),
    "triggers": (many("ONBUILD ENV a=b\n"), 0),
    "directories below each other": (many("WORKDIR a\n", 5_000), 3),
    "stages": (many("FROM scratch\n"), 3),
    "layers": (many("COPY a.txt /{n}\n", 3_000), 3),
    "ports": ("FROM scratch\nEXPOSE " + "".join(f"{n + 1}-65535 " for n in range(60_000)), 3),
    "sources": ("FROM scratch\nCOPY " + "a.txt " * 50_000 + "/x/\n", 0),
    "stars": (f"FROM scratch\nCOPY {'*' * 999_000} /x/\n", 0),
    "dollars": (f"FROM scratch\nENV a=b\nENV c={'$a' * 490_000}\n", 0),
    "braces": (f"FROM scratch\nENV a={'${a:-' * 190_000}\n", 3),
    "doubling": ("FROM scratch\nENV a=xxxxxxxx\n" + "ENV a=$a$a\n" * 40, 3),
}


@pytest.mark.parametrize(("text", "status"), MONSTERS.values(), ids=MONSTERS)
def test_monsters_are_built_or_refused_in_time(run, project, text, status):
    project(text)
    begin = cpu_of_children()
    done = run("build", "-q", "--output", "type=image", "project", status=status)
    assert not status or done.stderr.startswith("golem-assemble: Dockerfile:")
    run("check", "project", status=None)
    # A few seconds; minutes where the time is quadratic.
    assert cpu_of_children() - begin < 60


def grown(path):
    path.write_bytes(path.read_bytes() + b"more")


def cut_off_at_the_same_time(path):
    before = path.stat()
    path.write_bytes(b"")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "it grows": (grown, "COPY: a.txt: it changed while the build read the context"),
    "it goes": (lambda path: path.unlink(), "COPY: a.txt: it changed while"),
    "it shrinks": (cut_off_at_the_same_time, "COPY: a.txt: its size changed while the build read"),
}


@pytest.mark.parametrize(("change", "problem"), CHANGES.values(), ids=CHANGES)
def test_a_context_that_changes_while_it_is_read(project, tmp_path, monkeypatch, change, problem):
    """In this process, where the moment after the listing can be had."""
    folder = project("FROM scratch\nCOPY . /x/\n")
    check = CopyInputs.check_readable
    monkeypatch.setattr(
        CopyInputs, "check_readable", lambda self: (check(self), change(folder / "a.txt"))
    )
    session = Session(ContentStore(tmp_path / "store"))
    with (
        pytest.raises(DockerfileError) as caught,
        built(Request.of(str(folder)), Settings(), session, Progress(NoView())),
    ):
        pass
    assert str(caught.value).startswith(f"Dockerfile:2: {problem}")
    assert list((tmp_path / "store" / "blobs").rglob("sha256/*")) == []
