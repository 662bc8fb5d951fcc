"""Planning and building: what the instructions do to config and tree."""

from __future__ import annotations

import json

import pytest
from trees import Memory, directory, file, link, tree

from assembler import planning
from assembler.builder import Builder, scratch_config
from assembler.buildsecrets import Secret
from assembler.copystep import Times
from assembler.dockerfile import ExpansionError, parse
from assembler.dockerfile.lexer import Location
from assembler.errors import BuildError, DockerfileError
from assembler.hands import Manner, Replayed
from assembler.request import Request
from assembler.running import Machine
from assembler.scope import Arguments, GlobalScope, StageScope, platform_args
from assembler.wording import expand_ports, is_signal
from layers import descriptor as media
from layers.changes import Changes
from layers.descriptor import Descriptor, Platform
from layers.digest import Digest
from layers.errors import InvalidReference
from layers.image import ImageConfig
from layers.kinds import Kind
from layers.sources import Wanted
from layers.tarindex import index_layer
from layers.tree import Node, Tree

AMD = Platform("linux", "amd64")


def scope(**given):
    return GlobalScope(Arguments(given), platform_args(AMD))


def plan(text, contexts=None, target=None, **given):
    return planning.plan(parse(text), scope(**given), contexts or {}, Wanted(), target)


class Hands:
    """Layers in memory; nothing is copied here, and a RUN leaves a file with its key."""

    def __init__(self):
        self.layers = []
        self.ran = []
        self.memory = {}

    def replay(self, key, tree):
        return Replayed(self.memory[key]) if key in self.memory else None

    def remember(self, key, layer):
        self.memory[key] = layer

    def fidelity(self, place):
        return "exact"

    def run(self, step, tree):
        self.ran.append(step)
        with self.begin(tree) as changes:
            changes.put(b"ran", Node(Kind.FILE, 0o644))
            return self.commit(changes)

    def begin(self, tree):
        return Changes(tree, Memory)

    def commit(self, changes):
        if changes.empty:
            return None
        layer = changes.finish()
        self.layers.append(layer)
        return Descriptor(media.OCI_LAYER_TAR, layer.diff_id, layer.size)


class Built:
    """What a Dockerfile's instructions make of a base."""

    def __init__(self, text, base=None, image=None, hands=None, **given):
        self.warnings = []
        self.cached = 0
        self.tree = image or Tree()
        self.hands = hands or Hands()
        config = ImageConfig(base or {"architecture": "amd64", "os": "linux"})
        manner = Manner(Times(1000), "\\", self.warnings.append, self.count)
        self.builder = Builder(self.tree, config, manner, self.hands)
        self.scope = StageScope(scope(**given))
        self.builder.begin_stage(self.scope)
        for instruction in parse("FROM scratch\n" + text).stages[0].instructions:
            self.builder.do(instruction, self.scope)
        self.config = self.builder.result()
        self.settings = self.config.settings

    def count(self):
        self.cached += 1

    @property
    def added(self):
        """The names in the layers that were made."""
        return [
            entry.path for layer in self.hands.layers for entry in index_layer(layer.file, "made")
        ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("COPY  a \\\n   b /c/", "COPY a b /c/"),
        ("COPY a `\n b /c/", "COPY a b /c/"),
        ("RUN echo `date`", "RUN echo `date`"),
        ("LABEL a=\x07", "LABEL a=\\x07"),
        ("ENV " + "a" * 200, "ENV " + "a" * 96 + "..."),
        ("COPY <<E /a\nb\nE", "COPY <<E /a b E"),
    ],
)
def test_an_instruction_is_shown_on_one_line(text, shown):
    assert Location("Dockerfile", 1, 2, text).shown == shown


