"""What may administrators add to what is reported of finished work, and what do they see of it?"""

from collections.abc import Mapping
from typing import assert_never

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.moments import past
from upshift.admin.shown import Shown
from upshift.model.feedback import (
    About,
    Delivery,
    Escalation,
    Feedback,
    Operation,
    Quality,
    Reported,
    Source,
    TaskEnded,
)
from upshift.model.span import MICROS, show_instant
from upshift.sources import feedback


class AddedView(Shown):
    """What became of reports that were sent."""

    received: int
    """How many were sent."""
    new: int
    """How many of them were not known already, by kind and id."""


class ReportView(Shown):
    """One report of finished work."""

    kind: str
    """quality, escalation, task, delivery or operation."""
    id: str
    """Its tenant, and what the sender calls it."""
    at: str
    """When it was."""
    tenant: str
    """Whose work it is about; empty for the installation's own."""
    agent: str
    """Whose work, as far as it is said."""
    interface: str
    """Over which interface."""
    workload: str
    """Of which workload."""
    pod: str
    """Of which pod."""
    session: str
    """In which session; joins it to calls."""
    request: str
    """About which call."""
    task: str
    """About which task."""
    says: str
    """What it says, in words."""
    score: float | None
    """Of a quality score, 0 to 1."""
    outcome: str | None
    """Of a task: done, failed or abandoned."""
    failed: bool | None
    """Of a delivery or an operation."""
    violations: tuple[str, ...]
    """Terms of a contract that were broken."""
    source: str
    """caller, admin, otlp, or own: an agent's word on its own work, which is no evidence."""
    by: str
    """Who sent it: a key's id, or a person."""
    received: str
    """When it came."""


class BadReportsError(ActError):
    """Reports of which some cannot be kept, so that none was."""

    def __init__(self, error: feedback.BadFeedbackError) -> None:
        super().__init__(f"nothing was kept:\n{error}", 404 if error.unknown else 400)
        self.faults = error.faults


def add(desk: Desk, actor: Actor, body: bytes) -> AddedView:
    """Keep reports, all of them or none; those that are known already change nothing.

    A tenant's admin may report on its own tenant. Raises BadReportsError with every fault.
    """
    now = desk.now()
    try:
        items = feedback.read(body, now)
        calls = desk.journal.known_calls(feedback.requests(items))
        reports = feedback.attribute(items, calls, actor.tenant, actor.name, Source.ADMIN, now)
    except feedback.BadFeedbackError as error:
        raise BadReportsError(error) from error
    return AddedView(received=len(reports), new=desk.journal.add_feedback(reports))


def listed(
    desk: Desk, actor: Actor, where: Mapping[About, str], since: str = "", until: str = "", limit: int = 100
) -> list[ReportView]:
    """The latest reports that the actor may see, latest first. Raises ValueError for times that are none, ActError."""
    now = desk.now()
    if actor.tenant:
        desk.only_seen(actor, where.get(About.TENANT, actor.tenant))
        where = {**where, About.TENANT: actor.tenant}
    begin = past(since, now) if since else 0
    end = past(until, now) if until else None
    return [_view(each) for each in reversed(desk.journal.feedback(where, begin, end, limit))]


def conditions(pairs: list[str]) -> dict[About, str]:
    """Conditions like 'agent=ada'. Raises ValueError."""
    found: dict[About, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in set(About):
            raise ValueError(f"{pair!r} is not a condition; write it like agent=ada, with one of {', '.join(About)}")
        found[About(name)] = value
    return found


def _view(reported: Reported) -> ReportView:
    record, origin = reported.record, reported.record.origin
    return ReportView(
        kind=str(record.__struct_config__.tag),
        id=record.id,
        at=show_instant(record.at),
        tenant=reported.tenant,
        agent=origin.agent,
        interface=origin.interface,
        workload=origin.workload,
        pod=origin.pod,
        session=origin.session,
        request=origin.request,
        task=origin.task,
        says=_says(record),
        score=record.score if isinstance(record, Quality) else None,
        outcome=record.outcome.value if isinstance(record, TaskEnded) else None,
        failed=record.failed if isinstance(record, Delivery | Operation) else None,
        violations=record.violations if isinstance(record, Delivery) else (),
        source=reported.source.value,
        by=reported.by,
        received=show_instant(reported.received),
    )


def _says(record: Feedback) -> str:
    match record:
        case Quality():
            by = f" by {record.by}" if record.by else ""
            return f"{record.score:g} for {record.rubric or 'quality'}{by}"
        case Escalation():
            return f"handed to {record.to or 'somebody'}" + (f": {record.reason}" if record.reason else "")
        case TaskEnded():
            took = "" if record.started is None else f" after {_seconds(record.at - record.started)}"
            return f"{record.outcome}{took}"
        case Delivery():
            broken = f", broke {', '.join(record.violations)}" if record.violations else ""
            return f"{'failed' if record.failed else 'delivered'} in {_seconds(record.latency_us)}{broken}"
        case Operation():
            tokens = [f"{n:,} {way}" for n, way in ((record.input_tokens, "in"), (record.output_tokens, "out")) if n]
            error = f" with {record.error}" if record.error else ""
            how = f"failed{error}" if record.failed else "done"
            name = f" {record.name}" if record.name else ""
            return f"{record.kind}{name} {how} in {_seconds(record.latency_us)}" + "".join(f", {n}" for n in tokens)
    assert_never(record)


def _seconds(micros: int) -> str:
    return f"{micros / MICROS:,.2f} s"
