# ruff: noqa: E501 - a Dockerfile's line is one line
"""The Dockerfiles of `test_run`, by name, and what their images are other than buildah's in."""

from __future__ import annotations

from support.runs import EVERY_WAY

_FORMS = {
    "shell form": "RUN echo $0 > /x && echo a  b >> /x",
    "exec form": 'RUN ["/bin/touch", "/x y", "$HOME"]',
    "exec form by PATH": 'RUN ["touch", "/x"]',
    "shell": 'SHELL ["/bin/ash", "-euc"]\nRUN echo "$-" | grep -c u > /x',
    "continuations and comments": "RUN echo a \\\n# not this\n  b > /x",
    "quotes": "RUN echo 'a  $HOME' \"b  $HOME\" c\\ \\ d > /x",
}
_SURROUNDINGS = {
    "the environment": 'ENV A="a b" B=$A\nRUN env | grep -v HOSTNAME | sort > /x',
    "arguments": "ARG A=1\nARG B\nARG C=3\nENV C=4\nRUN echo $A-$B-$C-$D > /x",
    "home of a user": "USER me\nRUN echo $HOME > /tmp/x",
    "home of a number": "USER 77\nRUN echo $HOME > /tmp/x",
    "home of an environment": "ENV HOME=/there\nRUN echo ~ > /x",
    "a user by name": "USER me\nRUN id > /tmp/x",
    "a user by number": "USER 1000\nRUN id > /tmp/x",
    "a user who is not there": "USER 77:88\nRUN id -u > /tmp/x && id -g >> /tmp/x",
    "a user and a group": "USER me:staff\nRUN id > /tmp/x",
    "a user has what he makes": "USER me\nWORKDIR /home/me\nRUN mkdir d && touch d/f && ln -s f d/l",
    "a user may not": "USER me\nRUN touch /etc/x || echo no > /tmp/x",
    "root again": "USER me\nRUN touch /tmp/a\nUSER root\nRUN id > /x && touch /tmp/b",
    "a working directory": "WORKDIR /there\nRUN pwd > x",
    "a working directory that is new": "WORKDIR /a/b\nRUN pwd > x && touch ../y",
    "a working directory of a user": "USER me\nWORKDIR /home/me/w\nRUN touch x",
    "umask": "RUN umask > /x && mkdir /d && touch /d/f",
    "input is empty": "RUN cat > /x",
    "the host's name resolves": "RUN grep -c localhost /etc/hosts > /x",
    "devices": "RUN head -c 3 /dev/zero > /x && echo gone > /dev/null && test -e /dev/urandom",
    "proc": "RUN readlink /proc/self/exe > /x && test -r /proc/meminfo",
}
_FILES = {
    "nothing": "RUN true",
    "nothing in a directory that is there": "RUN touch /there/x && rm /there/x",
    "a file and directories": "RUN mkdir -p /a/b/c && echo 1 > /a/b/f && touch /a/b/c/g",
    "a file changed": "RUN echo more >> /there/old",
    "a file replaced": "RUN echo other > /new && mv /new /there/old",
    "a file of the same size": "RUN printf OLD > /there/old",
    "a file removed": "RUN rm /there/old",
    "a file that was opened for writing": "RUN : >> /there/old",
    "a file that was touched": "RUN touch -d @1000000000 /there/old",
    "made and removed": "RUN touch /x\nRUN rm /x",
    "removed and made": "RUN rm /there/old\nRUN echo again > /there/old",
    "a directory removed": "RUN rm -r /there",
    "a directory removed and made": "RUN rm -r /there && mkdir /there && touch /there/new",
    "a directory emptied": "RUN rm -r /there/*",
    "a directory becomes a file": "RUN rm -r /there && echo f > /there",
    "a directory becomes a link": "RUN rm -r /there && ln -s /etc /there",
    "a file becomes a directory": "RUN rm /plain && mkdir /plain && touch /plain/x",
    "there and back": "RUN rm -r /there && touch /there\nRUN rm /there && mkdir -m 700 /there",
    "a link becomes a directory": "RUN rm /out && mkdir /out && touch /out/x",
    "a directory renamed": "RUN mv /there /elsewhere",
    "a directory renamed and made": "RUN mv /there /t && mkdir /there && mv /t/old /there/",
    "a directory renamed twice": "RUN mv /there /t\nRUN mv /t/sub /u && mv /u /t/new",
    "a file renamed": "RUN mv /there/old /there/other",
    "symbolic links": "RUN ln -s old /there/l && ln -s /none /d && ln -s .. /there/sub/up",
    "a link changed": "RUN ln -sfn /etc /out",
    "hard links": "RUN mkdir /d && echo 1 > /d/a && ln /d/a /d/b && ln /d/a /x",
    "hard links to what was there": "RUN ln /plain /there/link",
    "hard links of the base changed": "RUN echo more >> /hard/1",
    "hard links of the base parted": "RUN cp /hard/1 /t && mv /t /hard/2",
    "hard links of the base, one removed": "RUN rm /hard/1",
    "hard links over two steps": "RUN echo 1 > /a && ln /a /b\nRUN ln /b /c\nRUN rm /a",
    "fifos": "RUN mkfifo -m 640 /p && mkdir /d && mkfifo /d/q",
    "setuid and setgid": "RUN cp /bin/busybox /x && chmod 4755 /x && touch /y && chmod 2711 /y",
    "setuid goes with a change of owner": "RUN cp /bin/busybox /x && chmod 6755 /x && chown me /x",
    "setuid after a change of owner": "RUN touch /x && chown me:staff /x && chmod 4750 /x",
    "a sticky directory": "RUN mkdir -m 1777 /d && mkdir -m 2775 /e && touch /e/f",
    "no rights": "RUN echo 1 > /x && chmod 0 /x && mkdir /d && touch /d/f && chmod 0 /d",
    "no rights for a user": "USER me\nRUN cd /tmp && echo 1 > x && chmod 0 x && mkdir -m 0 d",
    "modes of what was there": "RUN chmod 711 /there && chmod 4711 /plain",
    "owners of files": "RUN touch /x && chown 5:6 /x && chown me /plain && chown :staff /there/old",
    "owners of directories": "RUN mkdir /d && chown me:me /d && chown -R 7:8 /there",
    "owners of links": "RUN ln -s x /l && chown -h me:staff /l",
    "owners through links": "RUN ln -s /plain /l && chown me /l",
    "an owner given back": "RUN chown 0:0 /there/sub",
    "owners move along": "RUN mv /there/sub /s && cp -a /s /there/t",
    "an owner over two steps": "RUN touch /x && chown 5 /x\nRUN chown :6 /x\nRUN echo 1 >> /x",
    "large numbers": "RUN touch /x && chown 4000000000:3000000000 /x",
    "a sparse file": "RUN truncate -s 100M /x && echo end >> /x",
    "a big file": "RUN yes 0123456789 | head -c 20000000 > /x",
    "odd names": "RUN mkdir '/a b' && touch '/a b/ ' \"/$(printf 'n\\nl')\" \"/$(printf '\\377')\" '/.wha'",
    "a long name": "RUN touch /$(yes n | head -n 255 | tr -d '\\n')",
    "a deep path": "RUN p=/$(yes name-of-a-folder | head -n 20 | tr '\\n' /) && mkdir -p $p && touch $p/f",
    "what hides in /tmp stays": "RUN echo 1 > /tmp/x",
    "copies between": "RUN mkdir /d\nCOPY a.txt /d/\nRUN cat /d/a.txt > /d/b\nCOPY b.txt /d/b\nRUN rm /d/a.txt",
    "a workdir between": "RUN rm -r /there\nWORKDIR /there/x\nRUN touch y",
}  # fmt: skip
_STAGES = {
    "a stage's result": "RUN echo 1 > /x && chown 5:6 /x\nFROM BASE\nCOPY --from=0 /x /y",
    "a stage upon a stage": "RUN true\nFROM BASE AS one\nRUN echo 1 > /x\nFROM BASE AS no\nRUN false\nFROM one\nRUN cat /x /x > /y",
    "a stage of its own tools": "RUN echo 1 > /x\nFROM scratch\nCOPY --from=0 /bin /bin\nCOPY --from=0 /x /\nRUN cat /x > /y",
    "a directory of a stage": "RUN mkdir /d && touch /d/a && chown me /d /d/a\nFROM BASE\nCOPY --from=0 /d /d",
}  # fmt: skip
_MOUNTS = {
    "the context": "RUN --mount=target=/m,source=dir cp -r /m /x",
    "a file of the context": "RUN --mount=target=/m,source=a.txt cat /m > /x",
    "of a stage": "RUN echo 1 > /s\nFROM BASE\nRUN --mount=from=0,source=/s,target=/m cat /m > /x",
    "a mount may not be written to": "RUN --mount=target=/m touch /m/x || echo no > /x",
    "what is written goes": "RUN --mount=target=/m,rw echo 1 > /m/x\nRUN test ! -e /m/x",
    "tmpfs": "RUN --mount=type=tmpfs,target=/m touch /m/x && grep -c ' /m tmpfs' /proc/mounts > /x",
    "tmpfs over what is there": "RUN --mount=type=tmpfs,target=/there ls -A /there > /x",
    "a cache": "RUN --mount=type=cache,target=/c echo 1 > /c/x\nRUN --mount=type=cache,target=/c cat /c/x > /x",
}  # fmt: skip