def test_the_stages_that_the_target_needs_are_planned():
    planned = plan("FROM a AS one\nENV x=1\nFROM b\nRUN y\nFROM one\nENV z=2\nFROM 0")
    assert planned.target.base_name == "0"
    text = "FROM a AS one\nENV x=1\nFROM b\nRUN y\nFROM ONE\nENV z=2"
    planned = plan(text)
    assert [one.stage.index for one in planned.stages] == [0, 2]
    assert str(planned.stages[0].base) == "a:latest"
    assert planned.target.parent.index == 0
    assert plan("FROM scratch").target.base is None
    assert [one.stage.index for one in plan(text, target="ONE").stages] == [0]
    text = "FROM a AS one\nFROM b AS two\nFROM c\nFROM d\nCOPY --from=two x y\nCOPY --from=0 x y"
    assert [one.stage.index for one in plan(text).stages] == [0, 1, 3]
    text = "FROM a AS x\nFROM b\nCOPY --from=x p /\nCOPY --from=busybox p /"
    assert len(plan(text, {"x": "oci:y"}).stages) == 1
    text = (
        "FROM a AS x\nFROM b AS y\nFROM c\nRUN --mount=from=x,target=/x --mount=from=z,target=/z w"
    )
    assert [one.stage.index for one in plan(text).stages] == [0, 2]
    assert [one.stage.index for one in plan(text, {"x": "oci:y"}).stages] == [2]


def test_a_long_list_of_stages_ends():
    with pytest.raises(BuildError, match="there are 0, 1, .* and 880 more"):
        plan("FROM scratch\n" * 900, target="none")


def test_global_arguments_and_platforms_reach_from():
    text = "ARG a=x\nARG b=${a}y\nARG c\nFROM --platform=$TARGETPLATFORM $b$c"
    assert str(plan(text, c="z").target.base) == "xyz:latest"
    planned = plan("FROM --platform=linux/arm/v6 x").target
    assert planned.wanted == Wanted(Platform("linux", "arm", "v6"), explicit=True)
    assert str(plan("ARG TARGETARCH\nFROM $TARGETARCH").target.base) == "amd64:latest"


