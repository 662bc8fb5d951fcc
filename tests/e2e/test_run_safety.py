"""What RUN executes is foreign code: what it tries against this machine, and does not get."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.layers import directory, file, symlink
from support.machinecode import call, call_32_bit, program
from support.ordinary import UID
from support.runs import (
    AS_ROOT,
    COMMAND,
    NAMESPACED,
    PASSWD,
    UNLIKE,
    USER,
    WAYS,
    output_of,
    processes,
    script,
    site,
)

from assembler.sandbox.rungs import CAPABILITIES

PR_ALLOWED = sum(1 << bit for bit in CAPABILITIES.values())
CANARY = "as it was"
OWN_NODES = ("/dev/null", "/dev/zero", "/dev/full")
PYTHON = Path("/proc/self/exe").resolve()
NEVER = {
    "mount": 165, "umount2": 166, "pivot_root": 155, "setns": 308, "keyctl": 250, "add_key": 248,
    "bpf": 321, "kexec_load": 246, "io_uring_setup": 425, "perf_event_open": 298, "reboot": 169,
    "init_module": 175, "fsopen": 430, "open_tree": 428, "userfaultfd": 323, "swapon": 167,
    "open_by_handle_at": 304, "process_vm_readv": 310, "settimeofday": 164,
}  # fmt: skip
NEW_USER, NEW_EVERYTHING = 0x10000000, 0x7E020000
SEIZE = 0x4206


def abstract(name):
    """The address of an abstract socket."""
    return struct.pack("H", socket.AF_UNIX) + b"\0" + name.encode()


class Seen:
    """What one RUN saw: lines of `KEY VALUE`."""

    def __init__(self, place, lines):
        self.place = place
        self.lines = lines

    def __getitem__(self, key):
        found = [line.partition(" ")[2] for line in self.lines if line.split(" ")[0] == key]
        assert found, (key, self.lines[-20:])
        return found if len(found) > 1 else found[0]

    def all(self, key):
        return [line.partition(" ")[2] for line in self.lines if line.split(" ")[0] == key]


LOOK = r"""
for n in 0 1 2 3 4 5 6 7 8 9 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
  (eval ": <&$n") 2>/dev/null && echo "fd $n"
done
env | sed 's/^/env /'
tr '\0' '\n' < /proc/1/environ 2>/dev/null | sed 's/^/env1 /'
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | sed 's/^/process /'
cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | sed 's/^/environ /'
kill -0 SLEEPER 2>/dev/null; echo "signal $?"
kill -CONT SLEEPER 2>/dev/null; echo "signal $?"
grep -E '^(CapPrm|CapEff|CapBnd|CapAmb|CapInh|NoNewPrivs)' /proc/self/status 2>/dev/null |
  sed 's/:/ /'
for path in CANARY /proc/1/rootCANARY /proc/self/root/../../..CANARY /proc/1/cwdCANARY \
  /../../../..CANARY /proc/self/fd/0/../../..CANARY /linkCANARY /relativeCANARY; do
  cat "$path" 2>/dev/null && echo "reached $path"
  (echo changed > "$path") 2>/dev/null && echo "reached $path"
done
for process in /proc/[0-9]*; do
  for name in root cwd; do
    (echo changed > "$process/$name"CANARY) 2>/dev/null && echo "reached $process/$name"
  done
done
for folder in / /tmp /dev /dev/shm; do
  mknod "$folder/b" b MAJOR MINOR 2>/dev/null
  (dd if="$folder/b" of=/copied bs=1 count=1) 2>/dev/null && echo "device $folder/b"
  mknod "$folder/c" c 1 3 2>/dev/null
  # Where a device node cannot be made, it was perhaps only said that it was.
  [ -e "$folder/c" ] && (: < "$folder/c") 2>/dev/null && echo "device $folder/c"
  rm -f "$folder/b" "$folder/c"
done
for path in /dev/null /dev/zero /dev/full; do
  touch -d 2001-01-01 "$path" 2>/dev/null; chown 0:0 "$path" 2>/dev/null
