"""What `$NAME` means where: the global scope that FROM sees, and a stage's own.

BuildKit's code, not its documentation, decides between ARG and ENV: in a stage, the later
instruction wins for expansion; only ENV goes into the image.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assembler.dockerfile import Budget
from layers.descriptor import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = 16
"""What a name that a stage has from another one costs, in characters."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXY_ARGS = frozenset(name for upper in _PROXIES for name in (upper, upper.lower()))


def platform_args(target: Platform) -> dict[str, str]:
    """Return the predefined `TARGET...` and `BUILD...` arguments."""
    build = Platform.of("linux", platform.machine())
    return {
        f"{prefix}{name}": value
        for prefix, which in (("TARGET", target), ("BUILD", build))
        for name, value in (
            ("PLATFORM", str(which)),
            ("OS", which.os),
            ("ARCH", which.architecture),
            ("VARIANT", which.variant),
        )
    }


def proxy_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies among the build arguments, under both cases of their names.

    Of two cases of one name the lower one counts, as in BuildKit.
    """
    found: dict[str, str] = {}
    for name in sorted(given):
        if name.upper() in _PROXIES and given[name]:
            found |= {name.upper(): given[name], name.lower(): given[name]}
    return found


@dataclass(slots=True)
class Arguments:
    """The build arguments that were given, and which of them somebody declared."""

    given: Mapping[str, str]
    declared: set[str] = field(default_factory=set)

    def value(self, name: str, default: str | None) -> str | None:
        """Return the value of a declared ARG: what was given, else its default."""
        self.declared.add(name)
        return self.given.get(name, default)

    def unused(self) -> list[str]:
        """Return the arguments that were given, but that nothing declares."""
        return sorted(set(self.given) - self.declared - PROXY_ARGS)


@dataclass(slots=True)
class GlobalScope:
    """What FROM sees: predefined platforms and the ARGs before the first FROM."""

    arguments: Arguments
    predefined: Mapping[str, str]
    values: dict[str, str] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    """Of all expansions of the Dockerfile, in stages too."""

    def declare(self, name: str, default: str | None) -> None:
        """Declare a global ARG."""
        value = self.arguments.value(name, default)
        if value is None:
            value = self.predefined.get(name)
        if value is not None:
            self.values[name] = value

    def lookup(self, name: str) -> str | None:
        """Return what `$name` means in FROM."""
        return self.values.get(name, self.predefined.get(name))


@dataclass(slots=True)
class StageScope:
    """What the instructions of one stage see."""

    outer: GlobalScope
    environment: dict[str, str] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    """The stage's ARGs in their order, with their values; empty where there is none."""

    @property
    def budget(self) -> Budget:
        """What the Dockerfile's expansions may still make."""
        return self.outer.budget

    def inherit(self) -> StageScope:
        """Return the scope of a stage that begins with this one: it has its ARGs too."""
        self.budget.spend(_NAME * (len(self.environment) + len(self.declared)))
        return StageScope(self.outer, dict(self.environment), dict(self.declared))

    def declare(self, name: str, default: str | None) -> str | None:
        """Declare an ARG; without a value of its own it takes the global one."""
        value = self.outer.arguments.value(name, default)
        if value is None:
            value = self.outer.lookup(name)
        self.declared[name] = value or ""
        if value is not None:
            self.environment[name] = value
        return value

    def lookup(self, name: str) -> str | None:
        """Return what `$name` means in this stage, here."""
        return self.environment.get(name)
