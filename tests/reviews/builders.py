"""What do the tests of bills hold against each other: calls, prices and the lines that bill them?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from upshift.model.bill import CostLine, Export, Line, RequestLine, Shape, UsageLine
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.money import Nano
from upshift.model.span import MICROS, Instant
from upshift.model.tokens import NO_USAGE, Certainty, Usage
from upshift.reviews.findings import Report, Tolerance
from upshift.reviews.reconcile import Reconciliation

DAY, HOUR = 86_400 * MICROS, 3_600 * MICROS
FIRST: Instant = 1_793_491_200 * MICROS
"""2026-11-01T00:00:00Z."""
NOW = FIRST + 20 * DAY
ALL = ("input", "cached", "output")
RATES = {"big": (2_000, 200, 10_000), "small": (200, 100, 1_000)}
"""Nano-dollars for each token of input, cached input and output."""


class Between(TypedDict):
    """The time that is compared."""

    since: Instant
    until: Instant


class Prices:
    """Prices without steps, so that sums cost what their parts do."""

    def knows(self, model: str) -> bool:
        return model in RATES

    def of_call(self, model: str, usage: Usage) -> Nano | None:
        if model not in RATES:
            return None
        plain, cached, output = RATES[model]
        return (usage.input - usage.cached) * plain + usage.cached * cached + usage.output * output

    of_sum = of_call


PRICES = Prices()


def call(number: int, **fields: Any) -> Metered:
    """A served call of `big`, an hour and some minutes into the first day."""
    model = fields.get("served_model", "big")
    usage = fields.get("usage", Usage(input=1000, cached=200, output=100))
    cost = PRICES.of_call(model or "big", usage)
    plain: dict[str, Any] = {
        "request": RequestId(f"up_{number}"),
        "upstream_id": f"req_{number}",
        "started": FIRST + HOUR + number * 60 * MICROS,
        "plan": PlanHash("f" * 64),
        "served_model": model,
        "provider": "openai",
        "usage": usage,
        "cost": cost,
        "counted": cost,
        "counted_tokens": usage.total,
        "latency_us": 2 * MICROS,
    }
    return Metered(**{**plain, **fields})


def lost(number: int, tokens: int = 5000, nano: Nano = 50_000_000, **fields: Any) -> Metered:
    """A call that was cut off by a crash, counted at its hold."""
    plain: dict[str, Any] = {
        "served_model": "",
        "requested_model": "big",
        "provider": "",
        "upstream_id": "",
        "usage": NO_USAGE,
        "cost": None,
        "counted": nano,
        "counted_tokens": tokens,
        "certainty": Certainty.UNKNOWN,
        "outcome": Outcome.LOST,
        "latency_us": 0,
    }
    return call(number, **{**plain, **fields})


def name_of(record: Metered) -> str:
    return record.served_model or record.requested_model


def usage_bill(
    calls: Iterable[Metered], width: Instant = DAY, *, model: bool = True, by_end: bool = False, shift: Instant = 0
) -> list[UsageLine]:
    """The usage report of a provider that counts calls by their start or end, its clock `shift` ahead."""
    found: dict[tuple[Instant, str], list[Metered]] = {}
    for each in calls:
        at = each.started + shift + (each.latency_us if by_end else 0)
        found.setdefault((at // width * width, name_of(each) if model else ""), []).append(each)
    return [
        UsageLine(
            where=f"usage:{number}",
            start=start,
            end=start + width,
            model=name,
            usage=sum((each.usage for each in own), NO_USAGE),
            stated=ALL,
            calls=len(own),
        )
        for number, ((start, name), own) in enumerate(sorted(found.items()), 1)
    ]


def cost_bill(calls: Iterable[Metered], width: Instant = DAY, *, model: bool = True) -> list[CostLine]:
    """The cost report."""
    found: dict[tuple[Instant, str], int] = {}
    for each in calls:
        slot = (each.started // width * width, name_of(each) if model else "")
        found[slot] = found.get(slot, 0) + (each.cost or 0)
    return [
        CostLine(where=f"costs:{number}", start=start, end=start + width, model=name, nano=nano)
        for number, ((start, name), nano) in enumerate(sorted(found.items()), 1)
    ]


def request_bill(calls: Iterable[Metered]) -> list[RequestLine]:
    """The bill by request."""
    return [
        RequestLine(
            where=f"bill:{number}",
            ids=(each.upstream_id,),
            at=each.started + each.latency_us,
            model=name_of(each),
            usage=each.usage,
            stated=ALL,
            nano=each.cost,
        )
        for number, each in enumerate(calls, 1)
    ]


def altered(line: Any, **fields: Any) -> Any:
    """A line with other fields."""
    return msgspec.structs.replace(line, **fields)


def export(lines: Sequence[Line], name: str = "bill", *, more: bool = False) -> Export:
    """A file with these lines."""
    shapes = {UsageLine: Shape.OPENAI_USAGE, CostLine: Shape.OPENAI_COSTS, RequestLine: Shape.PER_REQUEST}
    covers = tuple(dict.fromkeys((each.start, each.end) for each in lines if not isinstance(each, RequestLine)))
    return Export(name, shapes[type(lines[0])], tuple(lines), covers, more)


def compared(
    exports: Sequence[Export] | Sequence[Line],
    records: Iterable[Metered],
    *,
    since: Instant | None = None,
    until: Instant | None = None,
    now: Instant = NOW,
    tolerance: Tolerance | None = None,
    only: Mapping[str, str] | None = None,
) -> Report:
    """The report on a bill (or on the lines of one file)."""
    files = [each for each in exports if isinstance(each, Export)]
    lines = [each for each in exports if not isinstance(each, Export)]
    work = Reconciliation(
        files or [export(lines)], name_of, PRICES, now=now, since=since, until=until, tolerance=tolerance, only=only
    )
    begin, end = work.reach
    for record in records:
        if begin <= record.started < end:
            work.add(record)
    return work.report()
