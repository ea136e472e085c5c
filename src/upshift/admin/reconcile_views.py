"""What is shown of a bill held against the record, in JSON and as CSV?"""

import csv
import io

from upshift.admin.reconciling import Correction, Reconciled
from upshift.admin.reports import harmless
from upshift.admin.shown import Shown
from upshift.admin.views import usd
from upshift.model.budget import Amount
from upshift.model.money import Nano
from upshift.model.span import Instant, show_instant
from upshift.reviews.compare import PARTS
from upshift.reviews.findings import Bounds, Figures, Finding, Verdict


class FiguresView(Shown):
    """One side's figures; null is not said."""

    calls: int | None
    """Calls."""
    input: int | None
    """Input tokens, cached ones and cache writes among them."""
    cached: int | None
    """Cached input tokens."""
    cache_write_5m: int | None
    """Input tokens written to a cache for five minutes."""
    cache_write_1h: int | None
    """Input tokens written to a cache for an hour."""
    output: int | None
    """Output tokens, reasoning among them."""
    reasoning: int | None
    """Reasoning tokens."""
    cost_nano: int | None
    """Money."""
    cost_usd: str | None
    """Money, in US dollars."""
    unpriced_calls: int
    """Calls whose price is not known; they are not in the money."""


class BoundsView(Shown):
    """What the record allows, where it is not sure itself."""

    low_tokens: int
    """At least so many."""
    high_tokens: int | None
    """At most so many; null where that is not known."""
    low_nano: int
    """At least so much."""
    high_nano: int | None
    """At most so much; null where that is not known."""
    unsure_calls: int
    """Calls that are not known for certain."""
    inside: bool
    """Whether what was billed lies within."""


class CauseView(Shown):
    """What the data shows to be the probable cause."""

    why: str
    """Its code, like price or edge."""
    says: str
    """The same in words."""


class FindingView(Shown):
    """One bucket of one model, or one request."""

    verdict: Verdict
    """matched, different, missing-here (billed, not recorded), missing-there (recorded, not billed) or unknown."""
    start: str | None
    """When the bucket or the call began (UTC)."""
    end: str | None
    """When it ended."""
    model: str
    """As billed, else as recorded; empty for all models together."""
    request: str
    """Our id of the call."""
    upstream_id: str
    """The provider's id of the call."""
    tiers: tuple[str, ...]
    """Service tiers in the bill."""
    billed: FiguresView | None
    """What the bill says."""
    recorded: FiguresView | None
    """What the ledger says."""
    stake_plan_nano: int | None
    """Billed minus recorded, at the plan's prices."""
    stake_billed_nano: int | None
    """Billed minus recorded, as billed."""
    bounds: BoundsView | None
    """What the record allows, where it is not sure."""
    causes: tuple[CauseView, ...]
    """Probable causes."""
    where: tuple[str, ...]
    """The lines of the bill."""


class CorrectionView(Shown):
    """A call that was not known for certain, and is by the bill."""

    request: str
    """Our id of the call."""
    tenant: str
    """Whose it was."""
    user: str
    """Whose it was."""
    workload: str
    """What it was for."""
    input: int
    """Its input tokens."""
    output: int
    """Its output tokens."""
    cost_nano: int | None
    """Its cost; null where no price is known."""
    basis: str
    """How that is known: id, only-fit or rest."""
    tokens: int
    """What is to be added to the counters."""
    nano: int
    """What is to be added to the counters."""
    counters: tuple[str, ...]
    """The counters that were charged."""
    why_not: str
    """Why it cannot be written; empty where it can."""
    done: str | None
    """When it was written."""
    where: tuple[str, ...]
    """The lines of the bill."""


class CountView(Shown):
    """How often a verdict was found, and what is at stake."""

    verdict: Verdict
    """Which."""
    count: int
    """Buckets or requests."""
    stake_nano: int
    """As billed where that is known, else at the plan's prices."""


class ReconciledView(Shown):
    """A bill held against the record."""

    provider: str
    """Whose bill."""
    since: str
    """The beginning of what was compared."""
    until: str
    """Its end."""
    ok: bool
    """Whether nothing is different or missing, and the bill is whole."""
    complete: bool
    """Whether the bill is whole."""
    matched: int
    """Buckets or requests that agree."""
    verdicts: tuple[CountView, ...]
    """How often each other verdict was found."""
    billed: FiguresView
    """What the bill says in all."""
    recorded: FiguresView
    """What the ledger says in all; calls that are not known for certain at what they were charged."""
    findings: tuple[FindingView, ...]
    """Every bucket; of a bill by request, those that do not match."""
    corrections: tuple[CorrectionView, ...]
    """Calls that are known after all."""
    warnings: tuple[str, ...]
    """What is to be known about the files."""


