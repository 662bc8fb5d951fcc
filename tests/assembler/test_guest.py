from __future__ import annotations

import pytest
from trees import directory, file, link, tree

from assembler.errors import GuestError
from assembler.guest import advise, clean_volumes, prepare
from layers.image import ImageConfig
from layers.kinds import Kind


def config(platform="amd64", **settings):
    return ImageConfig({"os": "linux", "architecture": platform, "config": settings})


def codes(image, image_config, compression="gzip", keep_user=False):
    return [item.code for item in advise(image, image_config, compression, keep_user=keep_user)]


def test_an_empty_image_gets_all_that_a_guest_needs():
    image = tree()
    assert prepare(image, config(Volumes={"/golem/in": {}}, WorkingDir="/golem/work"), 9) == []
    found = dict(image.walk())
    assert sorted(found) == [
        b"dev", b"etc", b"etc/hostname", b"etc/hosts", b"etc/resolv.conf", b"golem", b"golem/in",
        b"golem/work", b"proc", b"sys", b"tmp",
    ]  # fmt: skip
    assert found[b"tmp"].mode == 0o1777
    assert found[b"proc"].mode == 0o755
    assert {node.mtime for node in found.values()} == {9}
    assert found[b"etc/hosts"].kind is Kind.FILE


def test_what_is_there_stays_as_it_is():
    image = tree(
        tmp=directory(0o700), etc=directory(hosts=file(b"x"), hostname=file(), resolv_conf=file())
    )
    prepare(image, config(), 9)
    assert image.find(b"tmp").mode == 0o700
    assert image.find(b"etc/hosts").size == 1


def test_a_link_at_resolv_conf_is_replaced_and_told():
    image = tree(etc=directory(resolv_conf=link("../run/x")))
    (advice,) = prepare(image, config(), 9)
    assert advice.code == "etc-file-replaced"
    assert "../run/x" in advice.text
    assert image.find(b"etc/resolv.conf", follow=False).kind is Kind.FILE


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "tmp", "etc"])
def test_a_mount_point_that_is_no_directory_is_an_error(name):
    with pytest.raises(GuestError, match=f"/{name} is not a directory"):
        prepare(tree(**{name: file()}), config(), 9)


def test_a_volume_through_a_link_is_an_error_with_the_fix_in_it():
    image = tree(bin=link("usr/bin"), usr=directory(bin=directory()))
    with pytest.raises(GuestError, match=r"VOLUME /usr/bin/data"):
        prepare(image, config(Volumes={"/bin/data": {}}), 9)


def test_a_volume_through_a_file_is_an_error():
    with pytest.raises(GuestError, match="/x is not a directory"):
        prepare(tree(x=file()), config(Volumes={"/x/y": {}}), 9)


def test_volumes_are_cleaned():
    assert clean_volumes(["/b/", "//a//c", "/b", "/x/../y"]) == ["/a/c", "/b", "/y"]


@pytest.mark.parametrize("volume", ["data", "/", "//", "/x/.."])
def test_volumes_that_cannot_be_mounted_are_refused(volume):
    with pytest.raises(GuestError):
        clean_volumes([volume])


def test_a_workdir_may_lead_through_links_but_not_files():
    image = tree(bin=link("usr/bin"))
    prepare(image, config(WorkingDir="/bin/w"), 9)
    assert image.find(b"usr/bin/w").is_directory
    with pytest.raises(GuestError, match="WORKDIR /x/y"):
        prepare(tree(x=file()), config(WorkingDir="/x/y"), 9)
    with pytest.raises(GuestError, match="links"):
        prepare(tree(x=link("x")), config(WorkingDir="/x/y"), 9)


def test_a_good_image_needs_no_advice():
    assert codes(tree(), config(Volumes={"/v": {}}, WorkingDir="/v")) == []


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"Volumes": {}}, "no-volume"),
        ({"Volumes": {"/full": {}}}, "volume-hides-content"),
        ({"WorkingDir": "/v/w"}, "workdir-in-volume"),
        ({"Cmd": ["x"]}, "cmd-ignored"),
        ({"Entrypoint": ["x"]}, "entrypoint-ignored"),
        ({"User": "me"}, "user-ignored"),
    ],
)
def test_what_will_not_do_what_its_author_expects_is_told(settings, code):
    image = tree(full=directory(a=file()))
    assert codes(image, config(**({"Volumes": {"/v": {}}} | settings))) == [code]


def test_a_kept_user_other_platforms_and_zstd():
    settings = {"Volumes": {"/v": {}}, "User": "me"}
    assert codes(tree(), config(**settings), keep_user=True) == []
    assert codes(tree(), config("arm64", Volumes={"/v": {}})) == ["platform"]
    assert codes(tree(), config(Volumes={"/v": {}}), "zstd") == ["zstd"]
