"""How is a provider's bill held against the ledger, and how do calls that were lost get their true cost?"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.moments import past
from upshift.model.bill import Export
from upshift.model.budget import Amount, Bucket, BudgetKey
from upshift.model.entry import Adjust, Decision
from upshift.model.ids import TenantId, UserId, WorkloadId
from upshift.model.metered import Metered, Outcome
from upshift.model.money import Nano
from upshift.model.rates import RateCard
from upshift.model.span import MICROS, Instant, Period, Window, period_of
from upshift.model.tokens import Usage
from upshift.plan_file import compile_document
from upshift.reviews.findings import Known, Report, Tolerance, Verdict, canonical
from upshift.reviews.reconcile import Reconciliation
from upshift.sources.recognise import read
from upshift.store.journal import Dimension, Journal
from upshift.traffic import ceilings
from upshift.traffic.price import cost_of
from upshift.traffic.snapshot import Consent, Model, Snapshot, User

RECONCILED = "reconciled"
"""The kind of the decision that a call's cost is known after all; its subject is the request."""

_PAGE = 2_000
_LATE = 3600 * MICROS
"""How far the order in which calls were closed may differ from that of their clocks."""
_ALL = 1_000_000


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be compared. `since` and `until` like 7d or 2026-11-01, empty for what the files speak of."""

    provider: str
    since: str = ""
    until: str = ""
    tolerance: Tolerance = Tolerance()
    only: Mapping[str, str] = {}


class Correction(msgspec.Struct, frozen=True):
    """A call that is known after all, and what that does to its counters.

    `keys` is empty where they cannot be told, and `why_not` says why. `done` is when it was written.
    """

    known: Known
    keys: tuple[BudgetKey, ...]
    why_not: str = ""
    done: Instant | None = None


class Reconciled(msgspec.Struct, frozen=True):
    """The comparison, and what it proposes."""

    provider: str
    report: Report
    corrections: tuple[Correction, ...]


def read_files(files: Sequence[tuple[str, bytes]]) -> list[Export]:
    """The exports in files, by name and content. Raises BadExportError (a ValueError) with every line that is none."""
    return [read(name, data) for name, data in files]


def reconcile(desk: Desk, actor: Actor, exports: Sequence[Export], asked: Asked) -> Reconciled:
    """Hold a bill against the ledger. Nothing is written.

    Raises ActError for a provider that the plan does not have, ReconcileError (a ValueError) for a bill that cannot be
    compared, and ValueError for times that are none.
    """
    desk.only_admin(actor, "reconcile bills")
    plans = Plans(desk.journal, desk.need_snapshot())
    if asked.provider not in plans.present.providers:
        names = ", ".join(sorted(plans.present.providers))
        raise ActError(f"the plan has no provider {asked.provider!r}; it has {names}", 404)
    now = desk.now()
    work = Reconciliation(
        exports,
        plans.upstream_name,
        PlanPrices(plans.present, asked.provider),
        now=now,
        since=past(asked.since, now) if asked.since else None,
        until=past(asked.until, now) if asked.until else None,
        tolerance=asked.tolerance,
        only=asked.only,
    )
    (begin, end), (first, last), seen = work.reach, work.span, 0
    for record in _records(desk.journal, plans, asked.provider, begin):
        if begin <= record.started < end:
            work.add(record)
            seen += first <= record.started < last and record.provider == asked.provider
    report = work.report()
    if any(each.verdict is Verdict.MISSING_HERE for each in report.findings):
        report = _with_dropped(desk.journal, asked.provider, report, seen)
    done = {each.subject: each.at for each in desk.journal.decisions((RECONCILED,), _ALL)} if report.known else {}
    corrections = tuple(_correction(desk, plans, each, done) for each in report.known)
    return Reconciled(asked.provider, report, corrections)


def _with_dropped(journal: Journal, provider: str, report: Report, seen: int) -> Report:
    """Says so where calls of that time are kept as totals only: then what is missing here need not have been."""
    told = journal.usage([], report.since, report.until, {Dimension.PROVIDER: provider})
    dropped = told[0].calls - seen if told else 0
    if dropped <= 0:
        return report
    says = f"{dropped} calls of that time are kept as totals only: what is missing here may be among them"
    return msgspec.structs.replace(report, warnings=(*report.warnings, says))


def correct(desk: Desk, actor: Actor, corrections: Sequence[Correction], reason: str) -> list[Correction]:
    """Write what is proposed: an adjustment of the counters and a decision for each call, once however often asked.

    Returns those that were written now. The gateway takes them in within a second of running.
    """
    desk.only_admin(actor, "adjust what was spent")
    if not reason.strip():
        raise ActError("an adjustment needs a reason")
    written = []
    for each in corrections:
        if each.done is not None or not each.keys:
            continue
        record, amount, at = each.known.record, each.known.correction, desk.now()
        # The adjustment first: if the process dies between the two, asking again writes the decision alone.
        if amount != Amount():
            desk.journal.ask(Adjust(f"reconcile/{record.request}", at, each.keys, amount, actor.name, reason))
        if desk.journal.decide(_decision(each.known, amount, at, actor.name, reason)):
            written.append(msgspec.structs.replace(each, done=at))
    return written


def _decision(known: Known, amount: Amount, at: Instant, by: str, reason: str) -> Decision:
    record = known.record
    return Decision(
        id=f"{RECONCILED}/{record.request}",
        at=at,
        kind=RECONCILED,
        tenant=record.tenant,
        subject=record.request,
        by=by,
        detail={
            "tokens": amount.tokens,
            "nano": amount.nano,
            "input": known.usage.input,
            "output": known.usage.output,
            "cost": known.nano,
            "basis": known.basis.value,
            "where": ", ".join(known.where)[:200],
            "reason": reason,
        },
    )


# which records ----------------------------------------------------------------------------------------------------


class Plans:
    """The plans that records were made under: what they called a model, and what its provider calls it."""

    def __init__(self, journal: Journal, present: Snapshot) -> None:
        self.present = present
        self._documents = {each.hash: each.document for each in journal.plans()}
        self._compiled: dict[str, Snapshot | None] = {present.hash: present}

    def of(self, record: Metered) -> Snapshot | None:
        """The plan of a record; None where it is not kept, or cannot be read by this version."""
        hash_ = record.plan
        if hash_ not in self._compiled:
            document = self._documents.get(hash_)
            try:
                self._compiled[hash_] = None if document is None else compile_document(document.decode())
            except ValueError:
                self._compiled[hash_] = None
        return self._compiled[hash_]

    def model(self, record: Metered) -> Model | None:
        """The model that served a call. One that was lost does not say: it is what it asked for, or was degraded to."""
        plan = self.of(record) or self.present
        if record.served_model:
            return plan.models.get(record.served_model)
        if record.bucket is Bucket.DEGRADED:
            workload = plan.workloads.get(WorkloadId(record.workload))
            models = () if workload is None else workload.substitutes
            return next((each for each in models if each.provider.dialect == record.dialect), None)
        return plan.models.get(record.requested_model)

    def upstream_name(self, record: Metered) -> str:
        """What the provider calls the model of a call."""
        model = self.model(record)
        return (record.served_model or record.requested_model) if model is None else model.upstream_id

    def provider(self, record: Metered) -> str:
        """Whose call it was."""
        if record.provider:
            return record.provider
        model = self.model(record)
        return "" if model is None else model.provider.id


def _records(journal: Journal, plans: Plans, provider: str, begin: Instant) -> Iterator[Metered]:
    """A provider's calls that started at `begin` or later, the latest closed first; and some before it."""
    yield from _pages(journal, {Dimension.PROVIDER: provider}, begin)
    # What was lost does not say who its provider was.
    for record in _pages(journal, {Dimension.OUTCOME: Outcome.LOST.value}, begin):
        if not record.provider and plans.provider(record) == provider:
            yield record


