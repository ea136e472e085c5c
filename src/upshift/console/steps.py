"""What did each step of the request path say of a call, as far as its record tells?"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from upshift.console.shown import words
from upshift.model.metered import Metered, Outcome


class Step(msgspec.Struct, frozen=True):
    """One step of a call's story."""

    name: str
    does: str
    """What it is for, in a few words."""
    says: str
    state: str = "done"
    """done, stopped (it ended here) or skipped."""
    at_ms: float | None = None
    """Milliseconds since the call came in, where the record tells."""


STEPS: Mapping[str, str] = MappingProxyType(
    {
        "accept": "reads the request",
        "identify": "whose key",
        "dispatch": "which workload",
        "police": "may they",
        "route": "which model",
        "gate": "what is left",
        "call": "asks the provider",
        "meter": "counts",
        "answer": "and says so",
    }
)
"""In the order in which calls go through them."""

_STOPS: Mapping[str, str] = MappingProxyType(
    {
        "bad_request": "accept",
        "too_large": "accept",
        "no_route": "accept",
        "stopping": "accept",
        "no_key": "identify",
        "bad_key": "identify",
        "unknown_model": "dispatch",
        "not_allowed": "police",
        "interface_closed": "police",
        "contract_broken": "police",
        "cannot_serve": "route",
        "over_budget": "gate",
        "busy": "gate",
        "pool_full": "gate",
        "ledger_down": "gate",
        "none_open": "call",
    }
)
"""Where a refusal's code is said. Whoever is not known by then was stopped before that."""
_KNOWN_AFTER = (("identify", "tenant"), ("dispatch", "workload"))


def steps(record: Metered) -> list[Step]:
    """The nine steps of a call, those after the one that refused it as skipped but for the answer."""
    stopped = _stop(record) if record.outcome is Outcome.REFUSED else ""
    says, times = dict(_says(record)), _times(record)
    made: list[Step] = []
    past = False
    for name, does in STEPS.items():
        if name == stopped:
            made.append(Step(name, does, words(record.reason) or "refused", "stopped"))
            past = True
        elif past and name != "answer":
            made.append(Step(name, does, "not reached", "skipped"))
        else:
            made.append(Step(name, does, says[name], at_ms=times.get(name)))
    return made


def _stop(record: Metered) -> str:
    for name, has in _KNOWN_AFTER:
        if not getattr(record, has):
            before = _STOPS.get(record.reason, name)
            return before if before == "accept" else name
    return _STOPS.get(record.reason, "gate")


def _says(record: Metered) -> Iterator[tuple[str, str]]:
    yield (
        "accept",
        (
            f"{record.dialect or 'an unknown dialect'}, {'streamed' if record.streamed else 'in one piece'},"
            f" asked for {record.requested_model or 'the workload'}"
        ),
    )
    yield "identify", f"{record.user or 'nobody'} of {record.tenant or 'no tenant'}, by key {record.key or 'none'}"
    pod = f" of pod {record.pod}" if record.pod else ""
    yield "dispatch", f"workload {record.workload}{pod}" if record.workload else "no workload"
    yield "police", "nothing against it"
    yield "route", f"{record.served_model} at {record.provider}" if record.served_model else "nowhere"
    yield "gate", f"{record.bucket.value}: {record.counted_tokens:,} tokens counted"
    yield "call", "it answered" if record.provider else "nothing was sent"
    yield "meter", f"{record.usage.input:,} in, {record.usage.output:,} out, {record.certainty.value}"
    yield "answer", f"status {record.status}" + (f", {words(record.reason)}" if record.reason else "")


def _times(record: Metered) -> dict[str, float]:
    times = {"accept": 0.0, "answer": record.latency_us / 1000}
    if record.provider and record.first_byte_us:
        times["call"] = record.first_byte_us / 1000
    return times
