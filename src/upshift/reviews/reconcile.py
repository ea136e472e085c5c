"""What did a provider bill that was not recorded, what was recorded and not billed, and what differs?"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import msgspec

from upshift.model.bill import CostLine, Export, Line, RequestLine, UsageLine
from upshift.model.metered import Metered
from upshift.model.span import Instant, show_instant
from upshift.reviews import requests
from upshift.reviews.buckets import SLACK, Buckets
from upshift.reviews.findings import Figures, Finding, Known, Prices, ReconcileError, Report, Tolerance, Verdict, total

DIMENSIONS = ("project", "key", "tier")
"""What the lines of a bill may be narrowed down by."""

Span = tuple[Instant, Instant]


class Reconciliation:
    """A bill, ready to be held against records: give it every record of `span`, in any order, then ask for the report.

    Each record is looked at once and only doubtful ones are kept, so that a month of calls needs no more memory than a
    day.
    """

    def __init__(
        self,
        exports: Sequence[Export],
        name_of: Callable[[Metered], str],
        prices: Prices,
        *,
        now: Instant,
        since: Instant | None = None,
        until: Instant | None = None,
        tolerance: Tolerance | None = None,
        only: Mapping[str, str] | None = None,
    ) -> None:
        """`name_of` gives the provider's own name of the model that served a call.

        Raises ReconcileError for lines that cannot be compared together, or whose time is not known.
        """
        tolerance = tolerance or Tolerance()
        self._warnings = [each for export in exports for each in export.warnings]
        self._complete = self._all_there(exports)
        lines = self._narrowed(self._once(exports), only or {})
        by_request = [line for line in lines if isinstance(line, RequestLine)]
        summed = [line for line in lines if not isinstance(line, RequestLine)]
        if by_request and (summed or any(export.covers for export in exports)):
            raise ReconcileError("bills by request and sums by time are compared one after the other, not together")
        self._matching: requests.Matching | None = None
        self._buckets: list[Buckets] = []
        if by_request:
            self.span = self._begin_requests(by_request, name_of, prices, tolerance, since, until)
        else:
            self.span = self._begin_buckets(exports, summed, name_of, prices, tolerance, since, until, now)

    @property
    def reach(self) -> Span:
        """Where calls may have started that the bill speaks of."""
        return self.span[0] - requests.LONGEST_CALL - SLACK, self.span[1] + SLACK

    def add(self, record: Metered) -> None:
        """Takes one record into account."""
        if self._matching is not None:
            self._matching.add(record)
        for buckets in self._buckets:
            buckets.add(record)

    def report(self) -> Report:
        """What it all comes to."""
        findings, known, matched = list[Finding](), list[Known](), 0
        billed, recorded, warnings = Figures(), Figures(), list(self._warnings)
        if self._matching is not None:
            found = self._matching.done()
            findings, known, matched = found.findings, found.known, found.matched
            billed, recorded = found.billed, found.recorded
            if found.outside:
                warnings.append(
                    "calls that lie across or beyond the first and the last time in the bill, and were not looked for:"
                    f" {found.outside}; say since and until to have them looked for"
                )
        any_costs = any(buckets.has_costs for buckets in self._buckets)
        for buckets in self._buckets:
            came = buckets.done()
            of = {"usage": buckets.has_usage, "costs": buckets.has_costs or not any_costs}
            findings += came.findings
            known += came.known
            billed = _joined(billed, came.billed, **of)
            recorded = _joined(recorded, came.recorded, **of)
            matched += sum(each.verdict is Verdict.MATCHED for each in came.findings)
        return Report(
            since=self.span[0],
            until=self.span[1],
            findings=tuple(sorted(findings, key=lambda each: (each.start or 0, each.model, each.where))),
            matched=matched,
            known=_certain(known),
            billed=billed,
            recorded=recorded,
            complete=self._complete,
            warnings=tuple(warnings),
        )

    # what is in the bill ------------------------------------------------------------------------------------------

    def _all_there(self, exports: Sequence[Export]) -> bool:
        """Whether every page that says it is not the last is followed by another of these files."""
        complete = True
        for export in exports:
            end = max((span[1] for span in export.covers), default=None)
            followed = any(
                each is not export and each.shape is export.shape and end in [span[0] for span in each.covers]
                for each in exports
            )
            if export.more and not followed:
                complete = False
                self._warnings.append(
                    f"{export.name}: the provider has more pages (has_more), which are in none of the files: this is"
                    " not the whole bill"
                )
        return complete

    def _once(self, exports: Sequence[Export]) -> list[Line]:
        """All lines, those that an earlier file has already left out: exports overlap, charges do not."""
        found, seen = list[Line](), dict[bytes, str]()
        for export in exports:
            own = dict[bytes, str]()
            repeated = dict[str, int]()
            for line in export.lines:
                content = msgspec.msgpack.encode((type(line).__name__, msgspec.structs.replace(line, where="")))
                if content in seen:
                    repeated[seen[content]] = repeated.get(seen[content], 0) + 1
                    continue
                own[content] = export.name
                found.append(line)
            seen |= own
            self._warnings += [
                f"{count} lines of {export.name} are in {name} too, and were counted once"
                for name, count in repeated.items()
            ]
        return found

    def _narrowed(self, lines: list[Line], only: Mapping[str, str]) -> list[Line]:
        for dimension, value in only.items():
            if dimension not in DIMENSIONS:
                raise ReconcileError(f"lines have no {dimension}; they have {', '.join(DIMENSIONS)}")
            silent = sum(not getattr(line, dimension) for line in lines)
            if silent:
                self._warnings.append(f"{silent} lines do not say their {dimension}, and were left out")
            lines = [line for line in lines if getattr(line, dimension) == value]
        return lines

    def _begin_requests(
        self,
        lines: list[RequestLine],
        name_of: Callable[[Metered], str],
        prices: Prices,
        tolerance: Tolerance,
        since: Instant | None,
        until: Instant | None,
    ) -> Span:
        named = requests.span_of(lines)
        if named is None and (since is None or until is None):
            raise ReconcileError("the bill names no times; say since and until")
        begin = since if since is not None else named[0] if named else 0
        end = until if until is not None else named[1] if named else 0
        if begin >= end:
            raise ReconcileError("since is not before until")
        kept = [line for line in lines if line.at is None or begin <= line.at < end]
        if len(kept) < len(lines):
            self._warnings.append(f"{len(lines) - len(kept)} lines are not of that time, and were left out")
        self._matching = requests.Matching(kept, name_of, prices, tolerance, (begin, end))
        return begin, end

    def _begin_buckets(
        self,
        exports: Sequence[Export],
        lines: list[UsageLine | CostLine],
        name_of: Callable[[Metered], str],
        prices: Prices,
        tolerance: Tolerance,
        since: Instant | None,
        until: Instant | None,
        now: Instant,
    ) -> Span:
        covers = [span for export in exports for span in export.covers]
        if not covers:
            raise ReconcileError("there is not one bucket in the bill")
        _check(lines, covers)
        spans = list[Span]()
        for width in sorted({end - start for start, end in covers}):
            own = [line for line in lines if line.end - line.start == width]
            here = [span for span in covers if span[1] - span[0] == width]
            span = self._span(here, width, since, until, now)
            if span is None:
                continue
            kept = [line for line in own if span[0] <= line.start < span[1]]
            if len(kept) < len(own):
                self._warnings.append(f"{len(own) - len(kept)} lines are not wholly of that time, and were left out")
            shapes = {export.shape for export in exports for start, end in export.covers if end - start == width}
            self._buckets.append(Buckets(kept, width, span, shapes, name_of, prices, tolerance))
            spans.append(span)
        if not spans:
            raise ReconcileError("no bucket of the bill is over and within that time")
        return min(span[0] for span in spans), max(span[1] for span in spans)

    def _span(
        self, covers: list[Span], width: Instant, since: Instant | None, until: Instant | None, now: Instant
    ) -> Span | None:
        """Whole buckets only, and none that still goes on."""
        first, last = min(start for start, _ in covers), max(end for _, end in covers)
        begin = first if since is None else -(-since // width) * width
        end = last if until is None else until // width * width
        if end > now:
            end = now // width * width
            self._warnings.append(f"what is billed from {show_instant(end)} on is not over yet, and was left out")
        if begin < first or end > last:
            self._warnings.append(
                f"the bill speaks of {show_instant(first)} to {show_instant(last)} only; beyond that, calls are missing"
                " from it"
            )
        return (begin, end) if begin < end else None


def _check(lines: list[UsageLine | CostLine], covers: list[Span]) -> None:
    """Raises ReconcileError for buckets that do not begin where buckets do, or that lie across others."""
    for start, end in covers:
        if end <= start or start % (end - start):
            raise ReconcileError(
                f"{show_instant(start)} to {show_instant(end)} is no minute, hour or day of UTC as buckets are"
            )
    for kind in (UsageLine, CostLine):
        by_width: dict[Instant, list[Span]] = {}
        for line in lines:
            if isinstance(line, kind):
                by_width.setdefault(line.end - line.start, []).append((line.start, line.end))
        spans = sorted((min(each)[0], max(each)[1]) for each in by_width.values())
        if any(one[1] > other[0] for one, other in pairwise(spans)):
            raise ReconcileError("buckets of different lengths overlap: each call would be counted in both")


def _certain(known: list[Known]) -> tuple[Known, ...]:
    """One for each call: two bills together may know the same one, and then have to agree."""
    found: dict[str, Known] = {}
    disputed = set[str]()
    for each in known:
        other = found.setdefault(each.record.request, each)
        if (other.usage, other.nano) != (each.usage, each.nano):
            disputed.add(each.record.request)
    return tuple(each for request, each in found.items() if request not in disputed)


def _joined(one: Figures, other: Figures, *, usage: bool, costs: bool) -> Figures:
    """What buckets of another length add: tokens where their bill is of tokens, money where it is of money."""
    return total(
        [
            one,
            Figures(
                calls=other.calls if usage else None,
                usage=other.usage if usage else None,
                nano=other.nano if costs else None,
                unpriced=other.unpriced if costs else 0,
            ),
        ]
    )
