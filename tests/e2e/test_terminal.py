"""What somebody sees on a terminal, through the installed command and a terminal emulator."""

from __future__ import annotations

import os
import re

import pytest
from support.images import oci_layout
from support.layers import file, layer
from support.runs import small_base
from support.terminal import Terminal

MANY = 60
SAID = "it was said by RUN"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An image of many layers, in which commands can run."""
    above = [layer(file(f"etc/layer-{number}", b"x" * 100_000)) for number in range(MANY - 1)]
    return oci_layout(tmp_path_factory.mktemp("many") / "base", [small_base(), *above], {}).path


@pytest.fixture
def build(command, project, tmp_path, base):
    """The command of a build of that image with a RUN, its folder, and its environment."""
    project(f"FROM many\nRUN for n in 1 2 3; do echo $n {SAID}; done\n")
    options = ["--build-context", f"many=oci:{base}", "-o", "x.gvmi", "project"]

    def build(terminal, *more, term="xterm"):
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TERM": term}
        return terminal.run([command, "build", *more, *options], tmp_path, environment)

    return build


def shows(rows, pattern):
    return any(re.search(pattern, row) for row in rows)


def test_the_running_instruction_and_its_output_stay_visible_below_many_layers(build):
    terminal = Terminal(80, 24)
    together = folded = False
    for rows in build(terminal):
        running = shows(rows, r"^\d+\.\d s \[2/2\] RUN for n")
        together |= running and shows(rows, rf"^\[2/2\] \d\.\d 3 {SAID}")
        folded |= running and shows(rows, rf"^{MANY} layers .* 100% ")
        assert sum(row.startswith("layer ") for row in rows) < 12
    assert together
    assert folded
    assert terminal.status == 0
    assert shows(terminal.everything, r"^\[2/2\] RUN for n in 1 2 3; ")
    assert shows(terminal.rows, rf"^{MANY} layers")
    assert shows(terminal.rows, r"^image     x.gvmi")


@pytest.mark.parametrize("size", [(20, 24), (80, 5), (1, 1)])
def test_a_terminal_may_be_narrow_and_low(build, size):
    terminal = Terminal(*size)
    running = False
    for rows in build(terminal):
        running |= shows(rows, r"^\d+\.\d s \[2/2\]")
        assert len(rows) == size[1]
    assert terminal.status == 0
    assert running or size == (1, 1)
    assert not shows(terminal.everything, "Traceback|Error")


def test_a_terminal_may_change_its_size(build):
    terminal = Terminal(100, 40)
    seen = build(terminal)
    next(rows for rows in seen if shows(rows, "layer"))
    terminal.resize(40, 10)
    said = running = False
    for rows in seen:
        said |= shows(rows, rf"^\[2/2\] \d\.\d 3 {SAID}")
        running |= shows(rows, r"^\d+\.\d s \[2/2\] RUN for")
    assert said
    assert running
    assert terminal.status == 0
    assert shows(terminal.rows, r"^image     x.gvmi")


@pytest.mark.parametrize("options", [(), ("--progress", "rich")])
def test_a_dumb_terminal_gets_lines_as_they_come(build, options):
    terminal = Terminal(200, 24)
    for _ in build(terminal, *options, term="dumb"):
        pass
    assert terminal.status == 0
    dated = [row for row in terminal.everything if re.match(r"\d{4}-\d\d-\d\dT[\d:]{8}Z ", row)]
    assert sum("layer " in row for row in dated) == MANY
    assert shows(dated, rf"\[2/2\] \d\.\d 3 {SAID}")
