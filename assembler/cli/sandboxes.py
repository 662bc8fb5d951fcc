"""`sandbox`: the ways to do RUN, and which of them this machine has."""

from __future__ import annotations

from typing import Annotated

import typer

from assembler.cli import options as o
from assembler.cli.command import Command
from assembler.cli.echo import echo, echo_json
from assembler.cli.working import working
from assembler.errors import SandboxError

_EXAMPLES = """\
\b
Examples:
  golem-assemble sandbox
  golem-assemble sandbox --json
"""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(cls=Command, epilog=_EXAMPLES)(sandbox)


def sandbox(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    store: o.Store = None,
    debug: o.Debug = False,
) -> None:
    """Try the sandboxes for RUN, best first; `build` takes the first that works."""
    from assembler.sandbox.ladder import probe_all
    from assembler.sandbox.treearea import TreeArea

    with working(store, o.limits(None), "none") as work:
        probes = probe_all(TreeArea(work.session.store.root))
    works = [probe for probe in probes if probe.rung is not None]
    if as_json:
        echo_json([probe.fields() for probe in probes])
    else:
        for probe in probes:
            mark = "yes" if probe.rung else "no "
            chosen = " (build takes this)" if works and probe is works[0] else ""
            echo(f"{mark}  {probe.name:<9} {probe.about}{chosen}")
            if probe.reason:
                echo(f"     {'':<9} {probe.reason}; {probe.remedy}")
    if not works:
        raise SandboxError("RUN cannot be done here; each line above says what would mend it")
