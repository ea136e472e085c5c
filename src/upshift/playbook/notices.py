"""What is told to whom about a run, once each?"""

from collections.abc import Iterable

import msgspec

from upshift.model.span import Instant, show_instant
from upshift.playbook.book import hours
from upshift.playbook.run import Aborted, Asked, Entered, Extended, Finished, Overridden, Record, RolledBack, name_of


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message. Its id is that of the record it tells of. `urgent` is worth an e-mail."""

    id: str
    run: str
    at: Instant
    title: str
    text: str
    urgent: bool


def notices(records: Iterable[Record]) -> tuple[Notice, ...]:
    """What people have to know of a run, in the order in which it happened."""
    found = []
    for record in {name_of(one): one for one in records}.values():
        said = _said(record)
        if said is None:
            continue
        title, lines, urgent = said
        text = "\n".join(f"- {line}" for line in lines)
        found.append(
            Notice(
                id=name_of(record),
                run=record.run,
                at=record.at,
                title=f"{record.run}: {title}",
                text=text,
                urgent=urgent,
            )
        )
    return tuple(found)


def _said(record: Record) -> tuple[str, tuple[str, ...], bool] | None:
    match record:
        case Entered():
            return f"phase {record.phase} begins", tuple(_lines(record)), False
        case Asked():
            whom = f" ({', '.join(record.roles)})" if record.roles else ""
            return f"a person is needed{whom}", record.why, True
        case Extended():
            return f"the window is extended by {hours(record.by)}", record.why, False
        case RolledBack():
            return "is rolled back", record.why, True
        case Aborted():
            return f"was aborted by {record.by}", (record.reason,), True
        case Overridden():
            until = show_instant(record.expires)
            return (
                f"{record.criterion} is overridden by {record.by}",
                (record.reason, f"the risk is {record.owner}'s, until {until}"),
                True,
            )
        case Finished():
            return "is finished", tuple(_lines(record)), True
        case _:
            return None


def _lines(record: Entered | Finished) -> Iterable[str]:
    return (f"{one.criterion}: {one.answer}. {one.says[0] if one.says else ''}" for one in record.findings)
