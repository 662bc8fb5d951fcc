"""What all commands have in common: how their words are read, and options that travel together."""

from __future__ import annotations

import functools
import inspect
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from typer.core import TyperCommand

from assembler.cli.arguments import Syntax, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from assembler.cli.arguments import Foreign


class Command(TyperCommand):
    """A command whose words are read as Docker reads its own (`arguments`)."""

    foreign: Mapping[str, Foreign] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words; while a shell completes them, nothing is refused."""
        if not ctx.resilient_parsing:
            args = rewrite(args, self._syntax(ctx))
        return super().parse_args(ctx, args)

    def _syntax(self, ctx: Any) -> Syntax:
        switches: set[str] = set()
        valued: set[str] = set()
        for parameter in self.get_params(ctx):
            if parameter.param_type_name == "option":
                names = switches if getattr(parameter, "is_flag", False) else valued
                names.update(parameter.opts)
        return Syntax(self.name or "", frozenset(switches), frozenset(valued), self.foreign)


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Show Typer the fields of *function*'s dataclass parameters as options of their own."""
    groups: dict[str, type] = {}
    shown: list[inspect.Parameter] = []
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            shown += _options(hints[name])
        else:
            shown.append(parameter.replace(annotation=hints[name]))

    @functools.wraps(function)
    def command(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        function(**given)

    command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return command


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
