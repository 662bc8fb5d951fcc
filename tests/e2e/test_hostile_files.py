"""What is no file where a file is wanted, and headers and names that make no sense."""

from __future__ import annotations

import json
import os
import signal
import zipfile
import zlib

import pytest
from support.images import Layout
from support.layers import file, layer
from support.servers import Handler, Server, serving

from assembler.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to work in, and an end to waiting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    signal.alarm(60)
    yield tmp_path
    signal.alarm(0)


@pytest.fixture
def tell(capfd):
    """Run a command; return what it said on stderr."""

    def tell(*words, status):
        found = main.run(list(words))
        err = capfd.readouterr().err
        assert found == status, err
        assert "this is a bug" not in err
        assert "Traceback" not in err
        return err

    return tell


KINDS = {
    "directory": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["manifest", "config", "layer", "index", "marker"])
def test_a_layout_of_what_is_no_file_is_told(tell, folder, kind, part):
    layout = Layout(folder / "l")
    entry = layout.image([layer(file("a", b"x"))], {})
    layout.tag(entry, "t")
    manifest = json.loads(layout.blob_path(entry["digest"]).read_bytes())
    path = {
        "manifest": layout.blob_path(entry["digest"]),
        "config": layout.blob_path(manifest["config"]["digest"]),
        "layer": layout.blob_path(manifest["layers"][0]["digest"]),
        "index": layout.path / "index.json",
        "marker": layout.path / "oci-layout",
    }[part]
    path.unlink()
    KINDS[kind](path)
    status = 5 if part in {"index", "marker"} else 10
    tell("ls", "oci:l:t", status=status)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["index", "manifest", "config"])
def test_a_store_of_what_is_no_file_is_told(tell, folder, kind, part):
    layout = Layout(folder / "l")
    entry = layout.image([layer(file("a", b"x"))], {})
    layout.tag(entry, "t")
    (folder / "c").mkdir()
    (folder / "c" / "Dockerfile").write_text("FROM b\nLABEL a=b\n")
    tell("build", "-q", "-t", "x", "--output", "type=image", "--build-context", "b=oci:l:t", "c",
         status=0)  # fmt: skip
    store = folder / "cache" / "golem-assemble"
    index = json.loads((store / "index.json").read_bytes())
    blobs = store / "blobs" / "sha256"
    manifest = blobs / index["manifests"][0]["digest"].partition(":")[2]
    config = blobs / json.loads(manifest.read_bytes())["config"]["digest"].partition(":")[2]
    path = {"index": store / "index.json", "manifest": manifest, "config": config}[part]
    path.unlink()
    KINDS[kind](path)
    error = tell("inspect", "x", status=14)
    # What is a device here is a link to one.
    assert "not a regular file" in error or "a symbolic link, and none is followed" in error
    tell("images", status=14 if part == "index" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gvmi_that_is_no_file_is_told(tell, folder, kind):
    KINDS[kind](folder / "x.gvmi")
    for command in ("verify", "inspect", "hash", "ls"):
        assert "x.gvmi is not a sound .gvmi: it is" in tell(command, "x.gvmi", status=19)


def test_a_trailer_has_a_limit(tell, folder):
    raw = b'{"Env":[' + b'"a",' * 1_100_000 + b'"a"]}'
    ending = zlib.crc32(raw).to_bytes(4, "little") + raw + b"%08d" % len(raw)
    (folder / "x.gvmi").write_bytes(bytes(4096) + ending)
    for command in ("verify", "inspect", "hash", "ls"):
        assert "4,400,013 bytes, more than 4,194,304" in tell(command, "x.gvmi", status=19)


@pytest.mark.parametrize(
    ("name", "status"), [("../evil", 15), ("a/../../b", 15), ("/abs", 3), ("a//b", 3)]
)
def test_a_zip_with_paths_that_leave_it_is_refused(tell, folder, name, status):
    with zipfile.ZipFile(folder / "c.zip", "w") as archive:
        archive.writestr("Dockerfile", "FROM scratch\nCOPY . /\n")
        archive.writestr(name, "x")
    told = tell("build", "--output", "type=tar,dest=o.tar", "zip://c.zip", status=status)
    assert "context" in told


@pytest.fixture
def answer():
    """A server that answers everything alike; set what, and it returns the server's address."""
    lines = []

    class Answering(Handler):
        def do_GET(self):
            self.wfile.write(b"".join(line + b"\r\n" for line in lines))

    with serving(Server(Answering)) as server:

        def answer(status, *headers):
            ending = (b"Content-Length: 1", b"Connection: close", b"", b"x")
            lines[:] = [b"HTTP/1.1 " + status, *headers, *ending]
            return server.address

        yield answer


def add(tell, folder, address, status):
    (folder / "c").mkdir(exist_ok=True)
    (folder / "c" / "Dockerfile").write_text(f"FROM scratch\nADD http://{address}/x /\n")
    return tell("build", "-q", "--output", "type=tar,dest=o.tar", "c", status=status)


LOCATIONS = (
    b"http://[::1", b"\xff\xfe", b"http://\xff\xfe/", b"http://127.0.0.1:x/", b"http://a..b/",
    b"http://" + b"a" * 300 + b"/", b"http://a:99999999/",
)  # fmt: skip


def test_a_location_that_is_no_url_is_told(tell, folder, answer):
    for location in LOCATIONS:
        address = answer(b"302 Found", b"Location: " + location)
        assert f"{address}/x: " in add(tell, folder, address, 3)
        assert address in tell("inspect", f"docker://{address}/a:b", status=7)


def test_a_date_that_makes_no_sense_is_none(tell, folder, answer):
    for date in (b"Fri, 31 Dec 99999999999 23:59:59 GMT", b"1 Jan 9999999999999999999999 00:00:00",
                 b"Mon, 01 Jan 0001 00:00:00 +2359", b"\xff"):  # fmt: skip
        add(tell, folder, answer(b"200 OK", b"Last-Modified: " + date), 0)
        address = answer(b"429 no", b"Retry-After: " + date)
        add(tell, folder, address, 7)


@pytest.mark.parametrize(
    "url", ["ftp://me:secret@127.0.0.1:1/x", "s3://key:secret@bucket/x", "FTPS://me:secret@a",
            "userdata://me:x", "webdav://me:secret@127.0.0.1/", "http://me:secret@a/x"],
)  # fmt: skip
def test_contexts_are_not_fetched_and_passwords_are_not_told(tell, folder, url):
    (folder / "c").mkdir()
    (folder / "c" / "Dockerfile").write_text("FROM scratch\nCOPY --from=x . /\n")
    for words in (["build", url], ["build", "--offline", url], ["check", url]):
        told = tell(*words, status=15)
        assert "contexts are not fetched" in told
        assert "cret" not in told
    words = ["build", "--build-context", f"x={url}", "--output", "type=tar,dest=o", "c"]
    assert "cret" not in tell(*words, status=15)
