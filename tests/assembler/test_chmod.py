"""--chmod, compared with chmod(1)."""

from __future__ import annotations

import subprocess

import pytest

from assembler.chmod import Chmod
from assembler.errors import BuildError

SYMBOLS = [
    "u+x", "go-rwx", "a=r", "+x", "u=rwX,go=rX", "g+s", "u+s,o+t", "ug=o", "o=u", "u-w,g+w",
    "a+X", "=", "go=", "g=u-w", "u=rwx,g=u,o=g", "a-x+X",
]  # fmt: skip


@pytest.mark.parametrize("text", SYMBOLS)
@pytest.mark.parametrize("directory", [False, True])
def test_symbols_do_what_chmod_does(text, directory, tmp_path):
    path = tmp_path / "x"
    path.mkdir() if directory else path.touch()
    chmod = Chmod.parse(text)
    assert chmod.made == 0o755
    for mode in (0o644, 0o750, 0o000, 0o777, 0o421):
        path.chmod(mode)
        subprocess.run(["chmod", text, path], check=True, umask=0)
        assert chmod.apply(mode, directory=directory) == path.stat().st_mode & 0o7777, oct(mode)


def test_octal_is_taken_as_it_is():
    assert Chmod.parse("640").apply(0o777, directory=True) == 0o640
    assert Chmod.parse("07777").made == 0o7777


@pytest.mark.parametrize("text", ["8", "10000", "u", "u+q", "x+r", "", "u+r,", "-1", "rw"])
def test_what_is_no_mode_is_refused(text):
    with pytest.raises(BuildError, match="--chmod="):
        Chmod.parse(text)
