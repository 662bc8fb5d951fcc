"""Planning and building: what the instructions do to config and tree."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from trees import directory, file, link, tree

from assembler import planning
from assembler.builder import Builder, expand_ports, scratch_config
from assembler.building import Request
from assembler.dockerfile import parse
from assembler.errors import BuildError, DockerfileError
from assembler.scope import Arguments, GlobalScope, StageScope, platform_args
from layers.descriptor import Platform
from layers.digest import Digest
from layers.errors import InvalidReference
from layers.image import ImageConfig
from layers.sources import Wanted
from layers.tree import Tree

AMD = Platform("linux", "amd64")


def scope(**given):
    return GlobalScope(Arguments(given), platform_args(AMD))


def plan(text, contexts=None, **given):
    return planning.plan(parse(text), scope(**given), contexts or {}, Wanted())


class Built:
    """What a Dockerfile's instructions make of a base."""

    def __init__(self, text, base=None, image=None, **given):
        self.warnings = []
        self.tree = image or Tree()
        config = ImageConfig(base) if base else scratch_config(AMD)
        self.builder = Builder(self.tree, config, 1000, "\\", self.warnings.append)
        self.scope = StageScope(scope(**given))
        self.builder.begin_stage(self.scope)
        for instruction in parse("FROM scratch\n" + text).stages[0].instructions:
            self.builder.do(instruction, self.scope)
        self.config = self.builder.result(None)
        self.settings = self.config.settings


def test_the_last_stage_and_what_it_stands_on_is_planned():
    planned = plan("FROM a AS one\nENV x=1\nFROM b\nRUN y\nFROM one\nENV z=2\nFROM 0")
    assert planned.base_name == "0"
    planned = plan("FROM a AS one\nENV x=1\nFROM b\nRUN y\nFROM ONE\nENV z=2")
    assert [stage.index for stage in planned.stages] == [0, 2]
    assert str(planned.base) == "a:latest"
    assert plan("FROM scratch").base is None


def test_global_arguments_and_platforms_reach_from():
    text = "ARG a=x\nARG b=${a}y\nARG c\nFROM --platform=$TARGETPLATFORM $b$c"
    assert str(plan(text, c="z").base) == "xyz:latest"
    planned = plan("FROM --platform=linux/arm/v6 x")
    assert planned.wanted == Wanted(Platform("linux", "arm", "v6"), explicit=True)
    assert str(plan("ARG TARGETARCH\nFROM $TARGETARCH").base) == "amd64:latest"


def test_named_contexts_take_the_place_of_images_and_stages():
    for name in ("debian", "debian:latest", "docker.io/library/debian"):
        planned = plan("FROM debian", {name: "oci:x"})
        assert str(planned.base) == "oci:x"
    assert str(plan("FROM a AS s\nFROM s", {"s": "oci:x"}).base) == "oci:x"
    assert planning.context_for("UPPER", {"Other": "x"}) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM x\nRUN a", "Dockerfile:2: RUN is not supported yet; build the image"),
        ("FROM x\n\nCOPY a b", "Dockerfile:3: COPY is not supported yet; put the files"),
        ("FROM x\nHEALTHCHECK NONE", "remove the line"),
        ("FROM $none", "is empty after expansion"),
        ("FROM --platform=a/b/c/d x", "OS/ARCH"),
        ("FROM UPPER", "lower case"),
        ("ARG a=${b\nFROM x", "Dockerfile:1: ARG: "),
        ("FROM ${b", "Dockerfile:1: FROM: "),
    ],
)
def test_what_cannot_be_done_is_refused_while_planning(text, problem):
    with pytest.raises(DockerfileError, match=problem):
        plan(text)