def test_named_contexts_take_the_place_of_images_and_stages():
    for name in ("debian", "debian:latest", "docker.io/library/debian"):
        planned = plan("FROM debian", {name: "oci:x"}).target
        assert str(planned.base) == "oci:x"
    assert str(plan("FROM a AS s\nFROM s", {"s": "oci:x"}).target.base) == "oci:x"
    assert planning.context_for("UPPER", {"Other": "x"}) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM x\nRUN --security=insecure a", "Dockerfile:2: RUN: --security=insecure is not supp"),
        ("FROM x\nRUN --device=y a", "Dockerfile:2: RUN: --device=y is not supported"),
        ("FROM x\nRUN --mount=type=ssh a", "Dockerfile:2: RUN: --mount: type=ssh is not supported"),
        ("FROM x\nRUN --mount=type=cache,from=y,target=z a", "Dockerfile:2: RUN: --mount: a cache"),
        (
            "FROM x AS a\nRUN --mount=from=a,target=z b",
            "RUN: --mount: from=a: a stage has nothing from itself",
        ),
        ("FROM x\nRUN --mount=from=1,target=z b", "RUN: --mount: from=1: there is no stage"),
        ("FROM x\nRUN --mount=from=Bad!,target=z b", "Dockerfile:2: RUN: "),
        ("FROM x\nADD https://x/y.git a", "Dockerfile:2: ADD: git sources are not supported"),
        ("FROM x\nADD git@x:y a", "git sources are not supported"),
        ("FROM x AS a\nCOPY --from=a b c", "Dockerfile:2: COPY: --from=a: a stage has nothing"),
        ("FROM x\nFROM y\nCOPY --from=1 b c", "Dockerfile:3: COPY: --from=1: a stage has nothing"),
        ("FROM x\nFROM y\nCOPY --from=2 b c", "Dockerfile:3: COPY: --from=2: there is no stage"),
        (
            "FROM x AS a\nCOPY --from=b b c\nFROM y AS b\nCOPY --from=a b c",
            "Dockerfile:2: COPY: --from=b: that stage does",
        ),
        ("FROM x\nCOPY --from=Bad! b c", "Dockerfile:2: COPY: "),
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
    assert built.added == [
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
    assert built.added == []
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


def test_history_has_an_entry_for_each_instruction_and_a_layer_for_what_was_added():
    built = Built('ENV a=b\nWORKDIR /w\nWORKDIR /w\nWORKDIR /x\nCMD ["a b"]')
    config = built.config
    history = config.data["history"]
    assert [entry["created_by"] for entry in history] == [
        "ENV a=b", "WORKDIR /w", "WORKDIR /w", "WORKDIR /x", 'CMD ["a b"]',
    ]  # fmt: skip
    assert [not entry.get("empty_layer") for entry in history] == [False, True, False, True, False]
    assert config.diff_ids == tuple(layer.diff_id for layer in built.hands.layers)
    assert config.diff_ids[0] == Digest.of(built.hands.layers[0].file.data)
    assert config.created == "1970-01-01T00:16:40Z"
    assert json.loads(config.serialize())["config"]["WorkingDir"] == "/x"


def test_run_makes_a_layer_and_an_entry_of_the_history():
    built = Built("ARG v=1\nENV w=2\nUSER 5:6\nWORKDIR /d\nRUN a $v\nLABEL x=y")
    (step,) = built.hands.ran
    assert step.command.words == ("/bin/sh", "-c", "a $v")
    assert (step.command.uid, step.command.gid, step.command.groups) == (5, 6, (6,))
    assert step.command.directory == "/d"
    assert (step.command.environment["v"], step.command.environment["w"]) == ("1", "2")
    assert step.place == "Dockerfile:6"
    entry = built.config.data["history"][-2]
    assert entry["created_by"] == "RUN |1 v=1 /bin/sh -c a $v"
    assert entry["comment"] == "golem-assemble"
    assert "empty_layer" not in entry
    assert built.added == [b"d", b"ran"]
    assert len(built.config.diff_ids) == 2


def test_a_run_that_was_done_before_is_not_done_again():
    built = Built("RUN a\nRUN b")
    again = Built("RUN a\nRUN c", hands=built.hands)
    assert [step.text for step in built.hands.ran] == ["a", "b", "c"]
    assert again.cached == 1
    assert len(again.config.diff_ids) == 2
    Built("ENV x=1\nRUN a", hands=built.hands)
    assert len(built.hands.ran) == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("USER ghost\nRUN a", "Dockerfile:3: RUN: the user 'ghost' is not in"),
        (
            "WORKDIR /w\nRUN --mount=type=tmpfs,target=/ a",
            "Dockerfile:3: RUN: --mount: target=/ is",
        ),
        (
            "ARG t=ssh\nRUN --mount=type=$t a",
            "Dockerfile:3: RUN: --mount: type=ssh is not supported",
        ),
        (
            "ARG i=s\nRUN --mount=type=secret,id=$i,required a",
            "Dockerfile:3: RUN: --mount: the secr",
        ),
    ],
)
def test_a_run_that_cannot_be_done_names_its_line(text, problem):
    with pytest.raises(DockerfileError, match=problem):
        Built(text)


def test_a_secret_is_nowhere_in_what_is_made():
    manner = Manner(Times(0), "\\", print, print, Machine({"s": Secret("s", b"hidden")}))
    hands = Hands()
    builder = Builder(Tree(), scratch_config(AMD), manner, hands)
    within = StageScope(scope())
    builder.begin_stage(within)
    for instruction in parse(
        "FROM x\nRUN --mount=type=secret,id=s,env=S a\nLABEL l=$S"
    ).last.instructions:
        builder.do(instruction, within)
    assert hands.ran[0].command.environment["S"] == "hidden"
    assert b"hidden" not in builder.result().serialize()
    assert "hidden" not in str(hands.memory)


def test_required_secrets_are_asked_for_while_planning():
    instructions = plan(
        "FROM x\nRUN --mount=type=secret,id=a --mount=type=secret,id=b,required=true c\n"
    ).target.stage.instructions
    planning.check_secrets(instructions, {"b"})
    with pytest.raises(DockerfileError, match=r"Dockerfile:2: RUN: --mount: the secret b is requ"):
        planning.check_secrets(instructions, {"a"})


