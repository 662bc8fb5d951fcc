"""The entry point: signals, the last resort for errors, exit statuses."""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from assembler.cli import exits
from assembler.cli.failure import Interrupted, Teller
from assembler.postponing import ENDING

if TYPE_CHECKING:
    from types import FrameType


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    _open_standard_streams()
    for number in ENDING:
        signal.signal(number, _interrupt)
    if not sys.warnoptions:
        # Those of libraries are for programmers, and no events: fs imports pkg_resources.
        warnings.simplefilter("ignore")
    # Hundreds of thousands of entries are made and kept, in no cycles: looking through them for
    # garbage again and again takes more time than it gives memory back.
    gc.disable()
    status = run(sys.argv[1:])
    for number in ENDING:
        # All is done; while Python takes itself down a signal could only make noise.
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run one command; return its exit status. No traceback is shown without `--debug`."""
    teller = Teller.of(arguments)
    try:
        from assembler.cli import completion
        from assembler.cli.app import app

        # Typer tells what is wrong with the command line, unless an event has to tell it.
        program = partial(
            app, args=arguments, prog_name="golem-assemble", standalone_mode=not teller.as_json
        )
        if completion.VARIABLE in os.environ:
            return completion.answer(program)
        status = program()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else exits.USAGE
    except BrokenPipeError:
        # Whoever read our output has had enough; Python must not complain at its own exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.SIGNAL_BASE + signal.SIGPIPE
    except (Interrupted, Exception) as error:
        return teller.tell(error)
    return status if isinstance(status, int) else exits.OK


def _open_standard_streams() -> None:
    """Open /dev/null for those of the three that came closed (`2>&-`).

    Else the next file that is opened would take the number, and messages would go into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # One signal is enough: another one must not disturb the cleaning up.
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(signal.Signals(number).name, number)
