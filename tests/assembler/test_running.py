"""RUN: what an instruction, the image and the scope make of it, before anything is run."""

from __future__ import annotations

import pytest
from fs.memoryfs import MemoryFS
from trees import Memory, directory, file, link, tree

from assembler.buildsecrets import Secret
from assembler.copysource import FolderSource, TreeSource
from assembler.dockerfile import expand_instruction, parse
from assembler.dockerfile.ignore import Rules
from assembler.errors import BuildError, DockerfileError
from assembler.runmounts import bound_tree
from assembler.running import DEFAULT_PATH, Machine, run_step
from assembler.sandbox.command import Mount, SecretFile
from assembler.scope import Arguments, GlobalScope, StageScope, platform_args, proxy_environment
from layers.changes import Changes
from layers.descriptor import Platform
from layers.tree import Data, Tree, TreeError

PASSWD = b"root:x:0:0:r:/root:/bin/sh\nme:x:1000:1001:m:/home/me:/\n"
GROUP = b"staff:x:50:me\n"


class Sources:
    """The context is *files*; every other origin is a tree of the same name."""

    def __init__(self, files=None, **trees):
        self.fs = MemoryFS()
        for path, data in (files or {}).items():
            self.fs.makedirs(path.rpartition("/")[0] or "/", recreate=True)
            self.fs.writebytes(path, data)
        self.trees = trees

    def source(self, origin, stage):
        if origin:
            return TreeSource(self.trees[origin], origin)
        return FolderSource(self.fs, Rules.of(["*.secret"]), "the context", ".dockerignore")


def image():
    return tree(etc=directory(passwd=file(PASSWD), group=file(GROUP)), work=directory())


def scope(given=None, environment=None, **declared):
    made = StageScope(
        GlobalScope(Arguments(given or {}), platform_args(Platform("linux", "amd64")))
    )
    made.environment |= environment or {}
    for name, default in declared.items():
        made.declare(name, default)
    return made


def running(text, settings=None, within=None, sources=None, secrets=None, base=None, **machine):
    (instruction,) = parse(f"FROM x\n{text}").last.instructions
    within = within or scope()
    found = {key: Secret(key, value) for key, value in (secrets or {}).items()}
    return run_step(
        expand_instruction(instruction, within.lookup),
        settings or {},
        within,
        base or image(),
        sources or Sources(),
        Machine(found, **machine),
    )


def command(*arguments, **options):
    return running(*arguments, **options).step.command


def key(*arguments, fidelity="exact", **options):
    return running(*arguments, **options).key("before", fidelity)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RUN a  b && c", ("/bin/sh", "-c", "a  b && c")),
        ('RUN ["a", "b c"]', ("a", "b c")),
        ('RUN ["a" "b"]', ("/bin/sh", "-c", '["a" "b"]')),
        ("RUN <<EOF\na $x\n\tb\nEOF", ("/bin/sh", "-c", "a $x\n\tb\n")),
        ("RUN <<-'EOF'\n\ta $x\n\t\tb\n\tEOF", ("/bin/sh", "-c", "a $x\nb\n")),
        ("RUN cat <<EOF > f\na\nEOF", ("/bin/sh", "-c", "cat <<EOF > f\na\nEOF")),
        ("RUN cat <<-'E'\n\ta\n\tE", ("/bin/sh", "-c", "cat <<-'E'\n\ta\nE")),
        ("RUN a <<A b <<B\n1\nA\n2\nB", ("/bin/sh", "-c", "a <<A b <<B\n1\nA\n2\nB")),
        ("RUN <<A cat\n1\nA", ("/bin/sh", "-c", "<<A cat\n1\nA")),
    ],
)
def test_words_are_those_that_buildkit_runs(text, words):
    assert command(text).words == words


def test_shell_form_goes_through_the_images_shell_and_exec_form_does_not():
    settings = {"Shell": ["/bin/bash", "-euc"]}
    assert command("RUN a", settings).words == ("/bin/bash", "-euc", "a")
    assert command('RUN ["a"]', settings).words == ("a",)


