"""The Dockerfiles of `test_conformance`: name -> (text, options ...); BASE is the base image."""

from __future__ import annotations


def _many(prefix: str, head: str, lines: dict[str, str]) -> dict[str, tuple[str, ...]]:
    return {f"{prefix}: {name}": (f"{head}\n{line}\n",) for name, line in lines.items()}


_COPY = {
    "a file to a name": "COPY a.txt /x",
    "a file into a new directory": "COPY a.txt /new/dir/",
    "a file to a name in a new directory": "COPY a.txt /new/dir/name",
    "a file into the working directory": "COPY a.txt .",
    "a file below the working directory": "COPY a.txt sub/",
    "a file relative to a workdir": "WORKDIR /w\nCOPY a.txt x\nCOPY b.txt ./",
    "a file into an existing directory": "COPY a.txt /there",
    "a file over a file": "COPY a.txt /plain",
    "a file through a link": "COPY a.txt /bin/",
    "a file through a link, no slash": "COPY a.txt /bin",
    "a file through a link to a new name": "COPY a.txt /bin/a",
    "a file through an absolute link": "COPY a.txt /out/",
    "two files": "COPY a.txt b.txt /x/",
    "two files to an existing directory": "COPY a.txt b.txt /there/",
    "a directory is its contents": "COPY dir /x",
    "a directory with slashes": "COPY dir/ /x/",
    "a directory to an existing one": "COPY tree /there",
    "a directory into a link": "COPY src /out",
    "two directories": "COPY dir src /x/",
    "a file and a directory": "COPY a.txt dir /x/",
    "an empty directory": "COPY empty /x",
    "an empty directory with a slash": "COPY empty /x/y/",
    "everything": "COPY . /x",
    "everything to the root": "COPY src /",
    "a pattern": "COPY *.txt /x/",
    "a question mark": "COPY ?.txt /x/",
    "a class": "COPY [ab].txt /x/",
    "a negated class": "COPY [^a].txt /x/",
    "a pattern of directories": "COPY s*/*.c /x/",
    "a pattern that meets a directory": "COPY d?r /x/",
    "a pattern that meets one file": "COPY a.t* /x/",
    "a leading slash": "COPY /a.txt /x",
    "dots in the source": "COPY ./dir/../a.txt /x",
    "a hidden file": "COPY dir/.hidden /x",
    "setuid is kept": "COPY suid /x",
    "modes are kept": "COPY run.sh private /x/",
    "hard links": "COPY hard /x/",
    "links inside stay links": "COPY dir /x/",
    "a link is followed": "COPY link /x",
    "a link to a directory is followed": "COPY dirlink /x",
    "below a link to a directory": "COPY dirlink/one /x",
    "names with spaces, as JSON": 'COPY ["with space/f 1", "/x y/"]',
    "chown by number": "COPY --chown=7:8 dir /x/",
    "chown by one number": "COPY --chown=7 a.txt /x",
    "chown by name": "COPY --chown=me a.txt /x",
    "chown by names": "COPY --chown=me:staff dir /x/y/",
    "chown of a directory that is there": "COPY --chown=7:8 tree /there",
    "chmod": "COPY --chmod=640 a.txt /x",
    "chmod of a directory": "COPY --chmod=711 dir/deep /x",
    "the same file twice": "COPY a.txt /x\nCOPY b.txt /x",
    "variables": "ENV d=/dest f=a\nCOPY ${f}.txt $d/",
    "a directory with a dot": "COPY dir/. /x/",
    "dots in the destination": "COPY a.txt /x/../y",
    "slashes in the destination": "COPY a.txt //x//y",
    "one tree over another": "COPY dir /x\nCOPY src /x",
    "a pattern in two components": "COPY */*.c /x/",
    "above the working directory": "WORKDIR /a/b\nCOPY a.txt ../c",
    "whoever the user is": "USER me\nCOPY a.txt /x",
    "several, as JSON": 'COPY ["a.txt", "b.txt", "/x/"]',
    "a source in variables": "ARG d=dir\nCOPY ${d}/one ${d}/two /x/",
    "a file over a dangling name": "COPY a.txt /new\nCOPY b.txt /new",
}
_ADD = {
    "a file": "ADD a.txt /x",
    "a directory": "ADD dir /x/",
    "a tar": "ADD archive.tar /x",
    "a tar with a slash": "ADD archive.tar /x/",
    "a tar to the root": "ADD archive.tar /",
    "gzip": "ADD archive.tar.gz /x/",
    "bzip2": "ADD archive.tar.bz2 /x/",
    "xz": "ADD archive.tar.xz /x/",
    "a tar into an existing directory": "ADD archive.tar /there",
    "a tar with an owner": "ADD --chown=7:8 archive.tar /x/",
    "a pattern": "ADD *.txt /x/",
}
_CONFIG = {
    "env": "ENV a=1 b=2",
    "env, the old way": "ENV a some words",
    "env with quotes": "ENV a=\"x y\" b='c d' c=e\\ f",
    "env over the base's": "ENV GIVEN=x\nENV c=$GIVEN",
    "env sees the line before": "ENV a=1\nENV a=2 b=$a",
    "env with defaults": "ENV a=${none:-d} b=${GIVEN:+s} c=${none:-} d=${GIVEN:-x}",
    "label": 'LABEL a=b c="d e"',
    "label, the old way": "LABEL a b",
    "label over the base's": "LABEL from=here",
    "workdir": "WORKDIR /w",
    "workdirs chain": "WORKDIR /w\nWORKDIR x/y\nWORKDIR ../z",
    "workdir through a link": "WORKDIR /bin/w",
    "workdir with a variable": "ENV d=w\nWORKDIR /$d/${d}x",
    "workdir of a base": "WORKDIR x",
    "workdir that is there": "WORKDIR /there",
    "volume": "VOLUME /v",
    "volumes": "VOLUME /v /w",
    "volumes as JSON": 'VOLUME ["/v", "/w"]',
    "user": "USER me",
    "user and group": "USER 5:6",
    "cmd": 'CMD ["a", "b"]',
    "cmd in shell form": "CMD a b",
    "cmd that is no JSON": "CMD ['a']",
    "entrypoint": 'ENTRYPOINT ["a"]',
    "entrypoint in shell form": "ENTRYPOINT a $b",
    "entrypoint after cmd": 'CMD ["x"]\nENTRYPOINT ["a"]',
    "cmd after entrypoint": 'ENTRYPOINT ["a"]\nCMD ["x"]',
    "shell": 'SHELL ["/bin/bash", "-c"]',
    "stopsignal": "STOPSIGNAL SIGUSR1",
    "stopsignal by number": "STOPSIGNAL 9",
    "expose": "EXPOSE 80 443/tcp 53/udp",
    "onbuild": "ONBUILD ENV a=b\nONBUILD USER me",
    "arg": "ARG a=1\nENV b=$a",
    "arg with env": "ARG a=1\nENV a=2\nENV b=$a",
    "arg that the base has in its environment": "ARG none\nENV b=x$none",
    "comments and continuations": "# c\nENV a=1 \\\n# inside\n  b=2\n\n",
    "an escaped dollar": "ENV a=\\$GIVEN b='$GIVEN' c=\"$GIVEN\"",
    "maintainer": "MAINTAINER me",
    "healthcheck": "HEALTHCHECK --interval=5s --timeout=3s --retries=2 CMD test x",
    "healthcheck in exec form": 'HEALTHCHECK CMD ["test", "x"]',
    "no healthcheck": "HEALTHCHECK NONE",
    "env upon itself": "ENV LAST=/x:$PATH\nENV LAST=/y:$LAST",
    "env in many lines": 'ENV a=1 \\\n    b=2 \\\n    c="$GIVEN"',
    "arg upon arg": "ARG a=1\nARG b=${a}2\nENV c=$b",
    "user in a variable": "ENV u=me\nUSER $u",
    "volume in a variable": "ENV v=/home\nVOLUME $v",
    "stopsignal in a variable": "ENV s=SIGINT\nSTOPSIGNAL $s",
    "expose in a variable": "ENV p=80\nEXPOSE $p",
    "workdir that is the root": "WORKDIR /",
    "cmd twice": 'CMD ["a"]\nCMD ["b"]',
    "label with quotes": 'LABEL a=\'it is "x"\' b="y\'s"',
    "lower case": "env a=1\nworkdir /w\nCopy a.txt /x",
}
_STAGES = {
    "copy from a stage": (
        "FROM BASE AS one\nCOPY --chown=7:8 dir /made/\nFROM BASE\nCOPY --from=one /made /x/",
    ),
    "copy from a stage by number": (
        "FROM scratch\nCOPY a.txt /\nFROM BASE\nCOPY --from=0 /a.txt /x",
    ),
    "copy from an image": ("FROM scratch\nCOPY --from=BASE /etc /usr/bin/tool /x/",),
    "copy a link of a stage": ("FROM scratch\nCOPY --from=BASE /bin/tool /x",),
    "copy a tree with a link": ("FROM scratch\nCOPY --from=BASE / /",),
    "copy with owners from a stage": ("FROM scratch\nCOPY --from=BASE /home /home/",),
    "from a stage": ("FROM BASE AS one\nENV a=1\nCOPY a.txt /x\nFROM one\nCOPY b.txt /y",),
    "a stage that is not needed": ("FROM none.example/x AS no\nFROM BASE\nENV a=1",),
    "a target": ("FROM BASE AS one\nENV a=1\nFROM BASE\nENV b=2", "--target=one"),
    "a target by number": ("FROM BASE\nENV a=1\nFROM BASE\nENV b=2", "--target=0"),
    "an arg in from": ("ARG image=BASE\nFROM $image\nENV a=1",),
    "a global arg": ("ARG v=1\nFROM BASE\nARG v\nENV a=$v",),
    "a global arg is not seen": ("ARG v=1\nFROM BASE\nENV a=x$v",),
    "a build argument": ("FROM BASE\nARG v=1\nENV a=$v", "--build-arg=v=2"),
    "a build argument for a global one": (
        "ARG v=1\nFROM BASE\nARG v\nENV a=$v",
        "--build-arg=v=2",
    ),
    "a platform argument": (
        "FROM BASE\nARG TARGETARCH\nARG TARGETOS\nENV a=$TARGETOS/$TARGETARCH",
    ),
    "three stages in a row": (
        "FROM BASE AS a\nCOPY a.txt /1\nFROM a AS b\nCOPY --from=a /1 /2\nFROM b\n"
        "COPY --from=b /2 /3",
    ),
    "copy a pattern from a stage": (
        "FROM BASE AS a\nCOPY dir /d/\nFROM scratch\nCOPY --from=a /d/o* /x/",
    ),
    "scratch": ("FROM scratch\nCOPY a.txt /",),
    "label by option": ("FROM BASE\nLABEL a=b", "--label=c=d", "--label=a=x"),
    "an argument of a stage ends with it": (
        # One that begins with `one` has its arguments in BuildKit, in buildah it has not.
        "FROM BASE AS one\nARG v=1\nENV a=$v\nFROM BASE\nENV b=x$v",
    ),
    "stages share nothing": (
        "FROM BASE AS one\nCOPY a.txt /x\nFROM BASE AS two\nCOPY b.txt /x\nFROM one\n"
        "COPY --from=two /x /y",
    ),
}
_IGNORE = {
    "ignore: a directory": ("FROM scratch\nCOPY . /x/", "dir\nsrc\nsuid\n"),
    "ignore: a pattern": ("FROM scratch\nCOPY . /x/", "*.txt\nsuid\n"),
    "ignore: everywhere": ("FROM scratch\nCOPY . /x/", "**/*.c\n**/one\nsuid\n"),
    "ignore: all but": ("FROM scratch\nCOPY . /x/", "*\n!a.txt\n!dir/deep\n"),
    "ignore: back again": ("FROM scratch\nCOPY . /x/", "dir\n!dir/one\ndir/o*\nsuid\n"),
    "ignore: comments": ("FROM scratch\nCOPY . /x/", "# dir\n\n/a.txt\n./b.txt\nsuid\n"),
    "ignore: the rest": ("FROM scratch\nCOPY dir /x/", "dir/deep\n"),
    "ignore: below": ("FROM scratch\nCOPY dir /x/", "*/one\n"),
}

