"""`.dockerignore` and lists of patterns like it: Moby's rules.

Later patterns win, `!` takes back, and what holds for a directory holds for what is in it.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from assembler.dockerfile.globs import GlobError, match_deep

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

Matched = tuple[bool, ...]
"""Which rules a path matches, by itself or through a directory that it is in."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern."""

    text: str
    takes_back: bool
    regex: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """Patterns in order."""

    rules: tuple[Rule, ...] = ()
    final: int = 0
    """What so many rules from the beginning on exclude, no later one takes back."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a `.dockerignore`; raise `GlobError` with its line for a malformed pattern."""
        rules: list[Rule] = []
        for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
            if line.startswith("#") or not line.strip():
                continue
            try:
                rules.append(_rule(line.strip()))
            except GlobError as error:
                raise GlobError(f"line {number}: pattern {line.strip()!r}: {error}") from None
        return cls(tuple(rules))

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Self:
        """Return the rules of `--exclude` options; raise `GlobError`."""
        rules: list[Rule] = []
        for pattern in patterns:
            try:
                rules.append(_rule(pattern.strip()))
            except GlobError as error:
                raise GlobError(f"pattern {pattern!r}: {error}") from None
        return cls(tuple(rules))

    @classmethod
    def selecting(cls, pattern: str, exclude: Iterable[str]) -> Self:
        """Return rules that exclude all but *pattern*, and of that what *exclude* says."""
        selection = cls.of(["**", f"!{pattern}"]).rules
        return cls((*selection, *cls.of(exclude).rules), len(selection))

    @property
    def takes_back(self) -> bool:
        """Whether there are exceptions, so that an excluded directory has to be looked into."""
        return any(rule.takes_back for rule in self.rules)

    def match(self, path: str, parent: Matched = ()) -> tuple[bool, Matched]:
        """Return whether *path* is excluded, and what its children have to know.

        *path* is relative, with slashes; *parent* is what this returned for its directory (empty at
        the top).
        """
        found: list[bool] = []
        excluded = left_out = False
        for index, rule in enumerate(self.rules):
            if index == self.final:
                excluded, left_out = False, excluded
            matches = bool(parent and parent[index])
            if not matches and rule.takes_back == excluded:
                matches = rule.regex.fullmatch(path) is not None
            found.append(matches)
            if matches:
                excluded = not rule.takes_back
        return excluded or left_out, tuple(found)

    def reason(self, path: str) -> str | None:
        """Return the pattern that excludes *path*, or `None`."""
        state: Matched = ()
        excluded = False
        names = path.split("/")
        for count in range(1, len(names) + 1):
            excluded, state = self.match("/".join(names[:count]), state)
        if not excluded:
            return None
        return next(
            rule.text
            for rule, matches in reversed(list(zip(self.rules, state, strict=True)))
            if matches and not rule.takes_back
        )


def _rule(text: str) -> Rule:
    takes_back = text.startswith("!")
    pattern = text[1:].strip() if takes_back else text
    if not pattern:
        raise GlobError("there is nothing after the !")
    pattern = posixpath.normpath(pattern)
    # The context is the root: a leading slash means nothing more.
    pattern = pattern.lstrip("/") or "."
    return Rule(text, takes_back, match_deep(pattern))