done
if [ -e /proc/self ]; then
  chmod 666 /proc/self/fd/0 2>/dev/null
  for path in /proc/sys/kernel/hostname /proc/sys/kernel/core_pattern /proc/sysrq-trigger \
    /sys/kernel/profiling /sys/kernel/uevent_helper /sys/power/state /proc/irq/default_smp_affinity
  do
    (: >> "$path") 2>/dev/null && echo "writable $path"
  done
  ln /etc/resolv.conf /hard 2>/dev/null && echo "linked /etc/resolv.conf"
  ln /dev/.sandbox/file-0 /hard 2>/dev/null && echo "linked file-0"
  cat /proc/kcore /proc/keys 2>/dev/null | head -c 10 | sed 's/^/masked /'
fi
(echo 127.0.0.9 elsewhere > /etc/hosts) 2>/dev/null
for path in STORE /root/.docker/config.json /root/.config/containers/auth.json; do
  [ -e "$path" ] && echo "exists $path"
done
for name in /probe/*; do "$name" 2>/dev/null; echo "${name##*/} $?"; done
true
"""


def probes(name, sleeper, canary):
    """Programs for `/probe`, which exit with the number of an error."""
    calls = {call_name: [call(number, 0, 0, 0, 0, 0)] for call_name, number in NEVER.items()}
    calls |= {
        "unshare": [call(272, NEW_USER)],
        "unshare-all": [call(272, NEW_EVERYTHING)],
        "clone": [call(56, NEW_USER | 17, 0, 0, 0, 0)],
        "clone3": [call(435, 0, 0)],
        "int80": [call_32_bit(20)],
        "x32": [call(0x40000000 | 39)],
        "ptrace-outside": [call(101, SEIZE, sleeper, 0, 0)],
        "vsock": [call(41, 40, 1, 0)],
        "packet": [call(41, 17, 3, 0)],
        "abstract": [call(41, 1, 1, 0), call(42, 3, abstract(name), 3 + len(name))],
        "escape": [
            call(83, b"/jail\0", 0o755),
            call(161, b"/jail\0"),
            *[call(80, b"..\0")] * 20,
            call(161, b".\0"),
            call(2, os.fsencode(canary) + b"\0", 1),
        ],
        "suid": [call(107)],
    }
    return {key: program(*value) for key, value in calls.items()}


@pytest.fixture(scope="module", params=WAYS)
def seen(request):
    """One RUN that tries everything, by the machine's host network."""
    with ExitStack() as stack:
        place = stack.enter_context(site(request.param))
        canary = place.folder / "canary"
        canary.write_text(CANARY)
        name = f"golem-{uuid.uuid4().hex}"
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(f"\0{name}")
        listener.listen()
        sleeper = subprocess.Popen(
            ["sleep", "98765"], env={"SLEEPERS": "SECRET"}, user=place_user(place)
        )
        stack.callback(sleeper.wait)
        stack.callback(sleeper.kill)
        found = probes(name, sleeper.pid, canary)
        place.base(
            PASSWD,
            directory("probe"),
            *(file(f"probe/{key}", data, 0o755) for key, data in found.items()),
            file("suid", found["suid"], 0o4755),
            symlink("link", "/"),
            symlink("relative", "../../../../../.."),
        )
        device = os.stat(place.folder).st_dev
        text = LOOK.replace("SLEEPER", str(sleeper.pid)).replace("STORE", str(place.store))
        text = text.replace("CANARY", str(canary))
        text = text.replace("MAJOR MINOR", f"{os.major(device)} {os.minor(device)}")
        before = [os.stat(path) for path in (*OWN_NODES, PYTHON, "/etc/hosts")]
        said = place.build(
            script(text), env={"BUILDERS_TOKEN": "SECRET", "GOLEM_REGISTRY_TOKEN": "SECRET"}
        )
        after = [os.stat(path) for path in (*OWN_NODES, PYTHON, "/etc/hosts")]
        result = Seen(place, output_of(said))
        result.untouched = [
            a.st_ctime_ns == b.st_ctime_ns for a, b in zip(before, after, strict=True)
        ]
        result.canary = canary.read_text()
        yield result


