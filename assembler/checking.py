"""`check`: a Dockerfile read and planned, not built: its steps, and what is to be said of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from assembler import dockerfile, planning
from assembler.context import open_context
from assembler.errors import BuildError, DockerfileError
from assembler.linting import Finding, lint
from assembler.scope import Arguments, GlobalScope, platform_args
from assembler.stagenames import check_stage_names, is_stored

if TYPE_CHECKING:
    from assembler.request import Request
    from layers.session import Session
    from layers.sources import Wanted


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it. *steps* are the needed stages: what each begins with, and its lines."""

    name: str
    steps: list[tuple[str, list[str]]]
    findings: list[Finding]

    @property
    def failed(self) -> bool:
        """Whether it cannot be built."""
        return any(finding.level == "error" for finding in self.findings)

    def fields(self) -> dict[str, Any]:
        """Return everything, as JSON has it."""
        stages = [{"from": base, "steps": steps} for base, steps in self.steps]
        findings = [asdict(finding) for finding in self.findings]
        return {"dockerfile": self.name, "stages": stages, "findings": findings}

    def lines(self) -> list[str]:
        """Return everything for people."""
        shown = []
        for base, steps in self.steps:
            shown += [f"FROM {base}", *(f"  {step}" for step in steps)]
        for finding in self.findings:
            place = f"{self.name}:{finding.line}"
            shown.append(f"{place}: {finding.level}: {finding.text} ({finding.rule})")
        return shown


def check(request: Request, wanted: Wanted, session: Session) -> Checked:
    """Read and plan; raise `BuildError` where there is no Dockerfile to be read."""
    with open_context(request.context, session) as context:
        file = context.build_file(request.file)
    try:
        parsed = dockerfile.parse(file.text, file.name)
    except DockerfileError as error:
        return Checked(file.name, [], [_error(error)])
    scope = GlobalScope(Arguments(request.arguments), platform_args(wanted.platform))
    steps: list[tuple[str, list[str]]] = []
    found: list[Finding] = []
    try:
        plan = planning.plan(parsed, scope, request.contexts, wanted, request.target)
        check_stage_names(plan, parsed, request.contexts, partial(is_stored, session.store))
        steps = [
            (one.base_name, [_shown(line) for line in one.stage.instructions])
            for one in plan.stages
        ]
    except DockerfileError as error:
        found.append(_error(error))
    except BuildError as error:
        found.append(Finding(parsed.last.from_.location.start, "error", "Target", str(error)))
    return Checked(file.name, steps, [*found, *lint(parsed, scope)])


def _error(error: DockerfileError) -> Finding:
    return Finding(error.line, "error", "Dockerfile", error.message)


def _shown(instruction: dockerfile.Instruction) -> str:
    location = instruction.location
    return f"{location.name}:{location.start} {instruction.keyword}"