def test_a_here_document_with_an_interpreter_is_a_file_that_is_run():
    made = command("RUN <<-'Script'\n\t#!/usr/bin/env python3\n\tprint(1)\n\tScript")
    assert made.words == ("/bin/sh", "-c", "/dev/pipes/Script")
    data = b"#!/usr/bin/env python3\nprint(1)\n"
    assert made.secrets == (SecretFile("/dev/pipes/Script", data, 0o755, 0, 0),)
    assert key("RUN <<E\n#!/a\n1\nE") != key("RUN <<E\n#!/a\n2\nE")
    with pytest.raises(BuildError, match="a script cannot be called 'a/b'"):
        command("RUN <<a/b\n#!/x\na/b")


def test_the_environment_is_what_arg_and_env_say_and_defaults():
    within = scope({"B": "9"}, {"A": "1"}, B="2", C=None, TARGETARCH=None)
    assert command("RUN x", within=within).environment == {
        "A": "1", "B": "9", "TARGETARCH": "amd64", "PATH": DEFAULT_PATH, "HOME": "/root",
    }  # fmt: skip
    within = scope(environment={"PATH": "/p", "HOME": "/h"})
    assert command("RUN x", within=within).environment == {"PATH": "/p", "HOME": "/h"}
    assert command("RUN x", within=scope(environment={"HOME": ""})).environment["HOME"] == "/root"


def test_proxies_reach_the_command_undeclared_but_neither_history_nor_key():
    within = scope({"http_proxy": "http://p", "NO_PROXY": ""})
    made = running("RUN x", within=within)
    environment = made.step.command.environment
    assert environment["HTTP_PROXY"] == environment["http_proxy"] == "http://p"
    assert "NO_PROXY" not in environment
    assert made.history == "/bin/sh -c x"
    assert made.key("k", "f") == running("RUN x").key("k", "f")
    declared = scope({"http_proxy": "http://p"}, http_proxy=None)
    assert running("RUN x", within=declared).history == "|1 http_proxy=http://p /bin/sh -c x"


def test_of_two_cases_of_a_proxy_the_lower_one_counts():
    assert proxy_environment({"all_proxy": "b", "ALL_PROXY": "a", "OTHER": "c"}) == {
        "ALL_PROXY": "b", "all_proxy": "b",
    }  # fmt: skip


def test_the_history_has_the_declared_arguments_in_their_order_with_what_they_are_now():
    within = scope({"Z": "1"}, None, Z=None, B=None, A="2")
    within.environment["A"] = "later"
    within.declare("Z", None)
    assert running("RUN a  b", within=within).history == "|3 Z=1 B= A=later /bin/sh -c a  b"
    assert running('RUN ["a", "b c"]').history == "a b c"
    assert running("RUN <<E\na\nE").history == "/bin/sh -c a\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (0,), "/root")),
        ("me", (1000, 1001, (1001, 50), "/home/me")),
        ("me:7", (1000, 7, (7,), "/home/me")),
        ("7", (7, 0, (0,), "/")),
    ],
)
def test_the_user_is_the_images(user, expected):
    made = command("RUN x", {"User": user})
    assert (made.uid, made.gid, made.groups, made.environment["HOME"]) == expected


def test_an_unknown_user_is_refused():
    with pytest.raises(BuildError, match="not in the image's /etc/passwd"):
        command("RUN x", {"User": "ghost"})


def test_the_working_directory_may_be_missing_but_nothing_else_may_be_there():
    assert command("RUN x").directory == "/"
    assert command("RUN x", {"WorkingDir": "/work"}).directory == "/work"
    assert command("RUN x", {"WorkingDir": "/none/at/all"}).directory == "/none/at/all"
    assert command("RUN x", {"WorkingDir": "/l"}, base=tree(l=link("new"))).directory == "/l"
    for path in ("/etc/passwd", "/etc/passwd/x"):
        with pytest.raises((BuildError, TreeError), match="etc/passwd"):
            command("RUN x", {"WorkingDir": path})


def test_the_network_is_there_unless_somebody_takes_it():
    assert command("RUN x").network
    assert command("RUN --network=host x").network
    assert not command("RUN --network=none x").network
    assert not command("RUN x", network=False).network
    for text, there in (
        ("RUN x", False), ("RUN --network=default x", False), ("RUN --network=host x", True)
    ):  # fmt: skip
        assert command(text, default_network="none").network is there
    assert not command("RUN --network=host x", default_network="none", network=False).network