CASES: dict[str, tuple[str, ...]] = {
    **_many("copy", "FROM BASE", _COPY),
    **_many("add", "FROM BASE", _ADD),
    **_many("config", "FROM BASE", _CONFIG),
    **{f"stages: {name}": case for name, case in _STAGES.items()},
    **{name: (text,) for name, (text, _) in _IGNORE.items()},
}
IGNORE = {name: ignore for name, (_, ignore) in _IGNORE.items()}
_SETUID = "BuildKit keeps setuid bits of the context's files"
_VOLUME = "BuildKit changes the config alone; in a .gvmi the directories are made all the same"
DIFFERENT: dict[str, tuple[str, tuple[str, ...]]] = {
    "copy: setuid is kept": (_SETUID, ("x/s: mode 0o4755, not 0o755",)),
    "copy: everything": (_SETUID, ("x/suid/s: mode 0o4755, not 0o755",)),
    "copy: chmod of a directory": (
        "in BuildKit --chmod holds for the directories that COPY makes",
        ("x: mode 0o711, not 0o755",),
    ),
    "add: a tar with an owner": (
        "in BuildKit --chown holds for what is in an archive",
        tuple(
            f"x/{name}: {field}"
            for name in ("in", "in/f", "in/h", "in/l")
            for field in ("uid 7, not 11", "gid 8, not 12")
        ),
    ),
    "config: volume": (_VOLUME, ("v: missing",)),
    "config: volumes": (_VOLUME, ("v: missing", "w: missing")),
    "config: volumes as JSON": (_VOLUME, ("v: missing", "w: missing")),
}
"""What BuildKit does otherwise than buildah: why, and what the comparison says of it."""