def place_user(place):
    return UID if place.way == USER and AS_ROOT else None


def test_a_command_has_three_descriptors(seen):
    assert seen["fd"] == ["0", "1", "2"]


def test_a_command_does_not_know_the_builders_environment(seen):
    assert {line.partition("=")[0] for line in seen["env"]} <= {
        "PATH", "HOME", "PWD", "SHLVL", "APT_CONFIG", "OLDPWD",
    }  # fmt: skip
    assert not [line for line in seen.lines if "SECRET" in line]


def test_a_command_sees_no_process_but_its_own(seen):
    assert "98765" not in seen.all("process")
    assert "golem-assemble" not in " ".join(seen.all("process"))
    assert seen["signal"] == ["1", "1"]
    assert seen["ptrace-outside"] in {"1", "3"}


def test_a_command_gets_no_privileges(seen):
    for name in ("CapPrm", "CapEf", "CapBnd", "CapAmb", "CapInh"):
        for mask in seen.all(name):
            assert int(mask.strip(), 16) & ~PR_ALLOWED == 0
    assert {value.strip() for value in seen.all("NoNewPrivs")} <= {"1"}


def test_what_is_outside_the_root_is_neither_read_nor_written(seen):
    assert not seen.all("reached")
    assert seen.canary == CANARY
    assert not seen.all("exists")


def test_devices_are_not_opened_and_the_machines_own_stay_as_they_are(seen):
    assert not seen.all("device")
    assert all(seen.untouched)


def test_the_kernels_settings_cannot_be_written(seen):
    assert not seen.all("writable")
    assert not seen.all("masked")


def test_what_is_mounted_cannot_be_linked_into_the_root(seen):
    assert not seen.all("linked")


@pytest.mark.parametrize("name", sorted({*NEVER, "unshare", "unshare-all", "clone"}))
def test_calls_that_no_build_needs_are_refused(seen, name):
    assert seen[name] == "1"


def test_other_numberings_of_calls_do_not_exist(seen):
    assert seen["int80"] == seen["x32"] == seen["clone3"] == "38"


def test_there_are_sockets_of_common_families_only(seen):
    assert seen["vsock"] == seen["packet"] == "97"


def test_abstract_sockets_of_this_machine_are_out_of_reach(seen):
    assert seen["abstract"] == "1"  # landlock: Linux 6.12


def test_chroot_again_leads_nowhere_else(seen):
    assert seen["escape"] == "2"


@pytest.fixture
def word():
    """A number of seconds that nobody else sleeps for."""
    return f"1{uuid.uuid4().int % 10**9:09}"


@pytest.fixture(params=UNLIKE)
def place(request):
    with site(request.param) as made:
        yield made


@pytest.fixture(params=UNLIKE)
def unlike(request):
    with site(request.param) as made:
        yield made


@pytest.fixture(params=[way for way in UNLIKE if way in NAMESPACED])
def namespaced(request):
    with site(request.param) as made:
        yield made


def test_set_user_id_programs_of_root_give_a_user_nothing(place):
    place.base(PASSWD, file("suid", program(call(107)), 0o4755))
    said = place.build("USER 1000\nRUN /suid; echo euid $(( (256 - $?) % 256 )); id -u")
    assert output_of(said) == [f"euid {UID % 256}", str(UID)]


def test_a_user_has_no_capabilities(namespaced):
    namespaced.base(PASSWD)
    said = namespaced.build("USER 1000\nRUN grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status")
    assert {line.split()[1] for line in output_of(said)} == {"0" * 16}