def test_the_later_of_arg_and_env_wins_and_only_env_stays():
    built = Built(
        "ARG a=1\nENV a=2\nARG a=3\nLABEL l=$a\nARG none\nARG TARGETARCH\nLABEL m=$TARGETARCH"
    )
    assert built.settings["Labels"] == {"l": "3", "m": "amd64"}
    assert built.settings["Env"] == ["a=2"]
    assert Built("ARG a=1\nLABEL l=$a", a="9").settings["Labels"] == {"l": "9"}


def test_values_of_one_line_see_the_environment_before_it():
    built = Built("ENV a=1\nENV a=2 b=$a\nENV c=$a$b")
    assert built.settings["Env"] == ["a=2", "b=1", "c=21"]
    with pytest.raises(DockerfileError, match="no name for a variable"):
        Built("ENV $none=1")


def test_the_bases_environment_and_labels_are_kept_in_order():
    base = {
        "config": {"Env": ["P=1", "Q=2"], "Labels": {"z": "1"}},
        "history": [{"created_by": "x"}],
    }
    built = Built("ENV Q=$P R=3\nLABEL a=b", base)
    assert built.settings["Env"] == ["P=1", "Q=1", "R=3"]
    assert list(built.settings["Labels"]) == ["z", "a"]
    assert built.config.data["history"][0] == {"created_by": "x"}
    assert base["config"]["Env"] == ["P=1", "Q=2"]


def test_workdirs_chain_and_are_made():
    image = tree(bin=link("usr/bin"), etc=directory(passwd=file(b"me:x:5:6::/:/\n")))
    built = Built("WORKDIR /bin\nWORKDIR a/../b\nUSER me\nWORKDIR c", image=image)
    assert built.config.working_dir == "/bin/b/c"
    assert [path for path, _ in built.builder.added] == [
        b"usr",
        b"usr/bin",
        b"usr/bin/b",
        b"usr/bin/b/c",
    ]
    node = image.find(b"usr/bin/b/c")
    assert (node.uid, node.gid, node.mode, node.mtime) == (5, 6, 0o755, 1000)
    assert image.find(b"usr/bin/b").uid == 0


def test_a_workdir_that_is_there_is_not_touched():
    image = tree(w=directory(0o700))
    built = Built("USER 7\nWORKDIR //w", image=image)
    assert built.builder.added == []
    assert image.find(b"w").mode == 0o700
    assert built.config.working_dir == "/w"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("WORKDIR /f/x", "not a directory"),
        ("WORKDIR /f", "not a directory"),
        ("WORKDIR /loop/x", "links"),
        ("WORKDIR $none", "empty after expansion"),
        ("USER $none", "empty after expansion"),
        ("USER ghost\nWORKDIR /new", "not in the image's /etc/passwd"),
        ("VOLUME ['$none']\nVOLUME \"$none\"", "empty"),
        ("EXPOSE 0", "no port"),
        ("EXPOSE 9-8", "no port"),
        ("EXPOSE 80/http", "no port"),
        ("EXPOSE x", "no port"),
        ("ARG a=${b", "ARG"),
    ],
)
def test_what_cannot_be_done_names_its_line(text, problem):
    with pytest.raises(DockerfileError, match=rf"Dockerfile:\d: .*{problem}"):
        Built(text, image=tree(f=file(), loop=link("loop")))


def test_volumes_are_absolute_and_cleaned():
    built = Built('WORKDIR /w\nVOLUME data /a//b/\nVOLUME ["/c"]')
    assert list(built.settings["Volumes"]) == ["/a/b", "/c", "/w/data"]
    assert len(built.warnings) == 1
    assert "Dockerfile:3: VOLUME data is relative" in built.warnings[0]


def test_commands_go_through_the_shell_and_an_entrypoint_clears_the_bases_cmd():
    base = {"config": {"Cmd": ["old"], "Shell": ["bash", "-c"]}}
    built = Built("ENTRYPOINT x", base)
    assert built.settings["Entrypoint"] == ["bash", "-c", "x"]
    assert "Cmd" not in built.settings
    built = Built('CMD ["a"]\nENTRYPOINT ["b"]', base)
    assert built.settings["Cmd"] == ["a"]
    assert Built("CMD a").settings["Cmd"] == ["/bin/sh", "-c", "a"]