def test_offline_what_would_be_fetched_is_refused_while_planning():
    instructions = plan("FROM x\nADD a https://x/y z").target.stage.instructions
    with pytest.raises(DockerfileError, match="Dockerfile:2: ADD: https://x/y: --offline fetches"):
        planning.check_offline(instructions)
    planning.check_offline(plan("FROM x\nADD a b").target.stage.instructions)


def test_a_stage_upon_another_has_its_arguments_but_begins_with_what_env_said():
    before = Built("ARG a=1\nENV b=2\nARG b=3\nRUN x")
    scope = before.scope.inherit()
    builder = Builder(Tree(), before.config, Manner(Times(0), "\\", print, print), before.hands)
    builder.begin_stage(scope)
    for instruction in parse("FROM x\nARG c\nRUN y").last.instructions:
        builder.do(instruction, scope)
    environment = before.hands.ran[-1].command.environment
    assert (environment["a"], environment["b"]) == ("1", "2")
    made_by = builder.result().data["history"][-1]["created_by"]
    assert made_by == "RUN |3 a=1 b=2 c= /bin/sh -c y"
    assert "c" not in before.scope.declared


def test_triggers_are_taken_from_the_base_once():
    manner = Manner(Times(0), "\\", print, print)
    config = ImageConfig({"config": {"OnBuild": ["ENV a=b"]}})
    builder = Builder(Tree(), config, manner, Hands())
    assert builder.take_triggers() == ["ENV a=b"]
    assert "OnBuild" not in builder.result().settings


def test_health_signals_shells_triggers_and_maintainers_are_kept():
    built = Built(
        'SHELL ["bash","-c"]\nHEALTHCHECK --interval=5s --retries=2 CMD a b\nSTOPSIGNAL 9\n'
        "ONBUILD COPY . /x\nMAINTAINER me\nCMD x"
    )
    settings = built.settings
    assert settings["Shell"] == ["bash", "-c"]
    assert settings["Cmd"] == ["bash", "-c", "x"]
    health = {"Test": ["CMD-SHELL", "a b"], "Interval": 5_000_000_000, "Retries": 2}
    assert settings["Healthcheck"] == health
    assert settings["StopSignal"] == "9"
    assert settings["OnBuild"] == ["COPY . /x"]
    assert built.config.data["author"] == "me"
    assert Built("HEALTHCHECK NONE").settings["Healthcheck"] == {"Test": ["NONE"]}
    assert Built('HEALTHCHECK CMD ["a"]').settings["Healthcheck"] == {"Test": ["CMD", "a"]}


def test_signals():
    for good in ("9", "SIGTERM", "term", "RTMIN+3", "SIGRTMAX-1", "64"):
        assert is_signal(good), good
    for bad in ("0", "65", "SIGNONE", "RTMIN+", "RTMIN+99", "", "KILL-1"):
        assert not is_signal(bad), bad


def test_scratch_has_the_platform_that_is_wanted_and_what_buildkit_gives_it():
    settings = scratch_config(AMD).settings
    assert settings["WorkingDir"] == "/"
    assert settings["Env"][0].startswith("PATH=/usr/local/sbin:")
    assert scratch_config(Platform("linux", "arm", "v6")).platform == Platform("linux", "arm", "v6")


