"""What makes a COPY a step that has to be done again, and what does not."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from trees import directory, file, link, tree

from assembler.chmod import Chmod
from assembler.copying import CopyOptions, Found
from assembler.copysource import FolderSource, TreeSource
from assembler.copystep import Part
from assembler.dockerfile.ignore import Rules
from assembler.errors import BuildError
from assembler.folder import Folder
from assembler.stepkey import CopyInputs, first_key, next_key, recording
from layers.kinds import Kind
from layers.tree import Node

BEFORE = "what it stands on"


@pytest.fixture
def folder(tmp_path):
    """One of everything that has a digest or none."""
    (tmp_path / "d").mkdir(mode=0o755)
    (tmp_path / "d" / "f").write_bytes(b"contents")
    (tmp_path / "d" / "g").write_bytes(b"")
    (tmp_path / "d" / "l").symlink_to("f")
    (tmp_path / "notes.md").write_bytes(b"notes")
    for path in (tmp_path / "d" / "f", tmp_path / "d" / "g", tmp_path / "notes.md"):
        path.chmod(0o644)
    return tmp_path


def part(folder, paths=(b"",), options=None, ignore=()):
    source = FolderSource(Folder(str(folder)), Rules.of(ignore), "the context", ".dockerignore")
    found = [Found(path, path.rpartition(b"/")[2]) for path in paths]
    return Part(source, found, options or CopyOptions())


def keys(folder, *said, before=BEFORE, **given):
    inputs = CopyInputs(before, [part(folder, **given)], *(said or ("COPY", "/to")))
    return inputs.shape, inputs.key({})


def test_nothing_changed_nothing_changes(folder):
    assert keys(folder) == keys(folder)


def test_times_do_not_matter(folder):
    first = keys(folder)
    for path in (folder, folder / "d", folder / "d" / "f"):
        os.utime(path, (5, 5))
    os.utime(folder / "d" / "l", (5, 5), follow_symlinks=False)
    assert keys(folder) == first


def test_the_order_in_which_files_were_made_does_not_matter(tmp_path):
    for name, order in (("one", "abc"), ("two", "cab")):
        (tmp_path / name).mkdir()
        for letter in order:
            (tmp_path / name / letter).write_text(letter)
    assert keys(tmp_path / "one") == keys(tmp_path / "two")


def test_one_byte_changes_the_key_but_not_the_shape(folder):
    shape, key = keys(folder)
    (folder / "d" / "f").write_bytes(b"contentz")
    changed_shape, changed_key = keys(folder)
    assert changed_shape == shape
    assert changed_key != key


def rename(folder):
    (folder / "d" / "f").rename(folder / "d" / "e")


def retarget(folder):
    (folder / "d" / "l").unlink()
    (folder / "d" / "l").symlink_to("g")


def turn_into_a_directory(folder):
    (folder / "d" / "g").unlink()
    (folder / "d" / "g").mkdir()


def link_hard(folder):
    (folder / "d" / "g").unlink()
    os.link(folder / "d" / "f", folder / "d" / "g")


def copy_instead_of_a_link(folder):
    (folder / "d" / "g").write_bytes(b"contents")


SHAPES = {
    "a mode": lambda folder: (folder / "d" / "f").chmod(0o600),
    "a directory's mode": lambda folder: (folder / "d").chmod(0o700),
    "a name": rename,
    "a link's target": retarget,
    "a type": turn_into_a_directory,
    "a new file": lambda folder: (folder / "d" / "new").touch(),
    "a file less": lambda folder: (folder / "d" / "g").unlink(),
    "a hard link": link_hard,
}


@pytest.mark.parametrize("change", SHAPES.values(), ids=SHAPES)
def test_what_changes_the_shape_changes_the_key(folder, change):
    shape, key = keys(folder)
    change(folder)
    changed_shape, changed_key = keys(folder)
    assert changed_shape != shape
    assert changed_key != key


def test_a_hard_link_is_not_a_file_of_the_same_contents(folder, tmp_path):
    link_hard(folder)
    linked = keys(folder)
    (folder / "d" / "g").unlink()
    copy_instead_of_a_link(folder)
    (folder / "d" / "g").chmod(0o644)
    assert keys(folder)[1] != linked[1]


def test_owners_attributes_and_devices_of_a_stage_change_the_shape():
    def shape(change):
        node = file(b"x")
        device = Node(Kind.CHAR, 0o600)
        device.device = (1, 3)
        change(node, device)
        source = TreeSource(tree(f=node, c=device, l=link("f")), "a stage")
        return CopyInputs(BEFORE, [Part(source, [Found(b"", b"")], CopyOptions())]).shape

    changes = [
        lambda node, device: None,
        lambda node, device: setattr(node, "uid", 7),
        lambda node, device: setattr(node, "gid", 7),
        lambda node, device: setattr(node, "xattrs", {b"user.a": b"b"}),
        lambda node, device: setattr(device, "device", (1, 5)),
    ]
    assert len({shape(change) for change in changes}) == len(changes)
    assert shape(lambda node, device: setattr(node, "mtime", 9)) == shape(changes[0])


OPTIONS = {
    "--chown": CopyOptions(owner=(5, 6)),
    "--chmod": CopyOptions(mode=Chmod.parse("640")),
    "--exclude": CopyOptions(exclude=Rules.of(["nothing"])),
    "another --exclude": CopyOptions(exclude=Rules.of(["!nothing"])),
    "the latest time": CopyOptions(latest=5),
    "the time of what is made": CopyOptions(made=5),
    "an archive": CopyOptions(replace=True),
}


def test_every_option_changes_the_shape(folder):
    shapes = {keys(folder, options=options)[0] for options in OPTIONS.values()}
    shapes.add(keys(folder)[0])
    assert len(shapes) == len(OPTIONS) + 1


def test_where_it_goes_and_what_it_stands_on_change_the_shape(folder):
    shapes = {
        keys(folder)[0],
        keys(folder, "COPY", "/elsewhere")[0],
        keys(folder, "ADD", "/to")[0],
        keys(folder, before="something else")[0],
        keys(folder, paths=(b"d",))[0],
        keys(folder, paths=(b"d", b"notes.md"))[0],
        keys(folder, paths=(b"notes.md", b"d"))[0],
    }
    assert len(shapes) == 7


def test_a_directory_of_one_file_is_not_that_file(folder):
    (folder / "one").mkdir()
    (folder / "one" / "f").write_bytes(b"x")
    assert keys(folder, paths=(b"one",))[0] != keys(folder, paths=(b"one/f",))[0]


def test_what_is_not_copied_does_not_matter(folder):
    excluded = CopyOptions(exclude=Rules.of(["*.md"]))
    first = keys(folder, options=excluded)
    ignoring = keys(folder, ignore=["*.md"])
    (folder / "notes.md").write_bytes(b"other notes")
    assert keys(folder, options=excluded) == first
    assert keys(folder, ignore=["*.md"]) == ignoring
    only = keys(folder, paths=(b"d",))
    (folder / "d").chmod(0o700)  # a directory means its contents
    assert keys(folder, paths=(b"d",)) == only


def test_only_files_whose_digests_are_not_known_are_read(folder):
    copied = part(folder)
    node = copied.source.names(b"d")[b"f"]
    inputs = CopyInputs(BEFORE, [copied])
    digests = {}
    watched = recording([copied], digests)[0]
    assert b"".join(watched.source.read(b"d/f", node)) == b"contents"
    assert list(digests) == [node]
    key = inputs.key({})
    (folder / "d" / "f").unlink()
    assert inputs.key(digests) == key
    with pytest.raises(BuildError, match="d/f: it changed while"):
        inputs.key({})


def test_a_file_that_was_not_read_to_its_end_is_not_known(folder):
    copied = part(folder)
    digests = {}
    watched = recording([copied], digests)[0].source
    next(watched.read(b"d/f", watched.names(b"d")[b"f"]))
    assert digests == {}
    assert watched.size(b"d/f", watched.names(b"d")[b"f"]) == 8
    assert watched.why_missing(b"x") == ""


def test_many_files_are_hashed_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("assembler.stepkey._BATCH", 3)
    for number in range(10):
        (tmp_path / str(number)).write_text(str(number))
    copied = part(tmp_path)
    inputs = CopyInputs(BEFORE, [copied])
    digests = {}
    watched = recording([copied], digests)[0].source
    for name, node in watched.names(b"").items():
        list(watched.read(name, node))
    assert inputs.key({}) == inputs.key(digests)


class Closed(TreeSource):
    """A stage that nobody may read, as a context can be."""

    def readable(self, path, node):
        return path == b"open"


def test_files_that_may_not_be_read_are_named_at_once():
    def check(*names):
        source = Closed(tree(**{name: file(b"x") for name in names}), "it")
        CopyInputs(BEFORE, [Part(source, [Found(b"", b"")], CopyOptions())]).check_readable()

    check("open")
    with pytest.raises(BuildError, match=r"^a: it cannot be read \(Permission denied\); make it"):
        check("a", "open")
    with pytest.raises(BuildError, match=r"^a, b: they cannot be read \(Permission denied\); make"):
        check("a", "b", "open")
    with pytest.raises(BuildError, match=r"^a, b, c, d, e and 2 more: they cannot be read"):
        check(*"gfedcba")


def test_excluded_files_need_not_be_readable():
    source = Closed(tree(open=file(b"x"), a=directory(b=file(b"y"))), "it")
    options = replace(CopyOptions(), exclude=Rules.of(["a"]))
    CopyInputs(BEFORE, [Part(source, [Found(b"", b"")], options)]).check_readable()


def test_keys_of_steps_depend_on_all_before_them():
    assert first_key("a", 1) != first_key("a", 2)
    assert next_key("a", "WORKDIR", "/x") != next_key("b", "WORKDIR", "/x")
    assert next_key("a", "WORKDIR", "/x") != next_key("a", "WORKDIR", "/y")
