"""RUN for an ordinary user: where namespaces are allowed, where they are not, and in between."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.ordinary import UID, open_way
from support.runs import AS_ROOT, COMMAND, PASSWD, USER, output_of, script, site
from support.trees import snapshot_umoci

REFUSE = Path(__file__).parents[1] / "support" / "refuse_namespaces.py"
PYTHON = "/usr/bin/python3" if AS_ROOT else sys.executable


@pytest.fixture
def place():
    open_way(REFUSE)
    with site(USER) as made:
        made.base(PASSWD)
        yield made


def test_with_namespaces_the_best_way_that_works_is_taken(place):
    command = place.command("RUN id -u; chown 1:2 /bin/busybox; touch /made")
    command[command.index("--sandbox") + 1] = "auto"
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert output_of(done.stdout + done.stderr) == ["0"]
    assert "owners: recorded" in done.stderr or "owners: exact" in done.stderr


def test_without_namespaces_the_error_names_the_line_and_every_ways_reason_and_remedy(place):
    command = place.command("ENV A=1\nCOPY none /\nRUN true\nRUN false")
    command[command.index("--sandbox") + 1] = "auto"
    start = command.index(next(word for word in command if str(word).endswith("golem-assemble")))
    command[start:start] = [PYTHON, REFUSE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 21, done.stderr
    lines = done.stderr.splitlines()
    head = "golem-assemble: Dockerfile:4: RUN cannot be done here; any one of these is enough:"
    ways = dict(line.split(maxsplit=1) for line in lines[lines.index(head) + 1 :])
    assert [*ways] == ["recorded", "ranges", "root", "chroot", "proot", "elsewhere"]
    assert ways["recorded"].startswith("unshare: Operation not permitted; allow user namespaces")
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in ways["recorded"]
    assert ways["root"].startswith("this is not root")
    assert "proot 5.4 or newer" in ways["proot"]
    assert "oci-archive:FILE" in ways["elsewhere"]
    place.check_nothing_is_left()


MASKED = 'mount --bind /dev/null /proc/uptime || exit 99; exec "$@"'
LOOK = r"""
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | sed 's/^/process /'
cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | sed 's/^/environ /'
cat /proc/self/cmdline | tr '\0' ' ' | sed 's/^/self /'; echo
echo descriptors work > /dev/stdout
for path in /proc/self/oom_score_adj /proc/sys/kernel/hostname /proc/[0-9]*/oom_score_adj; do
  (: >> $path) 2>/dev/null && echo "writable $path"
done
true
"""


def test_where_proc_is_covered_other_processes_are_too(place):
    sleeper = subprocess.Popen(["sleep", "87659"])
    masked = ["unshare", *([] if AS_ROOT else ["-r"]), "-m", "sh", "-c", MASKED, "sh"]
    try:
        done = subprocess.run(
            [*masked, *place.command(f"{script(LOOK)}\nRUN true")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "BUILDERS_TOKEN": "SECRET"},
        )  # fmt: skip
    finally:
        sleeper.kill()
        sleeper.wait()
    assert done.returncode == 0, done.stdout
    lines = output_of(done.stdout)
    assert "process 87659" not in lines
    assert "golem-assemble" not in " ".join(line for line in lines if line.startswith("process"))
    assert "SECRET" not in done.stdout
    assert "self cat /proc/self/cmdline " in lines
    assert "descriptors work" in lines
    assert not [line for line in lines if line.startswith("writable")]
    assert done.stdout.count("parts of this machine's /proc are covered") == 1


IDS_ADDED = """
echo "$1:100000:65536" > "$2/ids"
mount --bind "$2/ids" /etc/subuid
mount --bind "$2/ids" /etc/subgid
shift 2
exec setpriv --reuid="$UID_" --regid="$UID_" --clear-groups env HOME="$HOME_" "$@"
"""


def test_with_subordinate_ids_all_owners_are_kept(place):
    """As a distribution sets its users up: newuidmap, and 65,536 ids of one's own."""
    assert AS_ROOT
    command = place.command(
        "RUN mkdir -m 700 /d && touch /d/f && ln -s f /d/l && chown -R 12:34 /d && "
        "chown -h 5:6 /d/l\nRUN stat -c '%u:%g' /d/f && rm /bin/busybox"
    )
    command[: command.index(COMMAND)] = []
    command[command.index("--sandbox") + 1] = "auto"
    surrounded = ["unshare", "-m", "sh", "-euc", IDS_ADDED, "sh", str(UID), str(place.folder)]
    names = {"UID_": str(UID), "HOME_": str(place.folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def run(*words):
        return subprocess.run(
            [*surrounded, *words], capture_output=True, text=True, check=True, env=names
        )

    done = run(*command)
    assert "owners: exact" in done.stderr
    assert output_of(done.stderr) == ["12:34"]
    tree = snapshot_umoci(place.store, "made:latest")
    owners = {name: (tree[name].uid, tree[name].gid) for name in (b"d", b"d/f", b"d/l")}
    assert owners == {b"d": (12, 34), b"d/f": (12, 34), b"d/l": (5, 6)}
    place.check_nothing_is_left()
    # What is kept belongs to those ids, and goes all the same.
    assert list((place.store / "trees").iterdir())
    run(COMMAND, "prune", "--store", place.store)
    assert not list((place.store / "trees").iterdir())