def test_requests_are_read(monkeypatch):
    monkeypatch.setenv("FROM_ENV", "e")
    contexts = ["a=oci-layout:///b", "c=docker-image://d"]
    made = Request.of(
        "x/.", tags=["x:1", "y"], contexts=contexts, arguments=["k=v=w", "FROM_ENV"], labels=["l"]
    )
    assert [str(tag) for tag in made.tags] == ["x:1", "y:latest"]
    assert made.contexts == {"a": "oci:/b", "c": "d"}
    assert made.arguments == {"k": "v=w", "FROM_ENV": "e"}
    assert made.labels == {"l": ""}
    assert made.context_name == "x"
    assert made.secrets == {}
    assert (made.run.sandbox, made.run.timeout, made.run.output_limit) == ("auto", None, 64 << 20)
    assert Request.of(".", secrets=["id=FROM_ENV"]).secrets["FROM_ENV"].data == b"e"
    assert Request.of("zip://some/where.zip").context_name == "where"
    assert Request.of("-").context_name == "context"
    assert Request.of(".", arguments=["SURELY_UNSET"]).arguments == {}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tags": [f"x@sha256:{'0' * 64}"]}, "cannot hold a digest"),
        ({"contexts": ["x"]}, "NAME=SOURCE"),
        ({"contexts": ["x=./none"]}, "is not a directory"),
        ({"contexts": ["x=https://y"]}, "not fetched"),
        ({"arguments": ["=x"]}, "NAME=VALUE"),
        ({"labels": ["=x"]}, "NAME=VALUE"),
        ({"secrets": ["id=none"]}, "none cannot be read"),
        ({"context": "-", "file": "-"}, "both come on standard input"),
    ],
)
def test_requests_that_make_no_sense_are_refused(options, problem):
    with pytest.raises(BuildError, match=problem):
        Request.of(**{"context": "."} | options)
    with pytest.raises(InvalidReference):
        Request.of(".", tags=["Bad"])


GROWN = "".join(f"ENV a{n + 1}={f'$a{n}' * 10}\n" for n in range(4))
DOUBLED = f"ENV a0={'x' * 1000}\n{GROWN}"
"""Ends with `$a4`, of 10,000,000 characters."""


@pytest.mark.parametrize(
    "again",
    [
        "ENV c{}=$a4\n", "LABEL c{}=$a4\n", "ARG c{}=$a4\n", 'ENV c{}="$a4"\n',
        "ENV c{}=${{none:-$a4}}\n", "ENV c{}=${{a4#y}}\n", "COPY --chown=1:${{a4#x}} a{} /b\n",
    ],
)  # fmt: skip
def test_all_expansions_of_a_dockerfile_share_one_budget(again):
    text = DOUBLED + "".join(again.format(number) for number in range(5))
    with pytest.raises(DockerfileError, match=r"variables .* come to more than 32,000,000 char"):
        Built(text)


@pytest.mark.parametrize("again", ["RUN true\n", "ARG c\n"])
def test_values_that_the_history_repeats_spend_the_budget_too(again):
    with pytest.raises(DockerfileError, match=r"variables .* come to more than 32,000,000 char"):
        Built("ARG c\n" + again * 40, c="x" * 1_000_000)


def test_stages_that_repeat_an_environment_spend_the_budget():
    whole, base = scope(), {"config": {"Env": [f"a{n}=" + "x" * 100_000 for n in range(20)]}}
    stage = StageScope(whole)
    with pytest.raises(ExpansionError, match=r"more than 32,000,000 char"):
        for _ in range(20):
            manner = Manner(Times(1000), "\\", print, print)
            Builder(Tree(), ImageConfig(base), manner, Hands()).begin_stage(StageScope(whole))
    whole.budget.characters = 32_000_000
    stage.environment = {str(number): "" for number in range(100_000)}
    with pytest.raises(ExpansionError, match=r"more than 32,000,000 char"):
        for _ in range(30):
            stage.inherit()


def test_global_arguments_and_stages_spend_one_budget():
    outer = "".join(f"ARG d{number}=$c\n" for number in range(20))
    inner = "".join(f"LABEL l{number}=$c\n" for number in range(10))
    parsed = parse(f"ARG c\n{outer}FROM scratch\nARG c\n{inner}")
    whole = scope(c="x" * 1_000_000)
    planning.plan(parsed, whole, {}, Wanted())
    builder = Builder(Tree(), scratch_config(AMD), Manner(Times(1000), "\\", print, print), Hands())
    stage = StageScope(whole)
    with pytest.raises(DockerfileError, match=r"variables .* come to more than 32,000,000 char"):
        for instruction in parsed.stages[0].instructions:
            builder.do(instruction, stage)