def test_ports():
    assert expand_ports("80") == ["80/tcp"]
    assert expand_ports("80-82/UDP") == ["80/udp", "81/udp", "82/udp"]
    assert list(Built("EXPOSE 90 80").settings["ExposedPorts"]) == ["80/tcp", "90/tcp"]
    with pytest.raises(BuildError):
        expand_ports("65536")


def test_history_has_an_entry_for_each_instruction_and_one_layer_for_what_was_added():
    built = Built('ENV a=b\nWORKDIR /w\nWORKDIR /w\nWORKDIR /x\nCMD ["a b"]')
    diff_id = Digest.of(b"layer")
    config = built.builder.result(diff_id)
    history = config.data["history"]
    assert [entry["created_by"] for entry in history] == [
        "ENV a=b", "WORKDIR /w", "WORKDIR /w", "WORKDIR /x", 'CMD ["a b"]',
    ]  # fmt: skip
    assert [not entry.get("empty_layer") for entry in history] == [False, False, False, True, False]
    assert config.diff_ids == (diff_id,)
    assert config.created == "1970-01-01T00:16:40Z"
    assert json.loads(config.serialize())["config"]["WorkingDir"] == "/x"


def test_triggers_are_taken_from_the_base_once():
    builder = Builder(Tree(), ImageConfig({"config": {"OnBuild": ["ENV a=b"]}}), 0, "\\", print)
    assert builder.take_triggers() == ["ENV a=b"]
    assert "OnBuild" not in builder.result(None).settings


def test_scratch_has_the_platform_that_is_wanted():
    assert scratch_config(Platform("linux", "arm", "v6")).platform == Platform("linux", "arm", "v6")


def request(folder, **options):
    given = {"file": None, "tag": None, "contexts": [], "arguments": []} | options
    return Request.of(folder, **given)


def test_requests_are_read(tmp_path, monkeypatch):
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    monkeypatch.setenv("FROM_ENV", "e")
    made = request(
        tmp_path, tag="x:1", contexts=["a=oci-layout:///b"], arguments=["k=v=w", "FROM_ENV"]
    )
    assert made.text == b"FROM scratch"
    assert str(made.tag) == "x:1"
    assert made.contexts == {"a": "oci:/b"}
    assert made.arguments == {"k": "v=w", "FROM_ENV": "e"}
    assert made.context_name == tmp_path.name


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"file": "none"}, "check -f"),
        ({"file": "."}, "cannot be read"),
        ({"tag": f"x@sha256:{'0' * 64}"}, "cannot hold a digest"),
        ({"contexts": ["x"]}, "NAME=SOURCE"),
        ({"contexts": ["x=."]}, "only images"),
        ({"contexts": ["x=https://y"]}, "only images"),
        ({"arguments": ["=x"]}, "NAME=VALUE"),
        ({"arguments": ["SURELY_UNSET"]}, "the environment has none"),
    ],
)
def test_requests_that_make_no_sense_are_refused(tmp_path, options, problem):
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    with pytest.raises(BuildError, match=problem):
        request(tmp_path, **options)
    with pytest.raises(InvalidReference):
        request(tmp_path, tag="Bad")


def test_a_dockerfile_that_is_too_long_is_refused(tmp_path, monkeypatch):
    class Endless:
        buffer = io.BytesIO(b"#" * 10_000_001)

    monkeypatch.setattr("sys.stdin", Endless)
    with pytest.raises(BuildError, match="10,000,000"):
        request(tmp_path, file="-")
    with pytest.raises(BuildError, match="it is no folder"):
        request(Path("/none"))


def test_arguments_that_nothing_declares_are_known():
    arguments = Arguments({"used": "1", "unused": "2", "http_proxy": "3"})
    arguments.value("used", None)
    assert arguments.unused() == ["unused"]
