"""What Docker's command line allows and Click's does not: `--switch=true`, and names to refuse.

Pure: words in, words out. Nothing here knows which command it serves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from assembler.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@dataclass(frozen=True, slots=True)
class Foreign:
    """An option of other builders that this one does not have.

    *advice* says why, and what to do instead. A value of *harmless* asks for what is so anyway:
    with it the option is taken and has no effect.
    """

    advice: str
    switch: bool = False
    harmless: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Syntax:
    """A command's options, by all their names with their dashes."""

    command: str
    switches: frozenset[str]
    valued: frozenset[str]
    foreign: Mapping[str, Foreign] = field(default_factory=dict)


def rewrite(words: list[str], syntax: Syntax) -> list[str]:
    """Return the words as Click reads them; raise `OptionError` for what is refused.

    `--switch=true` becomes `--switch`, and `--switch=false` takes back an earlier `--switch`, as
    pflag has it. Empty values and arguments are refused: they come from unset variables.
    """
    result: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return [*result, word, *(_argument(text, syntax) for text in rest)]
        if word == "-" or not word.startswith("-"):
            result.append(_argument(word, syntax))
            continue
        name, equals, value = _split(word, syntax)
        if name in syntax.foreign:
            _refuse(name, value if equals else None, syntax)
        elif name in syntax.switches and equals:
            result = [kept for kept in result if kept != name] + [name] * _switch(name, value)
        elif name in syntax.valued:
            following = [] if equals else list(islice(rest, 1))
            if equals or following:  # Click itself tells of a value that is missing
                _check_value(name, "".join(following) or value)
            if equals and not word.startswith("--") and word.endswith(f"={value}"):
                word, following = word[: -len(value) - 1], [value]
            result += [word, *following]
        else:
            result.append(word)
    return result


def _split(word: str, syntax: Syntax) -> tuple[str, str, str]:
    """Return an option's name, `=` if it has a value in the same word, and the value.

    Of a cluster of letters (`-qt`) that is the first that takes a value, or is refused.
    """
    if word.startswith("--"):
        option, blank, _ = word.partition("=")[0].partition(" ")
        if blank and option in syntax.valued | syntax.switches:
            raise OptionError(
                f"{word:.80}: an option and its value came as one word; take off the quotes around "
                f"both, or write {option}=VALUE"
            )
        return word.partition("=")
    for place, letter in enumerate(word[1:], 2):
        name = f"-{letter}"
        if name in syntax.valued or name in syntax.foreign:
            return name, "=" if word[place:] else "", word[place:].removeprefix("=")
        if word[place : place + 1] == "=":
            return name, "=", word[place + 1 :]
    return word, "", ""


def _argument(word: str, syntax: Syntax) -> str:
    if not word:
        raise OptionError(
            f"{syntax.command}: an argument is empty; give a value (was it an unset variable?)"
        )
    return word


def _check_value(name: str, value: str) -> None:
    if not value:
        raise OptionError(
            f"{name}: its value is empty; give one (was it an unset variable?), or leave it out"
        )


def _switch(name: str, value: str) -> bool:
    if value not in _TRUE | _FALSE:
        raise OptionError(f"{name}={value:.40}: write {name}, {name}=true or {name}=false")
    return value in _TRUE


def _refuse(name: str, value: str | None, syntax: Syntax) -> None:
    foreign = syntax.foreign[name]
    if foreign.switch and (value is None or value in _TRUE | _FALSE):
        wanted = value is None or value in _TRUE
        if wanted in foreign.harmless:
            return
        name = name if wanted else f"{name}=false"
    elif foreign.harmless and value in _FALSE and False in foreign.harmless:
        return
    raise OptionError(f"{syntax.command}: {name} is not supported: {foreign.advice}")
