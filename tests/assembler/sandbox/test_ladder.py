"""The choice among the ways to do RUN, with ways that are never really tried."""

from __future__ import annotations

import pytest

from assembler.errors import BuildError, SandboxError
from assembler.sandbox import ladder
from assembler.sandbox.ladder import choose, probe_all
from assembler.sandbox.rungs import NAMES, RECORDED, REMEDIES, Missing, Rung
from assembler.sandbox.runner import Outcome
from assembler.sandbox.treearea import TreeArea


@pytest.fixture
def area(tmp_path):
    return TreeArea(tmp_path)


@pytest.fixture
def machine(monkeypatch):
    """A function that gives the machine its ways, and what comes of trying each."""

    def have(*rungs, outcomes):
        monkeypatch.setattr(ladder, "all_rungs", lambda: list(rungs))

        def attempt(make_job):
            job = make_job(-1)
            name = next(r.name for r in rungs if getattr(r, "isolation", "") == job.run.isolation)
            return outcomes[name, job.run.root.overlay]

        monkeypatch.setattr(ladder, "perform", attempt)

    return have


def rung(name, isolation="namespaces", overlay=True):
    return Rung(name, f"about {name}", RECORDED, f"mend {name}", isolation, overlay=overlay)


def missing(name):
    return Missing(name, f"about {name}", f"no {name} here", f"mend {name}")


GOOD, BAD = Outcome(), Outcome(failed="mount: refused")


def test_the_best_way_that_works_is_taken(machine, area):
    chroot = rung("chroot", "chroot", overlay=False)
    machine(missing("root"), rung("recorded"), chroot, outcomes={("recorded", True): GOOD})
    assert choose("auto", area).name == "recorded"


def test_a_named_way_is_taken_though_a_better_one_works(machine, area):
    chroot = rung("chroot", "chroot", overlay=False)
    machine(rung("root"), chroot, outcomes={("root", True): GOOD, ("chroot", False): GOOD})
    assert choose("chroot", area).name == "chroot"


def test_where_there_is_no_overlay_a_copy_is_taken(machine, area):
    machine(rung("root"), outcomes={("root", True): BAD, ("root", False): GOOD})
    assert not choose("auto", area).overlay
    probe = probe_all(area)[0]
    assert probe.fields() == {
        "name": "root", "about": "about root", "works": True, "overlay": False, "owners": RECORDED,
        "reason": "mount: refused", "remedy": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(failed="unshare: Operation not permitted"), "unshare: Operation not permitted"),
        (Outcome(signal=9), "the probe was killed"),
        (Outcome(limit="x"), "the probe was killed"),
        (Outcome(exit=3), "the probe ended with status 3"),
        (Outcome(exit=127, exec="/bin/true: none"), "/bin/true: none"),
    ],
)
def test_why_a_way_does_not_work_is_told(machine, area, outcome, reason):
    machine(rung("root", overlay=False), outcomes={("root", False): outcome})
    probe = probe_all(area)[0]
    assert (probe.rung, probe.reason, probe.remedy) == (None, reason, "mend root")
    assert probe.fields()["owners"] is None


@pytest.mark.parametrize(
    ("uid", "order"),
    [
        (0, ["root", "chroot", "ranges", "recorded", "proot"]),
        (1000, ["recorded", "ranges", "root", "chroot", "proot"]),
    ],
)
def test_the_error_has_a_line_for_each_way_the_likeliest_remedy_first(
    machine, area, monkeypatch, uid, order
):
    monkeypatch.setattr(ladder.os, "geteuid", lambda: uid)
    faked = rung("faked", "faked")
    machine(
        missing("root"), missing("ranges"), rung("recorded"), faked, missing("chroot"),
        missing("proot"),
        outcomes={(n, o): BAD for n in ("recorded", "faked") for o in (True, False)},
    )  # fmt: skip
    with pytest.raises(SandboxError) as caught:
        choose("auto", area)
    first, *lines = str(caught.value).splitlines()
    assert first == "RUN cannot be done here; any one of these is enough:"
    assert [line.split()[0] for line in lines] == [*order, "elsewhere"]
    assert "  root      no root here; mend root" in lines
    assert "  recorded  mount: refused; mend recorded" in lines
    assert "oci-archive:FILE" in lines[-1]


def test_the_error_of_a_named_way_is_about_that_alone(machine, area):
    machine(missing("root"), missing("proot"), outcomes={})
    with pytest.raises(SandboxError) as caught:
        choose("proot", area)
    assert "no proot here" in str(caught.value)
    assert "no root here" not in str(caught.value)


def test_a_way_that_nobody_knows_is_an_error_with_the_names(area):
    with pytest.raises(BuildError, match=f"--sandbox jail: choose one of auto, {NAMES[0]}, "):
        choose("jail", area)


def test_a_full_disk_is_no_reason_against_a_way(machine, area):
    machine(rung("root"), outcomes={("root", True): Outcome(failed="write", full=True)})
    with pytest.raises(OSError, match="No space left"):
        choose("auto", area)


def test_every_way_has_a_remedy():
    assert REMEDIES.keys() == set(NAMES)