ALONE: dict[str, tuple[str, tuple[str, ...]]] = {
    "a here-document": (
        "FROM BASE\nCOPY <<EOF /x\nhello $GIVEN\nEOF",
        ("x 644 0:0 hello base\\n",),
    ),
    "a quoted here-document": (
        "FROM BASE\nCOPY <<'EOF' /x\nhello $GIVEN\nEOF",
        ("x 644 0:0 hello $GIVEN\\n",),
    ),
    "two here-documents": (
        "FROM BASE\nCOPY <<a <<b /x/\n1\na\n2\nb",
        ("x/ 755 0:0", "x/a 644 0:0 1\\n", "x/b 644 0:0 2\\n"),
    ),
    "a here-document with tabs": (
        "FROM BASE\nCOPY --chmod=600 <<-EOF /x\n\tindented\n\tEOF",
        ("x 600 0:0 indented\\n",),
    ),
    "a here-document by ADD": (
        "FROM BASE\nADD --chown=7:8 <<EOF /x\ntext\nEOF",
        ("x 644 7:8 text\\n",),
    ),
    "a here-document and a file": (
        "FROM BASE\nCOPY a.txt <<n /x/\n1\nn",
        ("x/ 755 0:0", "x/a.txt 644 0:0 a", "x/n 644 0:0 1\\n"),
    ),
    "link": ("FROM BASE\nCOPY --link a.txt /l/x", ("l/ 755 0:0", "l/x 644 0:0 a")),
    "a stage's name in another case": (
        "FROM BASE AS One\nCOPY a.txt /x\nFROM ONE",
        ("x 644 0:0 a",),
    ),
    "an escaped pattern": ("FROM BASE\nCOPY odd[[]x]/* /x/", ("x/ 755 0:0", "x/f 644 0:0 o")),
    "symbolic modes": (
        "FROM BASE\nCOPY --chmod=u=rwX,go=rX,g+s dir/deep /x",
        ("x/ 755 0:0", "x/er/ 2755 0:0", "x/er/three 2644 0:0 333"),
    ),
    "exclude": (
        "FROM BASE\nCOPY --exclude=deep --exclude=*o --exclude=.* dir /x/",
        ("x/ 755 0:0", "x/dangling 777 0:0 -> nowhere", "x/one 644 0:0 1",
         "x/up 777 0:0 -> ../a.txt"),
    ),
    "exclude, and take back": (
        "FROM BASE\nCOPY --exclude=** --exclude=!deep/er/three dir /x/",
        ("x/ 755 0:0", "x/deep/ 750 0:0", "x/deep/er/ 755 0:0", "x/deep/er/three 644 0:0 333"),
    ),
    "parents": (
        "FROM BASE\nCOPY --parents src/*.c dir/deep /x/",
        ("x/ 755 0:0", "x/dir/ 755 0:0", "x/dir/deep/ 750 0:0", "x/dir/deep/er/ 755 0:0",
         "x/dir/deep/er/three 644 0:0 333", "x/src/ 755 0:0", "x/src/main.c 644 0:0 int x;",
         "x/src/util.c 644 0:0 int y;"),
    ),
    "parents with a pivot": (
        "FROM BASE\nCOPY --parents dir/./deep/er/three /x/",
        ("x/ 755 0:0", "x/deep/ 750 0:0", "x/deep/er/ 755 0:0", "x/deep/er/three 644 0:0 333"),
    ),
    "add without unpacking": (
        "FROM BASE\nADD --unpack=false --chmod=600 a.txt /x",
        ("x 600 0:0 a",),
    ),
    "a named folder": ("FROM BASE\nCOPY --from=other f /x", ("x 644 0:0 other",)),
    "patterns in variables": (
        "FROM BASE\nENV f=a.tar.gz\nCOPY a.txt /${f%.*}-${f%%.*}-${f#*.}-${f##*.}",
        ("a.tar-a-tar.gz-gz 644 0:0 a",),
    ),
    "a pattern below a directory": (
        "FROM BASE\nCOPY dir/o* /y/",
        ("y/ 755 0:0", "y/one 644 0:0 1"),
    ),
    "defaults without a colon": (
        "FROM BASE\nENV e=\nCOPY a.txt /x${none-1}${e-2}${e+3}",
        ("x13 644 0:0 a",),
    ),
    "a tree over a link is no tree": (
        "FROM BASE\nCOPY tree/sub /bin",
        ("usr/bin/new 644 0:0 n",),
    ),
}  # fmt: skip
"""What buildah 1.28 cannot do: the entries that are there besides the base's."""

BAD = {
    "a file that is not there": ("FROM scratch\nCOPY none /x", "nothing of that name"),
    "a pattern without matches": ("FROM scratch\nCOPY *.none /x/", "nothing in .* matches"),
    "an unknown instruction": ("FROM scratch\nCOPPY a b", "COPPY"),
    "an unknown user": ("FROM BASE\nCOPY --chown=nobody9 a.txt /x", "not in the image's"),
    "a stage that does not come before": ("FROM scratch\nCOPY --from=3 a /x", "no stage"),
    "no from": ("ENV a=b\n", "FROM"),
    "a directory over a file": ("FROM BASE\nCOPY dir /plain", "not a directory"),
    "an unclosed brace": ("FROM BASE\nENV a=${b", "ENV"),
}
