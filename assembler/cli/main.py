"""The entry point: signals, the last resort for errors, exit statuses."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from assembler.cli import exits
from assembler.errors import AssemblerError
from assembler.postponing import ENDING
from layers.errors import LayersError

if TYPE_CHECKING:
    from types import FrameType


class Interrupted(BaseException):
    """A signal that asks the program to end; cleaned up after like any failure."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    for number in ENDING:
        signal.signal(number, _interrupt)
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
    debug = not {"--debug", "--debug=true"}.isdisjoint(arguments)
    try:
        from assembler.cli import completion
        from assembler.cli.app import app

        program = partial(app, args=arguments, prog_name="golem-assemble", standalone_mode=True)
        if completion.VARIABLE in os.environ:
            return completion.answer(program)
        program()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else exits.USAGE
    except Interrupted as interruption:
        _say(f"stopped by {interruption}; nothing half made was left behind")
        return exits.SIGNAL_BASE + interruption.number
    except BrokenPipeError:
        # Whoever read our output has had enough; Python must not complain at its own exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.SIGNAL_BASE + signal.SIGPIPE
    except (AssemblerError, LayersError) as error:
        if debug:
            traceback.print_exc()
        _say(str(error))
        return exits.status_of(error)
    except Exception as error:
        if debug:
            traceback.print_exc()
        _say(_unexpected(error))
        return exits.INTERNAL
    return exits.OK


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # One signal is enough: another one must not disturb the cleaning up.
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(number)


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror} (run again with --debug for where it happened)"
    return (
        f"unexpected {type(error).__name__}: {error}; this is a bug in golem-assemble, please"
        " report it with the output of --debug"
    )


def _say(text: str) -> None:
    print(f"golem-assemble: {text}", file=sys.stderr)
