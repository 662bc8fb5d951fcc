from __future__ import annotations

import hashlib
import json
import os
import subprocess
import zlib

import pytest

from assembler import gvmi
from assembler.errors import GuestError, GvmiError
from assembler.trailer import container_config
from layers.digest import Digest
from layers.image import ImageConfig

ID = Digest.of(b"")


def ending(raw):
    """A trailer whose CRC and length are right."""
    return zlib.crc32(raw).to_bytes(4, "little") + raw + b"%08d" % len(raw)


@pytest.fixture(scope="module")
def squashfs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sq")
    (folder / "in").mkdir()
    (folder / "in" / "a").write_bytes(b"x" * 5000)
    command = ["mksquashfs", folder / "in", folder / "out", "-quiet", "-no-progress", "-noI"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (folder / "out").read_bytes()


@pytest.fixture
def write(tmp_path, squashfs):
    def write(raw=b"{}", tail=None, body=squashfs):
        path = tmp_path / "x.gvmi"
        crc = zlib.crc32(raw).to_bytes(4, "little")
        path.write_bytes(body + (crc + raw + b"%08d" % len(raw) if tail is None else tail))
        return path

    return write


def test_a_trailer_is_crc_json_and_its_length():
    trailer = gvmi.encode_trailer({"b": "ü", "a": 1})
    assert trailer[-8:] == b"00000016"
    assert trailer[4:-8] == '{"a":1,"b":"ü"}'.encode()
    assert trailer[:4] == zlib.crc32(trailer[4:-8]).to_bytes(4, "little")


def test_a_file_is_read_back(write, squashfs):
    config = {"Volumes": {"/v": {}}}
    file = gvmi.GvmiFile.read(write(json.dumps(config).encode()))
    assert file.config == config
    assert file.squashfs_size == len(squashfs)
    assert file.superblock.compression == "gzip"
    assert gvmi.image_hash(file.path) == hashlib.sha3_224(file.path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("tail", "problem"),
    [
        (b"", "eight digits"),
        (b"0000002x", "eight digits"),
        (b"99999999", "more than the file has"),
        (b"\0\0\0\0{}00000002", "CRC-32"),
        (zlib.crc32(b"[]").to_bytes(4, "little") + b"[]00000002", "not a JSON object"),
        (zlib.crc32(b"{").to_bytes(4, "little") + b"{00000001", "not valid JSON"),
        (ending(rb'{"Image":"\ud800"}'), "not valid JSON .it holds half a surrogate pair"),
        (ending(b'{"Image":"\xff"}'), "not valid JSON .*utf-8"),
        (ending(b'{"x":NaN}'), "not valid JSON .it holds NaN"),
        (ending(b"\xef\xbb\xbf{}"), "not valid JSON .it begins with a byte order mark"),
        (ending(b'{"x":' + b"[" * 500 + b"]" * 500 + b"}"), "not valid JSON .it is nested more"),
    ],
)
def test_broken_trailers_are_named(write, tail, problem):
    with pytest.raises(GvmiError, match=problem):
        gvmi.GvmiFile.read(write(tail=tail))


@pytest.mark.parametrize(
    ("position", "value", "problem"),
    [
        (0, b"x", "does not begin"),
        (28, b"\x03", "version"),
        (12, b"\x01", "block size"),
        (20, b"\x09", "compression"),
        (44, b"\xff", "needs"),
        (71, b"\x01", "behind its end"),
    ],
)
def test_broken_superblocks_are_named(write, squashfs, position, value, problem):
    body = squashfs[:position] + value + squashfs[position + 1 :]
    with pytest.raises(GvmiError, match=problem):
        gvmi.GvmiFile.read(write(body=body))


def test_files_that_are_short_missing_or_unreadable_are_named(tmp_path, write):
    with pytest.raises(GvmiError, match="too short to hold a squashfs"):
        gvmi.GvmiFile.read(write(body=b""))
    (tmp_path / "short").write_bytes(b"1")
    with pytest.raises(GvmiError, match="too short to hold a trailer"):
        gvmi.GvmiFile.read(tmp_path / "short")
    for read in (gvmi.GvmiFile.read, gvmi.image_hash):
        with pytest.raises(GvmiError, match="no such file"):
            read(tmp_path / "none")
        with pytest.raises(GvmiError, match="(?i)directory"):
            read(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(GvmiError, match="not a regular file"):
        gvmi.GvmiFile.read(tmp_path / "fifo")


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1])
def test_numbers_must_fit_a_providers_integers(number):
    assert gvmi.type_problems({"StopTimeout": 5}) == []
    assert gvmi.type_problems({"StopTimeout": number}) == ["StopTimeout must fit 64 bits"]


def test_types_are_checked_as_strictly_as_a_provider_does():
    good = {
        "Volumes": {"/v": {}},
        "Env": ["a=b"],
        "Tty": True,
        "StopTimeout": 1,
        "Labels": {"a": "b"},
    }
    assert gvmi.type_problems(good) == []
    bad = {
        "Volumes": {"/v": {"x": 1}},
        "Env": "a",
        "Tty": 1,
        "StopTimeout": True,
        "Labels": {"a": 1},
        "Cmd": [1],
        "User": 0,
    }
    assert len(gvmi.type_problems(bad)) == len(bad)


def test_a_config_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(gvmi, "_JSON_MAX", 10)
    with pytest.raises(GvmiError, match="more than a trailer may have"):
        gvmi.encode_trailer({"a": "b" * 10})


def test_an_image_config_becomes_a_container_config():
    settings = {"Volumes": {"/v/": {"odd": 1}}, "ExposedPorts": {"80/tcp": {"x": 1}}, "User": "me",
                "WorkingDir": "/w", "Env": ["A=b"], "Unknown": 1}  # fmt: skip
    result = container_config(ImageConfig({"config": settings}), ID, None)
    assert result == {
        "Domainname": "", "Hostname": "", "Image": ID.hex, "Volumes": {"/v": {}},
        "ExposedPorts": {"80/tcp": {}}, "WorkingDir": "/w", "Env": ["A=b"],
    }  # fmt: skip
    assert container_config(ImageConfig({"config": settings}), ID, (1, 2))["User"] == "1:2"


def test_a_config_that_no_provider_could_read_is_refused():
    with pytest.raises(GuestError, match="StopTimeout"):
        container_config(ImageConfig({"config": {"StopTimeout": "soon"}}), ID, None)
