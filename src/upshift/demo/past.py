"""What happened before the demo began: days of a team of agents, lived through on a fast clock that ends now?"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from upshift.admin import interfaces, playbooks
from upshift.admin.desk import Actor, Desk
from upshift.demo.team import SCOUT, SLOWER, TENANT, USUAL, WORKLOAD, Team, Told
from upshift.engine.act import JournalActs
from upshift.engine.gather import Gatherer
from upshift.engine.recorded import JournalSources
from upshift.engine.rehearsal import quietly
from upshift.engine.runner import Runner
from upshift.gateway.accounts import Accounts, Calendar
from upshift.gateway.clock import HandClock
from upshift.model.budget import Amount, Bucket
from upshift.model.contract import A2A
from upshift.model.ids import KeyId, UserId
from upshift.model.metered import Metered
from upshift.model.span import MICROS, Instant
from upshift.plan_file.books import known_checks
from upshift.playbook.advance import criteria
from upshift.store.ledger import Admit, Read
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.traffic.snapshot import InForce

HOUR: Instant = 3600 * MICROS
DAY = 24 * HOUR
FIRST_TRY, SECOND_TRY = 54 * HOUR, 30 * HOUR
"""How long ago the new agent was let in, and its next version."""
LASTED = 14 * DAY + FIRST_TRY
"""A fortnight to know what is usual by, and the two tries."""
_FEWEST, _MOST = 5.0, 21.0
"""Questions an hour that are put to the team in the beginning, and in the end: it is used more and more."""
_STEP = 6 * HOUR
"""How much is lived through at once before the playbook runs; then the engine looks every hour."""
_LEASE_SECONDS = 1.0
"""So short that the engine of `upshift serve` goes on where this one ends."""
_THROUGHPUT = "\n".join(
    f"{size},{14 * size / (1 + 0.02 * (size - 1) + 0.004 * size * (size - 1)) * (1 + off):.2f}"
    for size in (1, 2, 3, 4, 5)
    for off in (-0.012, -0.003, 0.004, 0.011)
)
_INPUTS = {
    "agent": SCOUT,
    "interfaces": "desk-scout, scout-writer, scout-searcher, scout-desk",
    "team": "3",
    "measurements": f"agents,throughput\n{_THROUGHPUT}",
    "scope": f"workload {WORKLOAD}",
}


class Past(msgspec.Struct, frozen=True):
    """What was lived through: `runs` of the playbook, by their id, and how they stand."""

    days: float
    calls: int
    runs: dict[str, str]


async def live(
    db: Path, desk: Desk, clock: HandClock, person: Actor, key: KeyId, until: Instant, seen: Callable[[float], None]
) -> Past:
    """Live from the clock's time to `until`: the team works, `person` lets an agent in, and the engine judges.

    The calls are drawn and not made, for real ones would take real time; they are held, settled and recorded in the
    ledger as the gateway does it. The engine is the real one. `seen` is told the share of the time that has passed.
    """
    began = clock.now()
    ledger = await SqliteLedger.open(db, began)
    try:
        for name in ("desk-searcher", "desk-writer"):
            interfaces.activate(desk, person, name)
        life = _Life(desk, clock, ledger, person, Team(1, key))
        starts = [until - FIRST_TRY, until - SECOND_TRY]
        with quietly():
            while clock.now() < until:
                now = clock.now()
                if starts and now >= starts[0] and all(run.over for run in playbooks.runs(desk.journal)):
                    starts.pop(0)
                    playbooks.start(desk, person, playbooks.book_of("add-agent"), _INPUTS)
                begun = len(starts) < 2
                end = min(now + HOUR, until) if begun else min(now + _STEP, starts[0])
                passed = (end - began) / (until - began)
                per_hour = _FEWEST + (_MOST - _FEWEST) * passed
                await life.work(end, per_hour, USUAL * (SLOWER if starts else 1.0))
                if begun:
                    life.look()
                seen(passed)
    finally:
        await ledger.close()
    runs = {run.id: run.state.value for run in playbooks.runs(desk.journal)}
    return Past(round((until - began) / DAY, 1), life.calls, runs)


class _Life:
    def __init__(self, desk: Desk, clock: HandClock, ledger: SqliteLedger, person: Actor, team: Team) -> None:
        self._desk = desk
        self._clock = clock
        self._ledger = ledger
        self._person = person
        self._team = team
        self._accounts = Accounts(Calendar())
        gatherer = Gatherer(JournalSources(desk.journal, clock.now), known_checks())
        acts = JournalActs(desk.journal, gatherer)
        self._runner = Runner(desk.journal, gatherer, acts, clock.now, "demo", None, _LEASE_SECONDS)
        self._late: list[Told] = []
        self.calls = 0

    async def work(self, end: Instant, per_hour: float, scout_seconds: float) -> None:
        """Let the team work until `end`. What is over only then is recorded with what comes next."""
        in_force = self._desk.in_force()
        told = [*self._late, *self._team.questions(in_force, self._clock.now(), end, per_hour, scout_seconds)]
        self._late = [one for one in told if one.report.received >= end]
        done = [one for one in told if one.report.received < end]
        mark = 0
        for call in sorted((call for one in done for call in one.calls), key=lambda call: call.started):
            mark = await self._record(in_force, call)
        self.calls += sum(len(one.calls) for one in done)
        self._desk.journal.add_feedback([one.report for one in done])
        if mark:
            await self._ledger.durable(mark)
        self._clock.set(end)

    async def _record(self, in_force: InForce, call: Metered) -> int:
        over = call.started + call.latency_us
        if call.dialect == A2A:
            return self._ledger.note(call, over)
        tenant, workload = in_force.snapshot.tenants[TENANT], in_force.snapshot.workloads[WORKLOAD]
        account = self._accounts.of(
            tenant, tenant.users[UserId(call.user)], workload, Bucket.INCLUDED, None, call.started
        )
        amount = Amount(call.usage.total, call.cost or 0)
        self._clock.set(call.started)

        def admit(read: Read, may_wait: bool) -> Admit:
            return Admit(0, account.keys, amount)

        admitted = await self._ledger.decide(call.request, call.plan, self._clock.now, admit, 0.0, call)
        assert isinstance(admitted, tuple)
        return self._ledger.settle(admitted[1], over, amount, call)

    def look(self) -> None:
        """One look of the engine; then the person signs what it asks for."""
        self._runner.tick()
        for run in playbooks.runs(self._desk.journal):
            asked = {role for one in run.visit.asked for role in one.roles} if not run.over else set()
            signed = {one.criterion for one in run.visit.signed}
            for _, each in criteria(run.book, run.visit) if asked else ():
                if not each.check and each.signer in asked and each.name not in signed:
                    playbooks.sign(self._desk, self._person, run.id, each.name, "read and agreed")
