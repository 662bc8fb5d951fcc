"""COPY and ADD on trees: what goes where, under which name, with whose metadata."""

from __future__ import annotations

import pytest
from builders import contents, merged, paths
from support.layers import directory, file, layer, symlink
from trees import Memory, link, tree
from trees import directory as folder
from trees import file as plain

from assembler.archives import read_archive
from assembler.copysource import TreeSource
from assembler.copystep import Times, copy_step, write_parts
from assembler.dockerfile import parse
from assembler.errors import BuildError
from layers.changes import Changes
from layers.session import Session
from layers.spool import Spool
from layers.store import ContentStore

MADE = 77


class Supplies:
    """The same source whatever `--from` says, and archives in it."""

    def __init__(self, source, archives=None):
        self._source = source
        self._archives = archives or {}
        self.warnings = []

    def source(self, origin, stage):
        return self._source

    def unpack(self, source, path):
        return self._archives.get(path)

    def warn(self, text):
        self.warnings.append(text)


def do(text, image, supplies):
    """Do one COPY or ADD on *image*; return what was warned of."""
    (instruction,) = parse(f"FROM scratch\n{text}").stages[0].instructions
    parts = copy_step(instruction, instruction.destination, image, supplies, 0, Times(MADE))
    with Changes(image, Memory) as changes:
        write_parts(parts, instruction.destination, image, changes)
        if not changes.empty:
            changes.finish()
    return supplies.warnings


def copy(text, image, source):
    return do(text, image, Supplies(TreeSource(source, "the stage 's'")))


def text(image, path):
    return contents(image.find(path, follow=False))


# Links.


def libraries():
    return tree(l=folder(**{"libc.so.6": link("libc-2.36.so"), "libc-2.36.so": plain(b"code")}))


def test_what_a_link_leads_to_takes_the_links_name():
    image = tree(a=folder())
    copy("COPY --from=s /l/libc.so.6 /a/", image, libraries())
    assert paths(image) == ["a", "a/libc.so.6"]
    assert text(image, b"a/libc.so.6") == b"code"


def test_a_pattern_takes_links_and_their_targets_under_both_names():
    image = tree()
    copy("COPY --from=s /l/lib* /a/", image, libraries())
    assert paths(image) == ["a", "a/libc-2.36.so", "a/libc.so.6"]
    assert text(image, b"a/libc.so.6") == text(image, b"a/libc-2.36.so") == b"code"


def test_a_link_to_a_directory_means_its_contents():
    image = tree()
    copy("COPY d /a/", image, tree(d=link("e"), e=folder(f=plain(b"x"))))
    assert paths(image) == ["a", "a/f"]


def test_a_name_with_an_escape_is_taken_off_its_pattern():
    image = tree()
    copy("COPY a[[]b /x/", image, tree(**{"a[b": plain(b"x")}))
    assert paths(image) == ["x", "x/a[b"]


@pytest.mark.parametrize("target", ["../../../e/f", "/../e/f", "d/../../../e/f"])
def test_links_stop_at_the_root_of_their_source(target):
    image = tree()
    copy("COPY l /x", image, tree(l=link(target), d=folder(), e=folder(f=plain(b"inside"))))
    assert text(image, b"x") == b"inside"


# Patterns that match nothing.


def test_a_pattern_without_a_match_is_told_where_another_source_is_there():
    image = tree()
    source = tree(**{"package.json": plain(b"{}")})
    warnings = copy("COPY package.json yarn.lock* ./", image, source)
    assert paths(image) == ["package.json"]
    assert warnings == ["yarn.lock*: nothing in the stage 's' matches; it was left out"]


@pytest.mark.parametrize("sources", ["yarn.lock*", "a* b*", "package.json yarn.lock"])
def test_nothing_to_copy_is_an_error(sources):
    with pytest.raises(BuildError, match="nothing"):
        copy(f"COPY {sources} ./", tree(), tree(**{"package.json": plain(b"{}")}))


def test_parents_of_what_is_missing_are_an_error():
    with pytest.raises(BuildError, match="missing: nothing in the stage 's' matches"):
        copy("COPY --parents ./missing /", tree(), tree(a=plain()))


# Archives.


@pytest.fixture
def add(tmp_path):
    """Add an archive of these entries to an image."""
    session = Session(ContentStore(tmp_path / "store"))

    def add(image, *items, flags="", destination="/"):
        with Spool(session.store.area) as spool:
            spool.append(layer(*items))
            with read_archive(spool, "a.tar", session) as archive:
                source = TreeSource(tree(**{"a.tar": plain(b"tar")}), "the build context")
                do(f"ADD {flags} a.tar {destination}", image, Supplies(source, {b"a.tar": archive}))
                return {
                    path.decode(): (node.kind.value, oct(node.mode), node.uid, node.gid, node.mtime)
                    for path, node in image.walk()
                }

    return add


def base():
    return merged(
        [
            directory("tmp", 0o1777, mtime=1),
            directory("home/me", 0o700, uid=1000, gid=1000, mtime=1),
            directory("usr/bin", mtime=1),
            symlink("bin", "usr/bin", mtime=1),
            symlink("loop", "loop", mtime=1),
            file("etc", mtime=1),
        ]
    )


def test_directories_that_are_there_keep_everything(add):
    found = add(base(), file("tmp/x"), file("home/me/y"), file("new/z"), flags="--chown=7:8")
    assert found["tmp"] == ("d", "0o1777", 0, 0, 1)
    assert found["home/me"] == ("d", "0o700", 1000, 1000, 1)
    assert found["new"] == ("d", "0o755", 0, 0, MADE)
    assert found["new/z"][2:4] == (7, 8)


def test_an_archives_own_entry_for_a_directory_gives_it_metadata(add):
    found = add(base(), directory("tmp", 0o700, mtime=9), file("tmp/x"))
    assert found["tmp"] == ("d", "0o700", 0, 0, 9)


def test_links_to_directories_of_the_image_are_followed(add):
    image = base()
    found = add(image, file("bin/tool"), directory("bin/sub", mtime=5), file("bin/sub/deep/f"))
    assert found["bin"][0] == "l"
    assert {name for name in found if name.startswith("usr/bin/")} == {
        "usr/bin/tool", "usr/bin/sub", "usr/bin/sub/deep", "usr/bin/sub/deep/f",
    }  # fmt: skip
    assert found["usr/bin/sub"] == ("d", "0o755", 0, 0, 5)


def test_an_archives_own_entry_replaces_a_link(add):
    found = add(base(), directory("bin"), file("bin/tool"))
    assert found["bin"][0] == "d"
    assert "usr/bin/tool" not in found


def test_what_is_no_directory_gives_way(add):
    found = add(base(), file("loop/x"), file("etc/y"))
    assert (found["loop"][0], found["etc"][0]) == ("d", "d")


def test_chmod_leaves_what_is_in_an_archive(add):
    found = add(base(), file("x", mode=0o640), flags="--chmod=777", destination="/new/")
    assert found["new/x"][1] == "0o640"


def test_destinations_below_a_link_are_followed(add):
    found = add(base(), file("sub/x"), destination="/bin/")
    assert "usr/bin/sub/x" in found