def test_the_python_that_a_command_begins_as_is_not_this_machines(namespaced):
    """CVE-2019-5736: what executes /proc/self/exe gets a file of this machine in its hands."""
    change = program(call(90, b"/proc/self/exe\0", 0o755))
    loader = "lib64/ld-linux-x86-64.so.2"
    namespaced.base(PASSWD, directory("lib64"), file(loader, change, 0o755))
    before = PYTHON.stat().st_ctime_ns
    namespaced.build('RUN ["/proc/self/exe"]')
    assert PYTHON.stat().st_ctime_ns == before


@pytest.mark.parametrize("status", [0, 1])
def test_daemons_end_with_their_step(place, word, status):
    place.base(PASSWD)
    text = f"(setsid sh -c 'trap \"\" HUP TERM; sleep {word} & sleep {word}' >/dev/null 2>&1 &)"
    place.build(f"RUN {text}; sleep 0.2; exit {status}", status=20 if status else 0)
    assert not processes(word)


@pytest.mark.parametrize("target", ["1", "$PPID"])
def test_killing_the_parent_is_an_orderly_end(place, word, target):
    place.base(PASSWD)
    said = place.build(f"RUN sleep {word} & kill -9 {target}; echo status $?; exit 3", status=20)
    assert "it ended with status 3" in said
    assert not processes(word)


def test_a_signal_to_all_reaches_none_but_the_commands_own(namespaced, word):
    """In namespaces only: where this fails in a chroot, the machine that tests it is gone."""
    namespaced.base(PASSWD)
    bystander = subprocess.Popen(["sleep", word], user=place_user(namespaced))
    try:
        said = namespaced.build("RUN sleep 600 & kill -KILL -1; exit 3", status=20)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert "it ended with status 3" in said


def test_interrupting_the_parent_does_not_end_the_sandbox(namespaced):
    namespaced.base(PASSWD)
    assert output_of(namespaced.build("RUN kill -INT 1; sleep 0.3; echo alive"))[-1] == "alive"


def test_a_fork_bomb_ends_at_the_limit(unlike, word):
    unlike.base(PASSWD)
    bomb = f"for i in $(seq 6000); do sleep {word} & done; sleep {word}"
    said = unlike.build(f"RUN {bomb}", status=20)
    ours = "it was ended, having more than 4,096 processes and threads at once"
    kernels = "can't fork: Resource temporarily unavailable"  # where it was the quicker one
    assert ours in said or kernels in said
    assert not processes(word)


def test_endless_output_ends_at_the_limit(unlike, word):
    unlike.base(PASSWD)
    said = unlike.build(f"RUN yes {word} | cat", "--run-output-limit", "1MiB", status=20)
    assert "RUN printed more than 1,048,576 bytes and was ended" in said
    assert not processes(word)


def test_a_timeout_ends_a_whole_tree_of_processes(place, word):
    place.base(PASSWD)
    tree = f"(sleep {word} & setsid sleep {word} & (sleep {word}; true)) & sleep {word}"
    said = place.build(f"RUN {tree}", "--run-timeout", "1", status=20)
    assert "it took longer than 1 s and was ended" in said
    assert not processes(word)


NETWORK = "ip -o link 2>/dev/null | cut -d: -f2 | tr -d ' '; /probe; echo socket $?"


@pytest.mark.parametrize("how", ["--network=none", "--offline"])
def test_without_a_network_there_is_none(unlike, how):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        address = struct.pack("!HH4s8x", 0, port, b"\x7f\0\0\1").replace(b"\0\0", b"\2\0", 1)
        connect = program(call(41, 2, 1, 0), call(42, 3, address, 16))
        unlike.base(PASSWD, file("probe", connect, 0o755))
        assert output_of(unlike.build(f"RUN {NETWORK}"))[-1] == "socket 0"
        flag, options = (how, ()) if how == "--network=none" else ("", (how,))
        said = output_of(unlike.build(f"RUN {flag} {NETWORK}", *options))
    refused = {"socket 111", "socket 9"}  # nobody listens there; no socket, so a bad descriptor
    assert said[-1] in refused
    if unlike.way in NAMESPACED:
        assert said[:-1] == ["lo"]


