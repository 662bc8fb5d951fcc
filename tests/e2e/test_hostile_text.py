"""Texts that would steer a terminal: none gets out as it is, whatever shows it."""

from __future__ import annotations

import io
import json
import re
import struct
import subprocess
import zlib

import pytest
from support.images import OCI, REF_NAME, Layout, dumps
from support.layers import file, layer

from assembler.cli import main
from assembler.liveview import RichView
from assembler.progress import Progress
from assembler.views import PlainView

TITLE = "\x1b]0;title\x07"
HOSTILE = f"{TITLE}\x1b[2J\x9b1m\x90\x7f\u202etxt\u2066\r\nok  all is well"
UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def tell(capfd):
    """Run a command; what it said, after a look at each character. Nobody else begins a line."""

    def tell(*words, status=0):
        assert main.run(list(words)) == status
        out, err = capfd.readouterr()
        for text in (out, err):
            assert not UNSAFE.search(text), ascii(text)
            assert "\nok  all is well" not in text
        assert status == 0 or "\\x1b" in out + err, "this shows nothing of the hostile text"
        return out + err

    return tell


@pytest.fixture
def image(folder):
    layout = Layout(folder / "layout")
    config = {
        "Env": [f"A={HOSTILE}"], "Cmd": [HOSTILE], "WorkingDir": f"/{HOSTILE}",
        "Volumes": {f"/v{HOSTILE}": {}}, "Labels": {"a": HOSTILE}, "User": HOSTILE,
    }  # fmt: skip
    history = [{"created": HOSTILE, "created_by": HOSTILE, "comment": HOSTILE}]
    entry = layout.image([layer(file("a", b"x"))], config, history=history, created=HOSTILE)
    layout.tag(entry, "t")
    return "oci:layout:t"


def test_inspect_and_history_show_escapes(tell, image):
    assert "\\x1b]0;title\\x07\\x1b[2J\\x9b1m\\x90\\x7f\\u202etxt\\u2066\\r\\nok" in tell(
        "inspect", image
    )
    assert "\\x1b]0;title" in tell("history", "--no-trunc", image)
    assert "\\x1b]0;title" in tell("history", image)


def test_json_holds_the_same_data_in_ascii_escapes(tell, image):
    found = json.loads(tell("inspect", "--json", image))
    assert found["env"] == [f"A={HOSTILE}"]
    assert json.loads(tell("history", "--json", image))[0]["created_by"] == HOSTILE


def gvmi(folder, config):
    (folder / "root" / "etc").mkdir(parents=True)
    for name in ("proc", "sys", "dev", "tmp"):
        (folder / "root" / name).mkdir()
    path = folder / "x.gvmi"
    command = ["mksquashfs", folder / "root", path, "-quiet", "-no-progress"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    raw = json.dumps(config).encode()
    with path.open("ab") as out:
        out.write(struct.pack("<I", zlib.crc32(raw)) + raw + b"%08d" % len(raw))
    return path


def test_a_gvmi_shows_escapes(tell, folder):
    path = gvmi(folder, {"Env": [HOSTILE], "WorkingDir": f"/{HOSTILE}", "Image": HOSTILE})
    assert "\\x1b" in tell("inspect", str(path))
    assert json.loads(tell("inspect", "--json", str(path)))["env"] == [HOSTILE]
    tell("verify", str(path), status=19)


def test_errors_show_escapes(tell, folder):
    layout = Layout(folder / "layout")
    entries = []
    for number in range(2):
        entry = layout.image([layer(file("a", b"%d" % number))], {})
        entries.append(entry | {"annotations": {REF_NAME: f"{number}{HOSTILE}"}})
    index = {"schemaVersion": 2, "mediaType": OCI.index, "manifests": entries}
    (layout.path / "index.json").write_bytes(dumps(index))
    tell("inspect", "oci:layout", status=5)
    tell("inspect", f"oci:{TITLE}none", status=5)
    tell("inspect", f"{TITLE}none.gvmi", status=19)
    tell("verify", TITLE, status=19)
    tell("inspect", TITLE, status=4)
    tell("build", f"{TITLE}none", status=15)
    tell("build", "--limit", f"{TITLE}=5", ".", status=2)
    tell("inspect", "a", f"x{TITLE}", status=2)
    tell(f"x{TITLE}", status=2)
    tell(f"--x{TITLE}", status=2)


def test_what_a_dockerfile_says_is_shown_with_escapes(tell, folder):
    (folder / "Dockerfile").write_text(
        f"FROM scratch\nLABEL a='{TITLE}\x9b\u202e'\nCOPY a{TITLE} /\n"
    )
    for mode in ("plain", "rich"):
        tell("build", "--progress", mode, "-o", "x.gvmi", ".", status=3)
    tell("build", "--debug", "-o", "x.gvmi", ".", status=3)
    (folder / "Dockerfile").write_text(
        f"FROM scratch\nENV a={TITLE}\u202e\nRUN {TITLE}\nBAD {TITLE}\n"
    )
    tell("check", ".", status=1)
    tell("check", "--json", ".", status=1)


@pytest.mark.parametrize("view", [PlainView, RichView])
def test_views_show_escapes_and_no_markup(view):
    stream = io.StringIO()
    progress = Progress(view(stream))
    with progress.instruction("build 1/2", f"FROM x{HOSTILE}[red]"):
        progress.output(f"[red]said {HOSTILE}")
    progress.warn(f"[red]:warning: {HOSTILE}")
    progress.close()
    shown = stream.getvalue()
    assert not UNSAFE.search(shown), ascii(shown)
    assert "\nok  all is well" not in shown
    assert shown.count("[red]") == 3
    assert ":warning:" in shown
    assert shown.replace("\n", "").count("\\x1b]0;title\\x07\\x1b[2J\\x9b1m") == 3
