"""ext4 can be asked to spread trees; others need not be."""

from __future__ import annotations

import subprocess

from assembler.sandbox.placing import spread


def test_a_directory_is_marked_where_the_file_system_knows_how(tmp_path):
    if spread(tmp_path):
        shown = subprocess.run(["lsattr", "-d", tmp_path], capture_output=True, text=True).stdout
        assert "T" in shown.split()[0]


def test_a_file_system_without_the_mark_is_left_alone():
    assert spread("/proc") is False