def reconciled_view(found: Reconciled) -> ReconciledView:
    report = found.report
    verdicts = tuple(
        CountView(verdict=verdict, count=len(own), stake_nano=sum(each.stake or 0 for each in own))
        for verdict in Verdict
        if verdict is not Verdict.MATCHED
        if (own := [each for each in report.findings if each.verdict is verdict])
    )
    return ReconciledView(
        provider=found.provider,
        since=show_instant(report.since),
        until=show_instant(report.until),
        ok=report.ok,
        complete=report.complete,
        matched=report.matched,
        verdicts=verdicts,
        billed=_figures(report.billed),
        recorded=_figures(report.recorded),
        findings=tuple(map(finding_view, report.findings)),
        corrections=tuple(map(correction_view, found.corrections)),
        warnings=report.warnings,
    )


def finding_view(finding: Finding) -> FindingView:
    return FindingView(
        verdict=finding.verdict,
        start=_moment(finding.start),
        end=_moment(finding.end),
        model=finding.model,
        request=finding.request,
        upstream_id=finding.upstream_id,
        tiers=finding.tiers,
        billed=None if finding.billed is None else _figures(finding.billed),
        recorded=None if finding.recorded is None else _figures(finding.recorded),
        stake_plan_nano=finding.at_plan,
        stake_billed_nano=finding.at_billed,
        bounds=None if finding.bounds is None else _bounds(finding.bounds),
        causes=tuple(CauseView(why=each.why.value, says=each.says) for each in finding.causes),
        where=finding.where,
    )


def correction_view(each: Correction) -> CorrectionView:
    known, amount = each.known, each.known.correction
    record = known.record
    return CorrectionView(
        request=record.request,
        tenant=record.tenant,
        user=record.user,
        workload=record.workload,
        input=known.usage.input,
        output=known.usage.output,
        cost_nano=known.nano,
        basis=known.basis.value,
        tokens=amount.tokens,
        nano=amount.nano,
        counters=tuple(key.path() for key in each.keys),
        why_not=each.why_not,
        done=_moment(each.done),
        where=known.where,
    )


def to_csv(found: Reconciled) -> str:
    """The findings for a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    figures = [f"{side}_{name}" for side in ("billed", "recorded") for name in ("calls", *PARTS, "usd")]
    writer.writerow(
        ["verdict", "start", "end", "model", "request", "upstream_id", *figures, "stake_plan_usd", "stake_billed_usd",
         "causes", "where"]
    )  # fmt: skip
    for each in found.report.findings:
        writer.writerow(
            [
                each.verdict.value,
                _moment(each.start) or "",
                _moment(each.end) or "",
                *map(harmless, (each.model, each.request, each.upstream_id)),
                *_cells(each.billed),
                *_cells(each.recorded),
                _dollars(each.at_plan),
                _dollars(each.at_billed),
                harmless("; ".join(cause.says for cause in each.causes)),
                harmless(", ".join(each.where)),
            ]
        )
    return out.getvalue()


def _cells(side: Figures | None) -> list[object]:
    if side is None:
        return [""] * (len(PARTS) + 2)
    parts = ["" if side.usage is None else getattr(side.usage, part) for part in PARTS]
    return ["" if side.calls is None else side.calls, *parts, _dollars(side.nano)]


def _dollars(nano: Nano | None) -> str:
    return "" if nano is None else usd(nano)


def _figures(side: Figures) -> FiguresView:
    parts = {part: None if side.usage is None else getattr(side.usage, part) for part in PARTS}
    return FiguresView(
        calls=side.calls,
        **parts,
        cost_nano=side.nano,
        cost_usd=None if side.nano is None else usd(side.nano),
        unpriced_calls=side.unpriced,
    )


def _bounds(bounds: Bounds) -> BoundsView:
    high: Amount | None = bounds.high
    return BoundsView(
        low_tokens=bounds.low.tokens,
        high_tokens=None if high is None else high.tokens,
        low_nano=bounds.low.nano,
        high_nano=None if high is None else high.nano,
        unsure_calls=bounds.unsure,
        inside=bounds.inside,
    )


def _moment(at: Instant | None) -> str | None:
    return None if at is None else show_instant(at)