def test_mounts_are_against_the_working_directory_and_secrets_against_the_root():
    text = (
        "RUN --mount=type=tmpfs,target=t,size=1k --mount=type=cache,target=../c "
        "--mount=target=b/,src=a --mount=type=secret,id=s,target=run/s "
        "--mount=type=tmpfs,dst=/u,ro x"
    )
    step = running(
        text, {"WorkingDir": "/w"}, sources=Sources({"a": b""}), secrets={"s": b"v"}
    ).step
    assert step.command.mounts == (Mount("/w/t", None, size=1024), Mount("/u", None, readonly=True))
    assert [cache.target for cache in step.caches] == ["/c"]
    assert [bind.target for bind in step.binds] == ["/w/b"]
    assert step.command.secrets == (SecretFile("/run/s", b"v", 0o400, 0, 0),)


def test_a_mount_without_target_is_the_working_directory_but_never_the_root():
    (bind,) = running(
        "RUN --mount=src=a x", {"WorkingDir": "/w"}, sources=Sources({"a": b""})
    ).step.binds
    assert bind.target == "/w"
    for text in ("RUN --mount=type=tmpfs x", "RUN --mount=type=tmpfs,target=/a/.. x"):
        with pytest.raises(BuildError, match="is the root directory"):
            command(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("RUN --mount=type=ssh x", "type=ssh is not supported"),
        ("RUN --mount=type=cache,target=/a,from=b x", "begins with the files"),
        (
            "RUN --mount=target=/a,source=none x",
            "source=none: there is nothing of that name in the",
        ),
        ("RUN --mount=target=/a,source=x.secret x", r"source=x.secret: .*\.dockerignore"),
        ("RUN --mount=type=secret,id=s,required x", "the secret s is required and was not given"),
    ],
)
def test_mounts_that_cannot_be_are_refused(text, problem):
    with pytest.raises(BuildError, match=problem):
        command(text, sources=Sources({"x.secret": b""}))


def test_secrets_become_files_and_variables_and_leave_no_trace():
    text = "RUN --mount=type=secret,id=s,env=S,target=/s,mode=0644,uid=5 --mount=type=secret,id=t x"
    made = running(text, secrets={"s": b"hidden", "t": b"also"})
    assert made.step.command.environment["S"] == "hidden"
    assert made.step.command.secrets == (
        SecretFile("/s", b"hidden", 0o644, 5, 0),
        SecretFile("/run/secrets/t", b"also", 0o400, 0, 0),
    )
    for shown in (repr(made.step), repr(made.said), made.history, made.step.text):
        assert "hidden" not in shown


def test_the_key_does_not_depend_on_a_secrets_value_or_on_its_being_there():
    text = "RUN --mount=type=secret,id=s,env=S x"
    assert key(text, secrets={"s": b"1"}) == key(text, secrets={"s": b"2"}) == key(text)
    assert key(text) != key("RUN --mount=type=secret,id=t,env=S x")


def test_a_secret_that_was_not_given_and_is_not_required_is_not_there():
    made = command("RUN --mount=type=secret,id=s,env=S,target=/s x")
    assert made.secrets == ()
    assert "S" not in made.environment


def test_a_secret_with_a_nul_byte_is_no_variable():
    with pytest.raises(BuildError, match="holds a NUL byte"):
        command("RUN --mount=type=secret,id=s,env=S x", secrets={"s": b"a\0b"})


@pytest.mark.parametrize(
    "other",
    [
        {"text": "RUN y"},
        {"settings": {"Shell": ["/bin/sh", "-ec"]}},
        {"settings": {"User": "me"}},
        {"settings": {"WorkingDir": "/work"}},
        {"within": scope(environment={"A": "1"})},
        {"within": scope({}, None, A="1")},
        {"text": "RUN --network=none x"},
        {"network": False},
        {"text": "RUN --mount=type=tmpfs,target=/t x"},
        {"text": "RUN --mount=type=cache,target=/t x"},
        {"text": "RUN --mount=target=/t,src=a x"},
        {"text": "RUN --mount=target=/t,src=a,rw x"},
        {"fidelity": "recorded"},
    ],
)
def test_the_key_depends_on_all_that_the_command_sees(other):
    same = {"text": "RUN x", "sources": Sources({"a": b""})}
    assert key(**same) == key(**same)
    assert key(**same | other) != key(**same)