@pytest.mark.parametrize("lines", [
    "ln -s OUT /c/link; ln -s OUT /c/.hidden",
    "rm -rf /c; ln -s OUT /c",
    "mv /c /d; mkdir /c; ln -s OUT /c/link",
])  # fmt: skip
def test_links_in_a_cache_lead_nobody_out_of_it(unlike, lines):
    unlike.base(PASSWD)
    out = unlike.folder / "out"
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    (out / "canary").write_text(CANARY)
    cache = "RUN --mount=type=cache,target=/c"
    unlike.build(f"{cache} {lines.replace('OUT', str(out))}; true")
    others = [other for other in (unlike.way, "root") if other in WAYS]
    for sandbox in others:
        unlike.way = sandbox
        unlike.build(
            f"{cache} (echo x > /c/link/x; echo x > /c/x; rm -f /c/link/canary /c/canary) "
            "2>/dev/null; true", "--no-cache",
        )  # fmt: skip
    for command in ("df", "prune"):
        subprocess.run([COMMAND, command, "--store", unlike.store], check=True, capture_output=True)
    assert [path.name for path in out.iterdir()] == ["canary"]
    assert (out / "canary").read_text() == CANARY


@pytest.mark.parametrize("way", [WAYS[0], WAYS[-1]])
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("etc", "/../../OUT"), ("etc", "/proc/self/root/etc"), ("etc", "/loop"),
        ("proc", "/tmp"), ("dev", "/../../OUT"), ("tmp", "/../../OUT"), ("sys", "/../../OUT"),
    ],
)  # fmt: skip
def test_folders_that_are_links_out_of_the_root_are_contained(way, name, target):
    with site(way) as place:
        out = place.folder / "out"
        out.mkdir()
        out.chmod(0o777)
        hosts = Path("/etc/hosts").read_bytes(), Path("/etc/resolv.conf").read_bytes()
        led = target.replace("/OUT", str(out))
        place.base(symlink("loop", "loop"), symlink(name, led))
        done = subprocess.run(
            place.command("RUN echo evil > /etc/hosts; echo evil > /tmp/x; true"),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in {0, 20, 21}, done.stderr
        assert "Traceback" not in done.stderr
        assert "this is a bug" not in done.stderr
        assert not list(out.iterdir())
        assert hosts == (Path("/etc/hosts").read_bytes(), Path("/etc/resolv.conf").read_bytes())
        place.check_nothing_is_left()


def test_working_directories_and_mounts_through_links_stay_in_the_root(place):
    out = place.folder / "out"
    out.mkdir()
    out.chmod(0o777)
    place.base(PASSWD, symlink("absolute", str(out)), symlink("up", f"../../../../../{out}"))
    (place.context / "given").write_text("x")
    place.give()
    place.build(
        "WORKDIR /absolute/w\n"
        "RUN echo x > x; pwd -P\n"
        "RUN --mount=type=tmpfs,target=/up/t --mount=type=cache,target=/absolute/c "
        "--mount=type=bind,target=/up/b echo x > /up/t/x; echo x > /absolute/c/x"
    )
    assert not list(out.iterdir())


def test_a_read_only_mount_cannot_be_written_by_any_name(namespaced):
    namespaced.base(PASSWD)
    (namespaced.context / "given").write_text("x")
    namespaced.give()
    namespaced.build("RUN --mount=type=cache,target=/c echo kept > /c/kept")
    said = namespaced.build(
        "RUN --mount=type=cache,target=/c,readonly for f in /c /dev/.sandbox/*; do "
        "(echo x > $f/kept) 2>/dev/null && echo written $f; done; cat /c/kept; ls /dev/.sandbox"
    )
    assert "kept" in output_of(said)
    assert not {"written", "mount-0"} & set(" ".join(output_of(said)).split())


def test_nobody_else_passes_into_unpacked_images_and_caches(place):
    place.base(PASSWD)
    place.build("RUN --mount=type=cache,target=/c true")
    for name in ("trees", "caches"):
        assert (place.store / name).stat().st_mode & 0o777 == 0o700
