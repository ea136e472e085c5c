"""What is reported of finished work: JSON or JSON lines to records, or every item that is not one."""

from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

import msgspec

from upshift.model.feedback import (
    Delivery,
    Escalation,
    Feedback,
    Operation,
    Origin,
    Quality,
    Reported,
    Source,
    TaskEnded,
    TaskOutcome,
)
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.model.span import MICROS, Instant
from upshift.sources.fields import DAY, Fault, Faults, Fields

MOST_ITEMS = 10_000
MOST_BYTES = 8 * 1024 * 1024
SKEW = 5 * 60 * MICROS
"""How far ahead of ours the clock of whoever reports may be."""
OLDEST_DAYS = 400

_LONGEST_NAME, _LONGEST_TEXT = 200, 2_000
_LONGEST_HEADER = 128
"""So much of a session and an agent is kept of a call, and so it has to be here, or they would not be joined."""
_MOST_TERMS = 50
_MOST_SECONDS = 30 * 86_400
_MOST_SHOWN = 20

_ABOUT = ("request", "session", "agent", "interface", "workload", "pod", "task")
_COMMON = frozenset(("kind", "id", "at", "tenant", *_ABOUT))


class BadFeedbackError(ValueError):
    """Reports of which some cannot be kept, so that none was; every fault, with the place of its item.

    `unknown`: nothing is wrong but that they are about calls or tenants that are not known.
    """

    def __init__(self, faults: Sequence[Fault], *, unknown: bool = False) -> None:
        shown = [str(each) for each in faults[:_MOST_SHOWN]]
        if len(faults) > _MOST_SHOWN:
            shown.append(f"and {len(faults) - _MOST_SHOWN} more")
        super().__init__("\n".join(shown))
        self.faults = tuple(faults)
        self.unknown = unknown


class Item(msgspec.Struct, frozen=True):
    """One report as it was sent. Its id is what the sender calls it; `where` is its place among the others."""

    where: str
    tenant: str
    record: Feedback


class _Reader(Fields):
    """One item's values."""

    def name(self, field: str, *, required: bool = False) -> str:
        return self._checked(field, _LONGEST_NAME, str.isprintable, required=required)

    def said(self, field: str) -> str:
        """What a person wrote, maybe in several lines."""
        return self._checked(field, _LONGEST_TEXT, _readable, required=False)

    def _checked(self, field: str, longest: int, good: Callable[[str], bool], *, required: bool) -> str:
        found = self.text(field)
        if len(found) > longest or not good(found) or (required and not found and not self._odd(field)):
            self.refuse(field, f"a text of at most {longest} printable characters")
            return ""
        return found

    def _odd(self, field: str) -> bool:
        """Whether it was refused already, for it is no text at all."""
        found = self.get(field)
        return found is not None and not isinstance(found, str)

    def number(self, field: str, most: float, expected: str, *, required: bool = False) -> float:
        found = self.get(field)
        if found is None and not required:
            return 0.0
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= most:
            self.refuse(field, expected)
            return 0.0
        return float(found)

    def flag(self, field: str) -> bool:
        found = self.get(field)
        if found is not None and not isinstance(found, bool):
            self.refuse(field, "true or false")
        return found is True

    def terms(self, field: str, *, required: bool) -> tuple[str, ...]:
        """Names of the terms that were broken."""
        found = self.get(field)
        listed = found if isinstance(found, list) else [] if found is None else [found]
        good = [each for each in listed if isinstance(each, str) and each.isprintable() and 0 < len(each) <= 200]
        if len(good) != len(listed) or len(listed) > _MOST_TERMS or (required and not listed):
            self.refuse(field, f"a list of at most {_MOST_TERMS} names of terms")
            return ()
        return tuple(good)

    def when(self, field: str, now: Instant) -> Instant | None:
        """A time that may be; None where nothing is said."""
        if self.get(field) is None:
            return None
        before = len(self.faults.found)
        found = self.moment(field)
        if len(self.faults.found) == before and not now - OLDEST_DAYS * DAY <= found <= now + SKEW:
            self.refuse(field, f"a time in the last {OLDEST_DAYS} days by our clock")
        return found