def _named(prefix: str, cases: dict[str, str]) -> dict[str, str]:
    return {f"{prefix}: {name}": f"FROM BASE\n{text}\n" for name, text in cases.items()}


CASES: dict[str, str] = {
    **_named("form", _FORMS), **_named("around", _SURROUNDINGS), **_named("files", _FILES),
    **_named("stages", _STAGES), **_named("mount", _MOUNTS),
}  # fmt: skip

BY_COPIES = {
    f"files: {name}"
    for name in (
        "nothing in a directory that is there", "hard links to what was there",
        "hard links of the base changed",
    )
}  # fmt: skip
"""With overlays buildah parts the base's hard links, and takes a directory's time for a change."""

ALONE: dict[str, tuple[str, dict[str, str]]] = {
    "a here-document for the shell": (
        "RUN <<EOF\necho one > /x\nx=2\necho $x >> /x\nEOF",
        {"x": "one\n2\n"},
    ),
    "a script": (
        'RUN <<EOF\n#!/bin/awk -f\nBEGIN { print 6 * 7 > "/x" }\nEOF',
        {"x": "42\n"},
    ),
    "a here-document for a command": (
        "RUN cat > /x <<EOF\na $HOME\nb \\$HOME\nEOF",
        {"x": "a /root\nb $HOME\n"},
    ),
    "a here-document that is not expanded": (
        "RUN cat > /x <<'EOF'\na $HOME\nEOF",
        {"x": "a $HOME\n"},
    ),
    "two here-documents": (
        "RUN cat > /x <<A && cat > /y <<B\n1\nA\n2\nB",
        {"x": "1\n", "y": "2\n"},
    ),
}
"""What buildah 1.28 cannot do: the files that BuildKit makes, and what is in them."""


