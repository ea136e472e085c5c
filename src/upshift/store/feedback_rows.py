"""How does what is reported of finished work become rows, and how is it found again?"""

from collections.abc import Mapping, Sequence

import msgspec

from upshift.model.feedback import About, Feedback, Reported, Source
from upshift.model.span import Instant

AT_ONCE = 500
"""So many rows go into one statement: larger ones keep the ledger, which has the same file, waiting."""

FEEDBACK_COLUMNS = (
    "kind", "id", "at", "received", "tenant", "agent", "interface", "workload", "pod", "session", "request", "task",
    "source", "by", "document",
)  # fmt: skip

_NAMES = ", ".join(f'"{name}"' for name in FEEDBACK_COLUMNS)
_ROW = f"({', '.join('?' * len(FEEDBACK_COLUMNS))})"

_decode = msgspec.json.Decoder(Feedback).decode


def row_of(reported: Reported) -> tuple[object, ...]:
    """The values of a row, in the order of the columns."""
    record, origin = reported.record, reported.record.origin
    return (
        record.__struct_config__.tag, record.id, record.at, reported.received, reported.tenant, origin.agent,
        origin.interface, origin.workload, origin.pod, origin.session, origin.request, origin.task, reported.source,
        reported.by, msgspec.json.encode(record),
    )  # fmt: skip


def insertion(rows: int) -> str:
    """A statement that keeps so many rows, but those that are known by kind and id."""
    return f"INSERT INTO feedback ({_NAMES}) VALUES {', '.join([_ROW] * rows)} ON CONFLICT DO NOTHING"  # noqa: S608 - our own names


def selection(where: Mapping[About, str], since: Instant, until: Instant, limit: int) -> tuple[str, Sequence[object]]:
    """A statement that finds the latest so many reports, latest first, and its values."""
    only = "".join(f' AND "{about.value}" = ?' for about in where)
    sql = (
        'SELECT document, tenant, "by", source, received FROM feedback WHERE at >= ? AND at < ?'  # noqa: S608 - our own names
        f"{only} ORDER BY at DESC, number DESC LIMIT ?"
    )
    return sql, (since, until, *where.values(), limit)


def reported_from(document: bytes, tenant: str, by: str, source: str, received: Instant) -> Reported:
    """What a row holds."""
    return Reported(_decode(document), tenant, by, Source(source), received)
