"""JSON of images with values replaced at random: every command ends in a documented status.

`GOLEM_TEST_SEEDS=5000` tries more of them than the 300 that are always tried.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random

import pytest
import typer
from support.images import DOCKER, OCI, REF_NAME, Layout, sha256
from support.layers import file, layer

from assembler import assembling
from assembler.cli import app as app_module
from assembler.cli import main
from assembler.packing import Packed

BLOCKS = 10
SEEDS = int(os.environ.get("GOLEM_TEST_SEEDS", "300"))
TAR = layer(file("etc/passwd", b"me:x:1000:1001::/:/bin/sh\n"), file("a", b"x"))
DOCKERFILE = """\
FROM base
ENV A=b
WORKDIR w
COPY a /copied
LABEL x=y
VOLUME /v
EXPOSE 80
USER me
CMD ["sh"]
"""
RAW = "raw:"
"""What follows stands in the document as it is, though no writer of JSON would write it."""
VALUES = (
    None, True, False, 0, -1, 1, 1 << 31, 1 << 63, 1 << 200, 0.5, 1e308, float("inf"), float("nan"),
    "", " ", "x", "/", "..", "../../x", "/v", "\ud800", "a\udfffb", "\0", "\x1b[2J", "x" * 5000,
    "sha256:" + "0" * 64, "sha256:" + "0" * 63, "md5:00", "0", "1000:1001", "4294967296:-1",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00.123456789Z", "24",
    [], {}, [None], [[]], [{}], [""], ["x", 1], ["\ud800"], {"a": 1}, {"": ""}, {"/": {}},
    {"\ud800": "\udc00"}, {"/v\0": {}}, {"x": {}}, "=", {"80/tcp": None}, RAW + "9" * 5000,
    RAW + "1e400", RAW + "-0", RAW + "[" * 90 + "]" * 90, RAW + "[" * 5000 + "]" * 5000,
    RAW + '{"a":1,"a":{}}',
    OCI.index, OCI.manifest, DOCKER.index, DOCKER.manifest, "linux", "unknown", "arm",
)  # fmt: skip


def config():
    return {
        "architecture": "amd64",
        "os": "linux",
        "variant": "",
        "created": "2024-05-06T07:08:09Z",
        "author": "me",
        "config": {
            "User": "me", "Env": ["PATH=/bin", "B=c"], "Cmd": ["sh"], "Entrypoint": ["/a"],
            "WorkingDir": "/w", "Volumes": {"/data": {}}, "Labels": {"k": "v"}, "Shell": ["/a"],
            "ExposedPorts": {"80/tcp": {}}, "StopSignal": "TERM", "OnBuild": ["ENV a=b"],
            "StopTimeout": 5, "ArgsEscaped": True,
            "Healthcheck": {"Test": ["CMD", "a"], "Interval": 1000000000, "Retries": 3},
        },
        "rootfs": {"type": "layers", "diff_ids": [sha256(TAR)]},
        "history": [
            {"created": "2024-05-06T07:08:09Z", "created_by": "COPY", "comment": "c"},
            {"created_by": "ENV", "empty_layer": True, "author": "me"},
        ],
    }  # fmt: skip


def places(value):
    """All places in a document: the container and the key or number of each."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def damage(document, chance):
    """Replace, take away or rename what is in *document*."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        where = list(places(document))
        if not where:
            return
        container, key = chance.choice(where)
        kind = chance.random()
        if kind < 0.8:
            container[key] = copy.deepcopy(chance.choice(VALUES))
        elif kind < 0.9 or isinstance(container, list):
            del container[key]
        else:
            container[chance.choice(("\ud800", "", key.upper(), "manifests"))] = container.pop(key)


def written(document):
    """The bytes of a document, with the values that are raw as they are."""
    parts = json.dumps(document).split(f'"{RAW}')
    for number, part in enumerate(parts[1:], 1):
        # No raw value has an escape in it but for its quotes.
        end = part.replace('\\"', "__").index('"')
        parts[number] = part[:end].replace('\\"', '"') + part[end + 1 :]
    return "".join(parts).encode()


def make(folder, seed):
    """Write a layout and a docker archive, one document of which is damaged."""
    chance = random.Random(seed)
    victim = chance.choice(("config", "config", "config", "manifest", "index", "nested", "saved"))

    def maybe(name, document):
        if name == victim:
            damage(document, chance)
        return written(document)

    layout = Layout(folder / "layout")
    raw = maybe("config", config())
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI.manifest,
        "config": layout.blob(raw, OCI.config),
        "layers": [layout.layer(TAR, None).descriptor],
        "annotations": {"a": "b"},
    }
    platform = {"os": "linux", "architecture": "amd64"}
    entry = layout.blob(maybe("manifest", manifest), OCI.manifest) | {"platform": platform}
    if victim == "nested":
        nested = {"schemaVersion": 2, "mediaType": OCI.index, "manifests": [entry, dict(entry)]}
        entry = layout.blob(maybe("nested", nested), OCI.index)
    entry["annotations"] = {REF_NAME: "t"}
    index = {"schemaVersion": 2, "mediaType": OCI.index, "manifests": [entry]}
    (layout.path / "index.json").write_bytes(maybe("index", index))
    saved = [{"Config": "c.json", "RepoTags": ["x:t", "y:t"], "Layers": ["l.tar"]}]
    members = (
        file("manifest.json", maybe("saved", saved)), file("c.json", raw), file("l.tar", TAR),
    )  # fmt: skip
    (folder / "saved.tar").write_bytes(layer(*members))
    return victim


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A context, and a store; what would be packed is thrown away."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "context" / "a").write_bytes(b"a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(assembling, "check_before_work", lambda _settings: None)
    # Typer would make its commands anew for every one that is run.
    monkeypatch.setattr(app_module, "app", typer.main.get_command(app_module.app))
    monkeypatch.setattr(assembling, "pack", lambda *_arguments: Packed(None, 0))
    return tmp_path


def commands(victim, seed):
    sources = ["docker-archive:saved.tar"] if victim == "saved" else ["oci:layout:t"]
    if victim == "config":
        sources = [("oci:layout", "docker-archive:saved.tar:x:t")[seed % 2]]
    for source in sources:
        yield ["inspect", *(["--json"] if seed % 4 > 1 else []), source]
        yield ["history", *(["--json"] if seed % 3 == 1 else []), source]
        yield ["convert", "-q", *(["--keep-user"] if seed % 3 else []), source]
        name = hashlib.sha256(b"%d" % seed).hexdigest()[:11]
        yield ["build", "-q", "-t", name, "--output", "type=image",
               "--build-context", f"base={source}", "context"]  # fmt: skip
        yield ["images", "--filter", "label=k=v"]


@pytest.mark.parametrize("block", range(BLOCKS))
def test_any_damage_ends_in_success_or_a_documented_status(folder, capsys, block):
    for seed in range(block, SEEDS, BLOCKS):
        victim = make(folder, seed)
        for command in commands(victim, seed):
            status = main.run([*command, "--debug"])
            told = capsys.readouterr()
            assert status == 0 or 3 <= status <= 19, f"seed {seed}: {command}: {told.err}"
            assert status == 0 or told.err.splitlines()[-1].startswith("golem-assemble: ")
            told.out.encode()
