"""How a failure is told: a sentence, or an event for `--progress json`; and its exit status."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeGuard

from assembler.cli import exits
from assembler.dockerfile.redacting import redact
from assembler.errors import AssemblerError
from assembler.memorylimit import memory_limit
from assembler.printable import printable_lines, printable_message
from assembler.views import write_event
from layers.errors import LayersError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer

_JSON_MODES = frozenset({"json", "rawjson"})


class Interrupted(BaseException):
    """A signal that asks the program to end; cleaned up after like any failure."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name)
        self.number = number


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a command ended. *kind* is the error's class, for programs; *message* is for people."""

    status: int
    kind: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return what to tell of *error*."""
        kind = type(error).__name__
        if isinstance(error, Interrupted):
            message = f"stopped by {error}; nothing half made was left behind"
            return cls(exits.SIGNAL_BASE + error.number, kind, message)
        if isinstance(error, AssemblerError | LayersError):
            return cls(exits.status_of(error), kind, str(error))
        if _is_usage(error):
            return cls(exits.USAGE, "UsageError", error.format_message())
        return cls(exits.INTERNAL, kind, _unexpected(error))


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells failures on stderr. It is made from the arguments alone, before any is parsed."""

    as_json: bool
    debug: bool

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Teller:
        """Return the one that *arguments* ask for."""
        debug = not {"--debug", "--debug=true"}.isdisjoint(arguments)
        return cls(_progress_mode(arguments) in _JSON_MODES, debug)

    def tell(self, error: BaseException) -> int:
        """Tell why the command ended; return its exit status."""
        failure = Failure.of(error)
        message = redact(failure.message)
        traced = self._traced(error)
        shown = redact("".join(traceback.format_exception(error))) if traced else ""
        if self.as_json:
            fields = {"status": failure.status, "kind": failure.kind, "message": message}
            write_event(sys.stderr, "error", **fields, **({"traceback": shown} if shown else {}))
        else:
            told = f"golem-assemble: {printable_message(message)}"
            print(f"{printable_lines(shown)}{told}", file=sys.stderr)
        return failure.status

    def _traced(self, error: BaseException) -> bool:
        return self.debug and not (isinstance(error, Interrupted) or _is_usage(error))


def _is_usage(error: BaseException) -> TypeGuard[typer.BadParameter]:
    """Return whether the command line was at fault."""
    # Typer takes longer to import than a signal may have to wait for its handler.
    from assembler.cli.command import USAGE_ERROR

    return isinstance(error, USAGE_ERROR)


def _progress_mode(arguments: Sequence[str]) -> str | None:
    """Return what the last `--progress` among *arguments* says."""
    mode = None
    for word, following in pairwise([*arguments, ""]):
        if word == "--":
            break
        option, equals, value = word.partition("=")
        if option == "--progress":
            mode = value if equals else following
    return mode


def _unexpected(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror} (run again with --debug for where it happened)"
    if isinstance(error, MemoryError):
        return f"there is not enough memory; {memory_limit().source} sets the limit, allow more"
    return (
        f"unexpected {type(error).__name__}: {error}; this is a bug in golem-assemble, please"
        " report it with the output of --debug"
    )