def _pages(journal: Journal, where: Mapping[Dimension, str], begin: Instant) -> Iterator[Metered]:
    before: int | None = None
    while page := journal.calls(where, _PAGE, before):
        for call in page:
            yield call.record
        before = page[-1].seq
        # Calls come in the order in which they were closed: what was closed before it began, started before it too.
        # One that was lost says nothing, since it was closed long after it ended.
        closed = [each.record.started + each.record.latency_us for each in page if _says_when(each.record)]
        if closed and max(closed) < begin - _LATE:
            return


def _says_when(record: Metered) -> bool:
    return record.outcome is not Outcome.LOST


# what it costs ----------------------------------------------------------------------------------------------------


class PlanPrices:
    """The prices of the plan in force, by what the provider calls its models."""

    def __init__(self, plan: Snapshot, provider: str) -> None:
        self._models = {
            canonical(model.upstream_id): model for model in plan.models.values() if model.provider.id == provider
        }

    def knows(self, model: str) -> bool:
        return model in self._models

    def of_call(self, model: str, usage: Usage) -> Nano | None:
        card = self._card(model)
        return None if card is None else cost_of(card, usage)

    def of_sum(self, model: str, usage: Usage) -> Nano | None:
        card = self._card(model)
        return None if card is None else cost_of(RateCard(card.steps[:1], card.source), usage)

    def _card(self, model: str) -> RateCard | None:
        found = self._models.get(model)
        return None if found is None else found.card


# which counters ---------------------------------------------------------------------------------------------------


def _correction(desk: Desk, plans: Plans, known: Known, done: Mapping[str, Instant]) -> Correction:
    record = known.record
    if record.request in done:
        return Correction(known, (), done=done[record.request])
    plan = plans.of(record)
    if plan is None:
        return Correction(known, (), "the plan that it was made under is not kept")
    try:
        keys = _keys(plan, record)
    except LookupError as error:
        return Correction(known, (), str(error.args[0]))
    there = {each.key for each in desk.journal.balances(record.tenant, workload=record.workload)}
    charged = tuple(key for key in keys if key in there)
    return Correction(known, charged, "" if charged else "none of the counters that it was charged to is there")


def _keys(plan: Snapshot, record: Metered) -> tuple[BudgetKey, ...]:
    """The counters that a call was charged to, by its plan. Raises LookupError with why they cannot be told."""
    tenant, workload = plan.tenants.get(TenantId(record.tenant)), plan.workloads.get(WorkloadId(record.workload))
    if tenant is None or workload is None:
        raise LookupError("its tenant or workload is not in the plan that it was made under")
    user = tenant.users.get(UserId(record.user))
    if user is None:
        if tenant.default_tier is None:
            raise LookupError("its user is not in the plan that it was made under")
        user = User(UserId(record.user), tenant.default_tier)
    # Whether a limit was agreed to then is not known: a counter that there is no use of is left out afterwards.
    consent = Consent(tenant.id, workload.id, "", 1)

    def at(moment: Instant) -> Callable[[Window, str], Period]:
        return lambda window, zone: period_of(window, zone, moment)

    def keys(moment: Instant) -> tuple[BudgetKey, ...]:
        claims = ceilings.claims(tenant, user, workload, record.bucket, consent, at(moment))
        return tuple(claim.key for claim in claims)

    found = keys(record.started)
    # A call belongs to the period in which it was admitted, which may be as long after its start as it may wait.
    if found != keys(record.started + int(workload.gate.patience_seconds * MICROS)):
        raise LookupError("it began as a period ended, and may have been charged to either; adjust it by hand")
    return found