def test_the_key_depends_on_what_a_bind_mount_shows_not_on_where_it_is():
    text = "RUN --mount=target=/t,src=a x"
    assert key(text, sources=Sources({"a": b"1"})) != key(text, sources=Sources({"a": b"2"}))
    assert key(text, sources=Sources({"a": b"1", "b": b"2"})) == key(
        text, sources=Sources({"a": b"1"})
    )
    whole = "RUN --mount=target=/t x"
    assert key(whole, sources=Sources({"a": b"1", "b": b""})) != key(
        whole, sources=Sources({"a": b"1"})
    )
    of_stage = "RUN --mount=target=/t,from=s x"
    one, two = tree(f=file(b"1")), tree(f=file(b"1"))
    two.find(b"f").uid = 5
    assert key(of_stage, sources=Sources(s=one)) != key(of_stage, sources=Sources(s=two))


def bound(text, sources):
    (bind,) = running(text, sources=sources).step.binds
    return bound_tree(bind, lambda made: Changes(made, Memory))


def paths(made):
    return sorted(path for path, _ in made.tree.walk() if path)


def test_a_bind_mount_of_the_context_shows_what_is_not_ignored():
    sources = Sources({"d/a": b"1", "d/e/b": b"22", "x.secret": b"no", "f": b"333"})
    made = bound("RUN --mount=target=/t x", sources)
    assert (made.target, made.path, made.readonly) == ("/t", b"", True)
    assert paths(made) == [b"d", b"d/a", b"d/e", b"d/e/b", b"f"]
    node = made.tree.find(b"d/e/b")
    assert node.data.file.read_at(node.data.offset, node.data.size) == b"22"
    assert paths(bound("RUN --mount=target=/t,src=d x", sources)) == [b"a", b"e", b"e/b"]


def test_a_bind_mount_of_a_file_is_that_file():
    made = bound("RUN --mount=target=/t,src=/d/../f,rw x", Sources({"f": b"333", "g": b""}))
    assert (made.path, made.readonly, paths(made)) == (b"f", False, [b"f"])
    sources = Sources(s=tree(d=directory(f=file(b"1"), l=link("f"))))
    assert bound("RUN --mount=target=/t,from=s,src=d/l x", sources).path == b"f"


def test_a_bind_mount_of_a_stage_is_shown_as_it_is():
    stage = tree(d=directory(0o700, f=file(b"1", 0o4755)))
    stage.find(b"d").uid, stage.find(b"d/f").gid = 5, 6
    made = bound("RUN --mount=target=/t,from=s,src=d x", Sources(s=stage))
    assert (made.tree.root.mode, made.tree.root.uid) == (0o700, 5)
    assert made.tree.find(b"f") is stage.find(b"d/f")
    assert paths(bound("RUN --mount=target=/t,from=s x", Sources(s=stage))) == [b"d", b"d/f"]


def test_an_empty_source_gives_an_empty_tree():
    assert paths(bound("RUN --mount=target=/t x", Sources())) == []
    assert paths(bound("RUN --mount=target=/t,from=s x", Sources(s=Tree()))) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("RUN a \\\n   b", "a b"),
        ('RUN ["a", "b"]', "a b"),
        ("RUN <<E\n\nfirst\nsecond\nE", "first..."),
        ("RUN <<E\nE", ""),
    ],
)
def test_a_step_is_shown_in_one_line_with_its_place(text, shown):
    step = running(text).step
    assert (step.place, step.text) == ("Dockerfile:2", shown)


def test_a_mount_that_variables_break_names_its_line():
    with pytest.raises(DockerfileError, match="Dockerfile:2: RUN: --mount: type=zip is unknown"):
        command("RUN --mount=type=$t,target=/x y", within=scope(environment={"t": "zip"}))


def test_data_of_bound_files_can_be_read_where_they_lie():
    made = bound("RUN --mount=target=/t x", Sources({"a": b"12"}))
    assert isinstance(made.tree.find(b"a").data, Data)