def rungs_of(name: str) -> tuple[str, ...]:
    """The rungs that a case is tried on: what they have in common is tried on few."""
    kind, _, what = name.partition(": ")
    if kind == "mount":
        return ("root", "recorded", "chroot")
    if kind != "files":
        return ("root", "recorded")
    owners = ("owner", "setuid", "rights", "numbers", "links", "sticky")
    if EVERY_WAY or any(word in what for word in owners):
        return ("root", "ranges", "recorded", "chroot")
    # Turn and turn about: each way has half of them.
    return ("recorded", ("root", "chroot")[len(what) % 2])


_NO_GROUPS = ("tmp/x: size", "tmp/x: sha256")
_LINKS_PART = ("hard/1: links", "hard/2: mtime", "hard/2: size", "hard/2: sha256", "hard/2: links")
DIFFERENT: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "an owner that is copied by a command is root": {
        "files: a directory renamed": {"recorded": (
            "elsewhere: uid 0, not 3", "elsewhere: gid 0, not 4", "elsewhere/old: uid 0, not 3",
            "elsewhere/sub: uid 0, not 5", "elsewhere/sub: gid 0, not 6",
            "elsewhere/sub/f: gid 0, not 6",
        )},
        "files: a directory renamed and made": {"recorded": (
            "t: uid 0, not 3", "t: gid 0, not 4", "t/sub: uid 0, not 5", "t/sub: gid 0, not 6",
            "t/sub/f: gid 0, not 6", "there/old: uid 0, not 3",
        )},
        "files: a directory renamed twice": {"recorded": (
            "t: uid 0, not 3", "t: gid 0, not 4", "t/new: uid 0, not 5", "t/new: gid 0, not 6",
            "t/new/f: gid 0, not 6", "t/old: uid 0, not 3",
        )},
        "files: a file renamed": {"recorded": ("there/other: uid 0, not 3",)},
        "files: owners move along": {"recorded": (
            "s: uid 0, not 5", "s: gid 0, not 6", "s/f: gid 0, not 6", "there/t: uid 0, not 5",
            "there/t: gid 0, not 6", "there/t/f: gid 0, not 6",
        )},
        "files: owners of files": {"recorded": ("there/old: uid 0, not 3",)},
        "files: an owner over two steps": {"recorded": ("x: uid 0, not 5",)},
    },
    "owners of links, pipes and devices are not written down": {
        "files: owners of links": {"recorded": ("l: uid 0, not 1000", "l: gid 0, not 50")},
    },
    "what takes the place of one of several hard links keeps its owner": {
        "files: hard links of the base parted": {"recorded": ("hard/2: uid 9, not 0",)},
    },
    "a user has one group": {
        "around: a user by name": {"recorded": _NO_GROUPS},
        "around: a user by number": {"recorded": _NO_GROUPS},
        "around: a user and a group": {"recorded": _NO_GROUPS},
        "around: root again": {"recorded": ("x: size", "x: sha256")},
    },
    "a user may what root may": {
        "around: a user may not": {"recorded": (
            "tmp/x: missing", "etc/x: unexpected", "etc: mtime", "tmp: mtime",
        )},
    },
    "the environment has APT_CONFIG": {
        "around: the environment": {"recorded": ("x: size", "x: sha256")},
    },
    "hard links of lower layers part when one is changed": {
        "files: hard links of the base changed": dict.fromkeys(("root", "ranges", "recorded"), _LINKS_PART),
    },
    "read-only mounts can be written to": {
        "mount: a mount may not be written to": {"chroot": ("x: missing",)},
    },
    "there is no /proc and nothing is mounted": {
        "mount: tmpfs": {"chroot": ("it fails",)},
    },
    "buildah does it otherwise": {
        # Times of what the build itself makes are never of now.
        "around: a working directory of a user": {"all": ("home/me: mtime",)},
        "files: a workdir between": {"all": ("there: mtime",)},
        "stages: a directory of a stage": {"all": ("d: mtime",)},
        # It leaves out a directory of which the time alone has changed.
        "files: nothing in a directory that is there": {"all": ("there: mtime",)},
        "files: hard links to what was there": {"all": ("plain: links", "there/link: links")},
        # It makes directories and files of its own in an image of nothing.
        "stages: a stage of its own tools": {"all": (
            "dev: missing", "etc: missing", "etc/hostname: missing", "etc/hosts: missing",
            "etc/resolv.conf: missing", "proc: missing", "run: missing", "sys: missing",
            "bin: mtime",
        )},
        # It removes the directory that a tmpfs was mounted on.
        "mount: tmpfs over what is there": {"all": (
            "there: unexpected", "there/old: unexpected", "there/sub: unexpected",
            "there/sub/f: unexpected",
        )},
    },
}  # fmt: skip
"""Why -> case -> rung -> what. Each why is a row of docs/run.md, but for the last."""