_Read = Callable[[_Reader, str, Instant, Origin], Feedback]


def _quality(item: _Reader, id_: str, at: Instant, origin: Origin) -> Feedback:
    score = item.number("score", 1, "a number from 0 to 1; scale it before it is sent", required=True)
    return Quality(id_, at, origin, score, item.name("by"), item.name("rubric", required=True))


def _escalation(item: _Reader, id_: str, at: Instant, origin: Origin) -> Feedback:
    return Escalation(id_, at, origin, item.name("to"), item.said("reason"))


def _task(item: _Reader, id_: str, at: Instant, origin: Origin) -> Feedback:
    said = item.text("outcome")
    if said not in set(TaskOutcome):
        item.refuse("outcome", " or ".join(TaskOutcome))
    started, ended = item.when("started", at), item.when("ended", at)
    ended = at if ended is None else ended
    if started is not None and started > ended:
        item.refuse("started", "a time before its end")
    outcome = TaskOutcome(said) if said in set(TaskOutcome) else TaskOutcome.DONE
    task = origin if origin.task else msgspec.structs.replace(origin, task=id_)
    return TaskEnded(id_, ended, task, outcome, started)


def _delivery(item: _Reader, id_: str, at: Instant, origin: Origin) -> Feedback:
    seconds = item.number("seconds", _MOST_SECONDS, "a number of seconds, 0 or more")
    terms = item.terms("violations", required=False)
    return Delivery(id_, at, _over_an_interface(item, origin), int(seconds * MICROS), item.flag("failed"), terms)


def _violation(item: _Reader, id_: str, at: Instant, origin: Origin) -> Feedback:
    return Delivery(id_, at, _over_an_interface(item, origin), violations=item.terms("terms", required=True))


def _over_an_interface(item: _Reader, origin: Origin) -> Origin:
    if not origin.interface and item.get("interface") is None:
        item.refuse("interface", "the interface over which the message went")
    return origin


_KINDS: Mapping[str, tuple[frozenset[str], _Read]] = {
    "quality": (frozenset(("score", "rubric", "by")), _quality),
    "escalation": (frozenset(("to", "reason")), _escalation),
    "task": (frozenset(("outcome", "started", "ended")), _task),
    "delivery": (frozenset(("seconds", "failed", "violations")), _delivery),
    "violation": (frozenset(("terms",)), _violation),
}


def read(body: bytes, now: Instant) -> tuple[Item, ...]:
    """The reports in a JSON list, one JSON object, or JSON lines. Raises BadFeedbackError with every fault."""
    faults = Faults()
    items = [_item(fields, now) for fields in _objects(body, faults)]
    if faults.found:
        raise BadFeedbackError(faults.found)
    return tuple(item for item in items if item is not None)


