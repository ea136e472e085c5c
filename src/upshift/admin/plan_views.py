"""What is shown of a plan that was checked, in the API's JSON and on the command line?"""

from pydantic import Field

from upshift.admin.shown import Shown
from upshift.plan_file import Checked, Problem


class ProblemView(Shown):
    """One thing to look at in a plan."""

    severity: str
    """An error keeps a plan from being applied; a warning does not."""
    file: str
    """The file it is in."""
    line: int
    """From 1."""
    column: int
    """From 1."""
    path: str
    """Where in the plan, like workloads.support-chat.gate."""
    value: str
    """What was written; empty for secrets."""
    what: str
    """What is wrong with it."""
    expected: str
    """What would be right."""
    remedy: str
    """What to do."""


class CheckView(Shown):
    """What a check of a plan found."""

    ok: bool
    """Whether it may be applied."""
    hash: str
    """The hash it would have; empty when it is not ok."""
    problems: tuple[ProblemView, ...]
    """Errors and warnings, in the order of the text."""
    not_served: tuple[str, ...] = ()
    """Workloads that are not committed, and therefore not served."""
    lacking: dict[str, tuple[str, ...]] = Field(default={})
    """What the capacity estimate of each of them lacks, in words; those whose estimate is complete are left out."""


def problem_view(problem: Problem) -> ProblemView:
    return ProblemView(
        severity=problem.severity.value,
        file=problem.file,
        line=problem.line,
        column=problem.column,
        path=problem.path,
        value=problem.value,
        what=problem.what,
        expected=problem.expected,
        remedy=problem.remedy,
    )


def check_view(checked: Checked) -> CheckView:
    """Of a plan that may be applied."""
    return CheckView(
        ok=True,
        hash=checked.snapshot.hash,
        problems=tuple(map(problem_view, checked.warnings)),
        not_served=tuple(each.workload for each in checked.not_served),
        lacking={each.workload: each.lacks for each in checked.not_served if each.lacks},
    )
