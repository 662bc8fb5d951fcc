"""What all commands have in common: how their words are read, and options that travel together."""

from __future__ import annotations

import functools
import inspect
import re
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from assembler.cli.arguments import Syntax, rewrite
from assembler.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from assembler.cli.arguments import Foreign


_TYPE = re.compile(r" <[^ ]*>$")
# Typer does not export the common class of what it raises.
USAGE_ERROR: Any = typer.BadParameter.__mro__[2]


class Command(TyperCommand):
    """A command whose words are read as Docker reads its own (`arguments`)."""

    foreign: Mapping[str, Foreign] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words; while a shell completes them, nothing is refused."""
        if not ctx.resilient_parsing:
            args = rewrite(args, self._syntax(ctx))
        return super().parse_args(ctx, args)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the whole sentence: a list of commands that breaks off tells too little."""
        return " ".join((self.help or "").partition("\n\n")[0].split())

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name required arguments as everybody does, without braces."""
        pieces = super().collect_usage_pieces(ctx)
        return [re.sub(r"^\{(.*)\}(\.\.\.)?$", r"\1\2", piece) for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """List arguments and options without the types that Python has for them."""
        rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                name, text = (_TYPE.sub("", record[0]), record[1].removesuffix("  [required]"))
                rows[parameter.param_type_name].append((name, text))
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            if rows[kind]:
                with formatter.section(title):
                    formatter.write_dl(rows[kind])

    def _syntax(self, ctx: Any) -> Syntax:
        switches: set[str] = set()
        valued: set[str] = set()
        for parameter in self.get_params(ctx):
            if parameter.param_type_name == "option":
                names = switches if getattr(parameter, "is_flag", False) else valued
                names.update(parameter.opts)
        return Syntax(self.name or "", frozenset(switches), frozenset(valued), self.foreign)


class Program(TyperGroup):
    """The list of commands, and where to read on."""

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        """Read the program's own options."""
        with _readable():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Find the command, read its words and do it."""
        with _readable():
            return super().invoke(ctx)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Name the documentation's address, as the installed package gives it."""
        formatter.write_paragraph()
        formatter.write_text(f"Documentation: {_documentation()}")


@contextmanager
def _readable() -> Iterator[None]:
    """Make errors printable that Typer shows by itself: they repeat words of the command line."""
    try:
        yield
    except USAGE_ERROR as error:
        error.message = printable(error.message)
        raise


def _documentation() -> str:
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("golem-assemble").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    return named.get("Documentation") or (
        "docs/ in the source, beginning with docs/build.md; every command has --help."
    )


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Show Typer the fields of *function*'s dataclass parameters as options of their own."""
    groups: dict[str, type] = {}
    shown: list[inspect.Parameter] = []
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            shown += _options(hints[name], parameter.kind)
        else:
            shown.append(parameter.replace(annotation=hints[name]))

    @functools.wraps(function)
    def command(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        function(**given)

    vars(command)["__signature__"] = inspect.Signature(shown)  # what `inspect` tells Typer
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return command


def _options(group: Any, kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            kind,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