def _objects(body: bytes, faults: Faults) -> list[_Reader]:
    if len(body) > MOST_BYTES:
        faults.add("the body", f"{len(body):,} bytes", f"at most {MOST_BYTES:,} bytes; send several")
        return []
    found: list[tuple[str, object]]
    try:
        whole = msgspec.json.decode(body)
        found = [(f"[{at}]", each) for at, each in enumerate(whole)] if isinstance(whole, list) else [("[0]", whole)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if body.lstrip()[:1] == b"[":
            faults.add("the body", body[:20].decode(errors="replace"), f"JSON ({error})")
            return []
        found = list(_lines(body, faults))
    if len(found) > MOST_ITEMS:
        faults.add("the body", f"{len(found):,} items", f"at most {MOST_ITEMS:,} items; send several")
        return []
    readers = []
    for where, each in found:
        if isinstance(each, dict):
            readers.append(_Reader(each, where, faults))
        else:
            faults.add(where, each, "an object")
    if not found and not faults.found:
        faults.add("the body", None, "one report at least")
    return readers


def _lines(body: bytes, faults: Faults) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if line.strip():
            try:
                found.append((f"line {number}", msgspec.json.decode(line)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                faults.add(f"line {number}", line[:20].decode(errors="replace"), f"JSON ({error})")
    return found


def _item(item: _Reader, now: Instant) -> Item | None:
    said = item.text("kind")
    known = _KINDS.get(said)
    if known is None:
        item.refuse("kind", " or ".join(_KINDS))
        return None
    fields, reader = known
    for odd in sorted(item.values.keys() - fields - _COMMON):
        item.faults.add(f"{item.where}.{odd[:40]}", item.values[odd], f"a field of {said}; it has {_list(fields)}")
    id_, at = item.name("id", required=True), item.when("at", now)
    said_of = {name: item.name(name) for name in _ABOUT}
    origin = Origin(**said_of | {name: said_of[name][:_LONGEST_HEADER] for name in ("session", "agent")})
    if origin == Origin() and all(item.get(name) is None for name in _ABOUT):
        item.faults.add(item.where, "what it is about", f"said; name one of {', '.join(_ABOUT)}")
    return Item(item.where, item.name("tenant"), reader(item, id_, now if at is None else at, origin))


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names | _COMMON))


def _readable(text: str) -> bool:
    return all(each.isprintable() or each in "\n\t" for each in text)


def requests(items: Sequence[Item]) -> list[RequestId]:
    """The calls that reports are about."""
    return list(dict.fromkeys(RequestId(each.record.origin.request) for each in items if each.record.origin.request))


def attribute(
    items: Sequence[Item],
    calls: Mapping[RequestId, Metered],
    tenant: str,
    by: str,
    source: Source,
    now: Instant,
    agent: str = "",
) -> list[Reported]:
    """Reports as they are kept. What one leaves out about a call is taken from the call's record.

    `agent` is the agent whose own key sends them: of no other work than a recorded call of another agent it is a judge.
    `tenant` is whose reports may be made; empty for anybody's. Raises BadFeedbackError where one is about another
    tenant, or about a call that is not among `calls` or is another tenant's, which is said alike; and where a session
    is not said to be any tenant's, since it would never be joined to its calls.
    """
    faults, reports, unknown = Faults(), [], True
    for item in items:
        origin = item.record.origin
        call = calls.get(RequestId(origin.request)) if origin.request else None
        whose = tenant or item.tenant or (call.tenant if call is not None else "")
        if item.tenant and item.tenant != whose:
            faults.add(f"{item.where}.tenant", item.tenant, "a tenant that you may report on")
            continue
        if origin.request and (call is None or call.tenant != whose):
            faults.add(f"{item.where}.request", origin.request, "a call that is recorded")
            continue
        if origin.session and not whose:
            unknown = False
            faults.add(f"{item.where}.tenant", None, "the tenant whose session it is")
            continue
        record = as_kept(item.record, whose, origin if call is None else _filled(origin, call))
        own = bool(agent) and not _of_another(record.origin, call, agent)
        reports.append(Reported(record, whose, by, Source.OWN if own else source, now))
    if faults.found:
        raise BadFeedbackError(faults.found, unknown=unknown)
    return reports


def _of_another(origin: Origin, call: Metered | None, agent: str) -> bool:
    """Whether it is about a recorded call of another agent, and about nothing else."""
    if call is None or call.agent in ("", agent):
        return False
    return (origin.agent, origin.session) == (call.agent, call.session) and not origin.interface


def as_kept(record: Feedback, tenant: str, origin: Origin) -> Feedback:
    """A record with its tenant before its id: what one tenant calls its reports is no matter of another's."""
    id_ = f"{tenant}/{record.id}"
    match record:
        case Quality() | Escalation() | TaskEnded() | Delivery() | Operation():
            return msgspec.structs.replace(record, id=id_, origin=origin)
    assert_never(record)


def _filled(origin: Origin, call: Metered) -> Origin:
    return msgspec.structs.replace(
        origin,
        session=origin.session or call.session,
        agent=origin.agent or call.agent,
        workload=origin.workload or call.workload,
        pod=origin.pod or call.pod,
    )
