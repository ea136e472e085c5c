"""What comes of each fault of a provider under each rule? `python -m` this module runs them all and writes the page."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.end_to_end.probe import Reply
from tests.end_to_end.routes import Routes, routes

from upshift.model.metered import Metered
from upshift.model.tokens import Certainty
from upshift.simulated.book import Bill

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


class Fault(NamedTuple):
    """What a provider does: for people, and for the simulated one."""

    says: str
    wish: str

    @property
    def silence(self) -> str:
        """Which time-out alone ends it; empty for none."""
        return "first_byte" if self.wish.startswith("delay") else "idle" if self.wish.startswith("slow_chunk") else ""


BEFORE = (
    Fault("429", "status=429"),
    Fault("500", "status=500"),
    Fault("503", "status=503"),
    Fault("401, of our own key", "status=401"),
    Fault("400, of the call itself", "status=400"),
    Fault("504, from something in between", "status=504"),
    Fault("silence, past `first_byte`", "delay=1"),
    Fault("connection reset before an answer", "reset"),
)
WHOLE = (
    *BEFORE,
    Fault("garbage for an answer", "garbage"),
    Fault("half an answer, ended", "half_event"),
    Fault("half an answer, cut", "close_after=1"),
    Fault("an answer without usage", "no_usage"),
)
STREAMED = (
    *BEFORE,
    Fault("garbage among the events", "garbage"),
    Fault("half an event, ended", "half_event"),
    Fault("cut in mid-stream", "close_after=2"),
    Fault("an error event before anything was said", "error_event_after=0"),
    Fault("cut before anything was said", "close_after=0"),
    Fault("silence before anything was said, past `idle`", "slow_chunk=1"),
    Fault("an error event in mid-stream", "error_event_after=2"),
    Fault("a stream without usage", "no_usage"),
)


class Rule(NamedTuple):
    """A workload, what its rule is called, and whether its second route fails too."""

    workload: str
    says: str
    all_fail: bool = False


RULES = (
    Rule("none", "give up"),
    Rule("retry", "retry"),
    Rule("never", "failover, never unsure"),
    Rule("failover", "failover"),
    Rule("unsure", "failover, unsure too"),
    Rule("unsure", "every route fails so", all_fail=True),
)


@dataclass
class Cell:
    """What came of one call."""

    fault: Fault
    rule: Rule
    stream: bool
    reply: Reply
    records: list[Metered]
    bills: dict[str, list[Bill]]

    @property
    def where(self) -> str:
        return f"{self.fault.says}, {self.rule.says}, {'streamed' if self.stream else 'whole'}"

    def seen(self) -> str:
        """What the client sees."""
        reply = self.reply
        if reply.status != 200:
            return f"{reply.status}: {_kind(reply)}"
        if not self.stream:
            return "200: the answer"
        if b'"error"' in reply.body.rstrip().splitlines()[-1]:
            return "200: part of the answer, then an error event"
        return "200: the answer" if b"[DONE]" in reply.body else "200: part of the answer, cut"

    def headers(self) -> str:
        """What it is told of the way there."""
        names = ("x-upshift-provider", "x-upshift-reason", "x-upshift-tried")
        found = [(name[10:], self.reply.headers.get(name)) for name in names]
        return ", ".join(f"{name} `{value}`" for name, value in found if value) or "-"

    def billed(self) -> str:
        """Who bills how many answers for it."""
        return ", ".join(f"{len(bills)} by {name}" for name, bills in self.bills.items() if bills) or "nobody"

    def recorded(self) -> str:
        """Its records: provider, outcome, reason, and how what was counted is known."""
        return "; ".join(map(_record, self.records))


def _kind(reply: Reply) -> str:
    error = reply.json()["error"]
    said = error.get("code") or error["type"]
    return f"`{said}`"


def _record(record: Metered) -> str:
    counted = {
        Certainty.EXACT: "as reported" if record.counted_tokens else "nothing",
        Certainty.AT_LEAST: "what was seen",
        Certainty.UNKNOWN: "its hold",
    }[record.certainty]
    reason = f" `{record.reason}`" if record.reason else ""
    return f"{record.provider} {record.outcome}{reason}, counts {counted}"


async def play(found: Routes, fault: Fault, rule: Rule, *, stream: bool) -> Cell:
    """One call whose first attempt meets the fault."""
    found.forget_troubles()
    before = {record.request for record in await found.records()}
    billed = {name: len(each.billed) for name, each in found.providers.items()}
    found.first.script.append(fault.wish)
    if rule.all_fail:
        found.second.script.append(fault.wish)
    silent = ("first", "second") if rule.all_fail else ("first",)
    if fault.silence:
        await found.give(*silent, wait=fault.silence, patience="500ms")
    reply = await found.ask(rule.workload, stream=stream)
    if fault.silence:
        await found.give(wait=fault.silence, patience="60s")
    records = [record for record in await found.records() if record.request not in before]
    for each in found.providers.values():
        each.script.clear()
    bills = {name: each.billed[billed[name] :] for name, each in found.providers.items()}
    return Cell(fault, rule, stream, reply, sorted(records, key=lambda each: each.request), bills)


async def cells(found: Routes) -> list[Cell]:
    """Every fault under every rule."""
    return [
        await play(found, fault, rule, stream=stream)
        for stream, faults in ((False, WHOLE), (True, STREAMED))
        for fault in faults
        for rule in RULES
    ]


_HEAD = """\
# What comes of a provider's faults

A call may fail before anything of its answer has gone to the client, and then it may go on elsewhere; or in the middle
of a stream, and then it cannot. Each row below is a call that was made through a running gateway to a simulated
provider, `first`, which shows the fault once. A second provider of the same model, `second`, is well, except in the rows
of the last rule.

This page is generated from tests (`python -m tests.end_to_end.fault_table`). The rules are those of a workload's
[`route`](guide-plan.md#route), explained in [the guide to routing](guide-routing.md):

| rule | in the plan |
|---|---|
| give up | `failover: none` |
| retry | `failover: none, retries: 1` |
| failover, never unsure | `retry_unsure: never` |
| failover | the default: `failover: same-model, retry_unsure: outage` |
| failover, unsure too | `retry_unsure: always` |
| every route fails so | the same, and `second` shows the fault too |

An attempt that may have been billed has a record of its own, and counts at its hold where nobody says what it used. An
attempt that was not billed leaves its hold to the next one, and no record. So whoever bills an answer finds a record.
The headers in the table are `x-upshift-provider`, `x-upshift-reason` and `x-upshift-tried`.
"""


def page(found: list[Cell]) -> str:
    """The whole page; rules under which the same happens share a row."""
    lines = [_HEAD]
    for stream, title in ((False, "Whole answers"), (True, "Streams")):
        lines += [f"## {title}", "", _cells(*_COLUMNS), "|---" * len(_COLUMNS) + "|"]
        merged: dict[tuple[str, str, str, str, str], list[str]] = {}
        for cell in found:
            if cell.stream is stream:
                row = (cell.fault.says, cell.seen(), cell.headers(), cell.billed(), cell.recorded())
                merged.setdefault(row, []).append(cell.rule.says)
        for row, rules in merged.items():
            under = "every rule" if len(rules) == len(RULES) else "; ".join(rules)
            lines.append(_cells(row[0], under, *row[1:]))
        lines.append("")
    return "\n".join(lines)


_COLUMNS = ("the provider's fault", "rule", "the client sees", "headers", "billed", "recorded")


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


async def _write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with routes(Path(folder)) as found:
            PAGE.write_text(page(await cells(found)))


if __name__ == "__main__":
    asyncio.run(_write())
