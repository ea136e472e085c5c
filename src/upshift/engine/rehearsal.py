"""How would a playbook go? The real engine on a hand clock, over traffic and people that are simulated."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from math import sin, tau

import msgspec
import numpy as np
import structlog

from upshift.engine.act import JournalActs
from upshift.engine.gather import Gatherer
from upshift.engine.notices import Teller, Way
from upshift.engine.recorded import JournalSources
from upshift.engine.runner import LEASE_SECONDS, Runner, load
from upshift.evidence.measurement import Span
from upshift.evidence.pattern import HOUR, HOURS
from upshift.model.feedback import Feedback, Origin, TaskEnded, TaskOutcome
from upshift.model.ids import KeyId, PlanHash, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import MICROS, Instant
from upshift.model.tokens import Usage
from upshift.playbook.advance import criteria
from upshift.playbook.book import Book
from upshift.playbook.checks import Check
from upshift.playbook.facts import ContractState
from upshift.playbook.run import Record, Run, Signed, Started, fold, to_decision
from upshift.playbook.standing import SHARED
from upshift.store.journal import Journal
from upshift.traffic.staged import takes_part

BEGIN: Instant = 1_796_029_200 * MICROS
"""2026-11-30T09:00:00Z, a Monday."""
TICK = HOUR // 2
DAYS = 14
PER_HOUR = 240
_PLAN = PlanHash("0" * 64)
_TENANT = "simulated"
_PERSON = "Sam Sample"


class Scenario(StrEnum):
    """What the new agent turns out to be."""

    GOOD = "good"
    SLOW = "slow"
    COSTLY = "costly"
    ERRS_AT_NIGHT = "errs-at-night"
    NO_TRAFFIC = "no-traffic"
    STOPS_HALF_WAY = "stops-half-way"
    """Good, and traffic ends in the middle of the first window."""
    ONE_METRIC_MISSING = "one-metric-missing"
    """Good, and nobody reports how tasks end once it works."""


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self, now: Instant) -> None:
        self.at = now

    def now(self) -> Instant:
        return self.at


class Traffic(JournalSources):
    """Simulated calls and tasks: a function of the seed, the hour, and who took part then."""

    def __init__(
        self,
        journal: Journal,
        now: Callable[[], Instant],
        scenario: Scenario,
        seed: int,
        agent: str,
        per_hour: float,
    ) -> None:
        super().__init__(journal, now)
        self._journal = journal
        self._scenario = scenario
        self._seed = seed
        self._agent = agent
        self._per_hour = per_hour
        self._hours: dict[tuple[int, int], tuple[list[Metered], list[Feedback]]] = {}

    def calls(self, span: Span) -> Sequence[Metered]:
        return [one for calls, _ in self._of(span) for one in calls if span.start <= one.started < span.end]

    def feedback(self, span: Span) -> Sequence[Feedback]:
        return [one for _, told in self._of(span) for one in told if span.start <= one.at < span.end]

    def contracts(self, interfaces: Sequence[str]) -> tuple[ContractState, ...] | None:
        return tuple(ContractState(name) for name in interfaces)

    def terms(self, interface: str) -> dict[str, str | int | bool | None]:
        return {}

    def _of(self, span: Span) -> Iterator[tuple[list[Metered], list[Feedback]]]:
        shares = [
            (one.at, float(str(one.detail.get("share") or 0)))
            for one in reversed(self._journal.decisions([SHARED], limit=1_000))
            if one.subject == self._agent
        ]
        for hour in range(span.start // HOUR, -(-span.end // HOUR)):
            key = (hour, len(shares))
            if key not in self._hours:
                self._hours[key] = self._hour(hour, shares)
            yield self._hours[key]

    def _hour(self, hour: int, shares: Sequence[tuple[Instant, float]]) -> tuple[list[Metered], list[Feedback]]:
        # Everything is drawn whatever comes of it, so that the same hour of the same seed is the same traffic.
        draws = np.random.default_rng((self._seed, hour))
        count = int(draws.poisson(self._per_hour * (1 + 0.4 * sin(tau * (hour % HOURS - 9) / HOURS))))
        at = hour * HOUR + np.sort(draws.integers(0, HOUR, count))
        latency, size, chance = draws.lognormal(0.0, 0.45, count), draws.lognormal(0.0, 0.4, count), draws.random(count)
        begun = shares[0][0] if shares else None
        calls: list[Metered] = []
        told: list[Feedback] = []
        for place in range(count):
            when, session = int(at[place]), f"{hour}-{place}"
            if self._silent(when, begun):
                continue
            share = next((share for since, share in reversed(shares) if since <= when), 0.0)
            new = takes_part(session, self._agent, share)
            calls.append(self._call(session, when, latency[place], size[place], chance[place], new))
            if not (new and self._scenario is Scenario.ONE_METRIC_MISSING):
                failed = chance[place] < 0.06
                outcome = TaskOutcome.FAILED if failed else TaskOutcome.DONE
                done = when + int(latency[place] * 8 * MICROS)
                origin = Origin(tenant=_TENANT, session=session)
                told.append(TaskEnded(id=session, at=done, origin=origin, outcome=outcome))
        return calls, told

    def _silent(self, when: Instant, begun: Instant | None) -> bool:
        if begun is None:
            return False
        if self._scenario is Scenario.NO_TRAFFIC:
            return when >= begun
        return self._scenario is Scenario.STOPS_HALF_WAY and when >= begun + 24 * HOUR

    def _call(self, session: str, when: Instant, latency: float, size: float, chance: float, new: bool) -> Metered:
        worse = self._scenario if new else Scenario.GOOD
        night = worse is Scenario.ERRS_AT_NIGHT and when // HOUR % HOURS < 6
        seconds = latency * 4 * (1.35 if worse is Scenario.SLOW else 1.0)
        dearer = 1.4 if worse is Scenario.COSTLY else 1.0
        failed = chance > 1 - (0.2 if night else 0.05)
        return Metered(
            request=RequestId(session),
            started=when,
            plan=_PLAN,
            tenant=_TENANT,
            user="simulated",
            tier="simulated",
            workload="simulated",
            session=session,
            agent=self._agent if new else "team",
            key=KeyId("simulated"),
            dialect="openai",
            requested_model="simulated",
            served_model="simulated",
            provider="simulated",
            outcome=Outcome.UPSTREAM_ERROR if failed else Outcome.SERVED,
            status=500 if failed else 200,
            usage=Usage(input=int(4000 * size), output=int(800 * size)),
            cost=int(20_000_000 * size * dearer),
            latency_us=int(seconds * MICROS),
        )


class Rehearsal:
    """A run of a book over simulated traffic. `at` continues one that was cut short."""

    def __init__(
        self,
        journal: Journal,
        checks: dict[str, Check],
        scenario: Scenario,
        *,
        seed: int = 1,
        at: Instant = BEGIN,
        ways: Sequence[Way] = (),
        agent: str = "dora",
        per_hour: float = PER_HOUR,
        holder: str = "rehearsal",
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.journal = journal
        self.clock = HandClock(at)
        sources = Traffic(journal, self.clock.now, scenario, seed, agent, per_hour)
        self.gatherer = Gatherer(sources, checks)
        self.acts = JournalActs(journal, self.gatherer)
        self.runner = Runner(
            journal, self.gatherer, self.acts, self.clock.now, holder, Teller(journal, ways), lease_seconds
        )
        self.sources = sources

    def start(self, book: Book) -> str:
        """Start the run; once, however often it is called."""
        run = f"{book.name}-rehearsal"
        given = {one.name: SAMPLES.get(one.name, one.default or "sample") for one in book.inputs}
        self.journal.decide(
            to_decision(Started(run=run, at=self.clock.now(), by=_PERSON, book=book, hash=book.hash, inputs=given))
        )
        return run

    def tick(self, run: str) -> Run:
        """One look of the engine, and what people do about it; then the clock goes on."""
        self.runner.tick()
        found = fold(load(self.journal, run))
        for record in _people(found, self.clock.now()):
            self.journal.decide(to_decision(record))
        self.clock.at += TICK
        return found

    def finish(self, run: str, days: float = DAYS, seen: Callable[[Run], None] | None = None) -> list[Record]:
        """Go on until the run is over or so many days have passed; its records."""
        until = BEGIN + int(days * HOURS * HOUR)
        while self.clock.now() < until:
            found = self.tick(run)
            if seen is not None:
                seen(found)
            if found.over:
                break
        # What is left to be told, once whoever was interrupted has had time to finish.
        self.runner.tick()
        return load(self.journal, run)


def _people(run: Run, now: Instant) -> Iterator[Signed]:
    """A person signs what they are asked to sign. Nobody overrides anything."""
    asked = {role for one in run.visit.asked for role in one.roles}
    signed = {one.criterion for one in run.visit.signed}
    for _, criterion in criteria(run.book, run.visit):
        if not criterion.check and criterion.signer in asked and criterion.name not in signed:
            yield Signed(
                run=run.id,
                at=now,
                step=run.visit.step,
                criterion=criterion.name,
                role=criterion.signer,
                by=_PERSON,
                note="read and agreed",
            )


def history(records: Sequence[Record]) -> str:
    """All that is recorded, as one text: two runs with the same history have the same text."""
    return "\n".join(msgspec.json.encode(one, order="deterministic").decode() for one in records)


_SHEET = "\n".join(
    [
        "agents,throughput",
        *(
            f"{size},{42 * size / (1 + 0.002 * (size - 1) + 0.00004 * size * (size - 1)) * (1 + off):.2f}"
            for size in (4, 8, 12, 16, 20)
            for off in (-0.012, -0.003, 0.004, 0.011)
        ),
    ]
)
SAMPLES = {
    "agent": "dora",
    "interfaces": "dora-ada, dora-bob, dora-cleo, dora-emil",
    "team": "20",
    "measurements": _SHEET,
    "scope": "system",
}
"""What inputs are in a rehearsal."""


@contextmanager
def quietly() -> Iterator[None]:
    """Without the engine's log: what it did on a fast clock is shown as the run's history."""
    before = structlog.get_config()
    structlog.configure(processors=[_nothing])
    try:
        yield
    finally:
        structlog.configure(**before)


def _nothing(logger: object, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent
