"""What does a team of agents do in a stretch of time, as the gateway would have recorded it?"""

from collections.abc import Iterator
from math import sin, tau
from random import Random

import msgspec

from upshift.gateway.flow import RequestIds
from upshift.model.contract import A2A
from upshift.model.feedback import Origin, Reported, Source, TaskEnded, TaskOutcome
from upshift.model.ids import AgentId, KeyId, ModelName, TenantId, UserId, WorkloadId
from upshift.model.metered import Metered, Outcome
from upshift.model.refusal import Refused
from upshift.model.span import MICROS, Instant
from upshift.model.tokens import Usage
from upshift.sources.feedback import as_kept
from upshift.traffic import meter
from upshift.traffic.interfaces import passage
from upshift.traffic.snapshot import InForce

TENANT, WORKLOAD = TenantId("globex"), WorkloadId("research-desk")
DESK, SEARCHER, SCOUT, WRITER = AgentId("desk"), AgentId("searcher"), AgentId("scout"), AgentId("writer")
ANALYSTS = tuple(UserId(name) for name in ("ines", "jon", "kim", "lars", "mona"))
USUAL = 4.0
"""Seconds that an agent takes."""
SLOWER = 1.35
"""How much longer the first version of the new agent takes."""
_HOUR: Instant = 3600 * MICROS
_MODEL = ModelName("gpt-6.1-sol")
_FAILED, _UNDONE = 0.03, 0.06


class Told(msgspec.Struct, frozen=True):
    """What came of one question: the calls, in the order of their end, and the report that the task is over."""

    calls: tuple[Metered, ...]
    report: Reported


class Team:
    """Draws what the agents do. Which of them may speak to which, the gateway's own rule says."""

    def __init__(self, seed: int, key: KeyId) -> None:
        self._draws = Random(seed)
        self._ids = RequestIds()
        self._key = key

    def questions(
        self, in_force: InForce, begin: Instant, end: Instant, per_hour: float, scout_seconds: float
    ) -> Iterator[Told]:
        """Those that are put between two times, in their order.

        `per_hour` is how many, on average over a day, and `scout_seconds` what the new agent takes.
        """
        rate = per_hour * (1 + 0.2 * sin(tau * (begin / _HOUR % 24 - 13) / 24)) / _HOUR
        at = begin + self._draws.expovariate(rate)
        while at < end:
            yield self._question(in_force, int(at), scout_seconds)
            at += self._draws.expovariate(rate)

    def _question(self, in_force: InForce, at: Instant, scout_seconds: float) -> Told:
        snapshot, session = in_force.snapshot, f"q-{self._draws.getrandbits(40):010x}"
        user = snapshot.tenants[TENANT].users[ANALYSTS[int(self._draws.random() ** 1.5 * len(ANALYSTS))]]
        opening = Metered(
            request=self._ids.next(), started=at, plan=snapshot.hash, tenant=TENANT, user=user.id, tier=user.tier,
            workload=WORKLOAD, pod=snapshot.workloads[WORKLOAD].pod, session=session, key=self._key,
        )  # fmt: skip
        # Who is a part of the stage asks the new agent, and all others the one that was there before.
        new = _name(in_force, DESK, SCOUT, session)
        finder, seconds = (SCOUT, scout_seconds) if new else (SEARCHER, USUAL)
        found = self._handed(in_force, opening, DESK, finder, seconds)
        then = msgspec.structs.replace(opening, started=_end(found[-1]))
        written = self._message(in_force, then, SCOUT if new else DESK, WRITER, self._seconds(USUAL))
        over = _end(written)
        outcome = TaskOutcome.FAILED if self._draws.random() < _UNDONE else TaskOutcome.DONE
        origin = Origin(tenant=TENANT, session=session, agent=WRITER, workload=WORKLOAD, pod=opening.pod)
        kept = as_kept(TaskEnded(session, over, origin, outcome), TENANT, origin)
        return Told((*found, written), Reported(kept, TENANT, self._key, Source.CALLER, over))

    def _handed(
        self, in_force: InForce, opening: Metered, caller: AgentId, callee: AgentId, seconds: float
    ) -> tuple[Metered, Metered]:
        """The callee's call to a model, and the message to it that this was a part of."""
        draws, latency = self._draws, self._seconds(seconds)
        model, size = in_force.snapshot.models[_MODEL], draws.lognormvariate(0.0, 0.4)
        tally = meter.exact(model, Usage(input=int(20_000 * size), output=int(1_200 * size)))
        failed = draws.random() < _FAILED
        asked = msgspec.structs.replace(
            opening, request=self._ids.next(), started=opening.started + latency // 20, agent=callee,
            dialect=model.provider.dialect.value, requested_model=_MODEL, served_model=_MODEL,
            provider=model.provider.id, latency_us=latency * 9 // 10, overhead_us=int(draws.uniform(500, 1500)),
            **(
                {"outcome": Outcome.UPSTREAM_ERROR, "status": 502, "reason": "upstream-status"}
                if failed
                else {"status": 200, "usage": tally.usage, "cost": tally.cost}
            ),
        )  # fmt: skip
        return asked, self._message(in_force, opening, caller, callee, latency)

    def _message(self, in_force: InForce, opening: Metered, caller: AgentId, callee: AgentId, latency: int) -> Metered:
        return msgspec.structs.replace(
            opening, request=self._ids.next(), dialect=A2A, agent=caller, served_model=callee, status=200,
            requested_model=_name(in_force, caller, callee, opening.session), latency_us=latency,
            overhead_us=int(self._draws.uniform(300, 900)),
        )  # fmt: skip

    def _seconds(self, usual: float) -> int:
        """Microseconds, about so many seconds."""
        return int(usual * self._draws.lognormvariate(0.0, 0.3) * MICROS)


def _name(in_force: InForce, caller: AgentId, callee: AgentId, session: str) -> str:
    """The interface that a message goes over; empty where it may not."""
    agents = in_force.snapshot.agents
    try:
        return passage(in_force, agents[caller], agents[callee], session, begins=True).interface.name
    except Refused:
        return ""


def _end(call: Metered) -> Instant:
    return call.started + call.latency_us
