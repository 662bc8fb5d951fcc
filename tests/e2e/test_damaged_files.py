"""Damaged .gvmi files: every command that looks at one ends in a documented status."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import zlib

import pytest

from assembler.cli.main import run as run_command

STDOUT = "/dev/stdout"


@pytest.fixture(scope="module")
def image(tmp_path_factory, command):
    """A small .gvmi, as bytes."""
    folder = tmp_path_factory.mktemp("small")
    for name in ("a", "b/c/d", "b/e"):
        (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / name).write_text(f"{name}\n" * 3000)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY files /files/\nVOLUME /v\nWORKDIR /w\n")
    subprocess.run(
        [command, "build", "-q", "--store", folder / "store", "-o", folder / "x.gvmi", folder],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return (folder / "x.gvmi").read_bytes()


def damaged(data, moments):
    data = bytearray(data)
    # Most of a file is its files' data; half of the damage goes to the beginning and the end.
    ranges = [(0, 96), (0, len(data)), (len(data) * 3 // 4, len(data)), (0, len(data))]
    for _ in range(moments.choice([1, 1, 3, 20])):
        first, last = moments.choice(ranges)
        data[moments.randrange(first, last)] ^= moments.randrange(1, 256)
    if moments.random() < 0.1:
        del data[moments.randrange(len(data)) :]
    return data


def test_a_damaged_file_is_no_sound_gvmi(image, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    moments = random.Random(11)
    path = tmp_path / "x.gvmi"
    statuses = []
    for number in range(100):
        path.write_bytes(damaged(image, moments))
        for words in (["verify"], ["ls", "-lR"], ["inspect", "--json"]):
            statuses.append(run_command([*words, str(path)]))
            out, err = capfd.readouterr()
            assert statuses[-1] in {0, 19}, (number, words, err)
            assert os.path.islink(STDOUT), (number, words, err)
            assert err.count("\n") == (statuses[-1] != 0), err
            assert "gave up" not in err
            assert out == "" or statuses[-1] == 0 or words[0] == "ls"
    assert statuses.count(19) > 100
    assert statuses.count(0) > 10


def test_what_is_damaged_is_said(run, image, tmp_path):
    for name, position in (("data", 100), ("superblock", 12), ("trailer", len(image) - 20)):
        data = bytearray(image)
        for offset in range(8):
            data[position + offset] ^= 0xFF
        (tmp_path / "x.gvmi").write_bytes(data)
        error = run("verify", "x.gvmi", status=19).stderr
        words = {"data": "failed to read/uncompress file", "superblock": "block size",
                 "trailer": "CRC-32"}  # fmt: skip
        assert error.startswith("golem-assemble: x.gvmi is not a sound .gvmi: ")
        assert words[name] in error


def test_a_config_of_odd_types_is_no_sound_gvmi(image, tmp_path, capfd):
    size = int(image[-8:]) + 12
    for config in ({"Volumes": 5}, {"Volumes": [1, "a"]}, {"Env": 1}, {"WorkingDir": ["a"]},
                   {"Image": {}}, {"Cmd": {"a": 1}}, {"Labels": {"a": None}}):  # fmt: skip
        raw = json.dumps(config).encode()
        trailer = struct.pack("<I", zlib.crc32(raw)) + raw + b"%08d" % len(raw)
        (tmp_path / "x.gvmi").write_bytes(image[:-size] + trailer)
        for words in (["verify"], ["inspect"], ["inspect", "--json"]):
            assert run_command([*words, str(tmp_path / "x.gvmi")]) == 19
            assert "must be" in capfd.readouterr().err
