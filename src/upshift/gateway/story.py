"""What has happened to one call so far: the only mutable thing on the request path."""

from upshift.http.exchange import Exchange
from upshift.model.budget import NOTHING, Amount, Bucket, Claim
from upshift.model.ids import KeyId, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant
from upshift.model.tokens import NO_USAGE, Certainty
from upshift.store.ledger import Ticket
from upshift.traffic.dispatch import Work
from upshift.traffic.gate import Fit
from upshift.traffic.identify import Caller
from upshift.traffic.meter import Tally
from upshift.traffic.outlook import Outlook
from upshift.traffic.route import Way
from upshift.traffic.snapshot import InForce
from upshift.traffic.wire.ask import Ask, Wire

NOTHING_USED = Tally(NO_USAGE, Certainty.EXACT, 0, NOTHING)

_SESSION_HEADERS = (b"x-upshift-session", b"x-claude-code-session-id", b"session-id")
_AGENT_HEADER = b"x-upshift-agent"
_LONGEST = 128


class Story:
    """Filled in by each step; turned into the call's record at the end."""

    __slots__ = (
        "agent",
        "ask",
        "began",
        "caller",
        "claims",
        "exchange",
        "first_byte_us",
        "fit",
        "in_force",
        "input_tokens",
        "outlook",
        "request",
        "session",
        "started",
        "streaming",
        "ticket",
        "upstream_id",
        "waited_ns",
        "way",
        "wire",
        "work",
    )

    def __init__(
        self, exchange: Exchange, wire: Wire, in_force: InForce, request: RequestId, started: Instant, began: int
    ) -> None:
        self.exchange = exchange
        self.wire = wire
        self.in_force = in_force
        self.request = request
        self.started = started
        self.began = began
        self.waited_ns = 0
        self.streaming = False
        """Whether part of an answer has left already."""
        self.first_byte_us = 0
        self.input_tokens = 0
        self.upstream_id = self.session = self.agent = ""
        self.ask: Ask | None = None
        self.caller: Caller | None = None
        self.work: Work | None = None
        self.way: Way | None = None
        self.fit: Fit | None = None
        self.claims: tuple[Claim, ...] = ()
        self.ticket: Ticket | None = None
        self.outlook: Outlook | None = None

    def attribute(self, ask: Ask, caller: Caller, work: Work) -> None:
        """Note whose call it is, with the session and agent that the client names."""
        self.ask, self.caller, self.work = ask, caller, work
        header = self.exchange.header
        found = None
        for name in _SESSION_HEADERS:
            if (found := header(name)) is not None:
                break
        self.session = ask.session_hint[:_LONGEST] if found is None else _text(found)
        agent = header(_AGENT_HEADER)
        if agent is not None:
            self.agent = _text(agent)

    def held(self) -> Amount:
        """What the call holds at the moment."""
        return NOTHING if self.ticket is None else self.ticket.held

    def opening(self) -> Metered:
        """What the ledger keeps with the hold, to tell what the call was if its end is lost."""
        ask, caller, work = self.ask, self.caller, self.work
        assert ask
        assert caller
        assert work
        workload, user = work.workload, caller.user
        return Metered(
            request=self.request,
            started=self.started,
            plan=self.in_force.snapshot.hash,
            tenant=caller.tenant.id,
            user=user.id,
            tier=user.tier,
            workload=workload.id,
            pod=workload.pod,
            project=workload.project,
            session=self.session,
            agent=self.agent,
            key=caller.key.id,
            dialect=ask.dialect.value,
            streamed=ask.stream,
            requested_model=ask.model[:200],
        )

    def record(self, outcome: Outcome, status: int, reason: str, tally: Tally, tick: int) -> Metered:
        """The call's record as of `tick` (nanoseconds)."""
        ask, caller, work, way = self.ask, self.caller, self.work, self.way
        latency = (tick - self.began) // 1000
        if ask is None or caller is None or work is None:
            return self._stub(outcome, status, reason, latency)
        workload, user = work.workload, caller.user
        counted = tally.counted
        return Metered(
            request=self.request,
            started=self.started,
            plan=self.in_force.snapshot.hash,
            tenant=caller.tenant.id,
            user=user.id,
            tier=user.tier,
            workload=workload.id,
            pod=workload.pod,
            project=workload.project,
            session=self.session,
            agent=self.agent,
            key=caller.key.id,
            dialect=ask.dialect.value,
            streamed=ask.stream,
            requested_model=ask.model[:200],
            served_model="" if way is None else way.model.name,
            provider="" if way is None else way.model.provider.id,
            upstream_id=self.upstream_id,
            outcome=outcome,
            status=status,
            bucket=Bucket.INCLUDED if way is None else way.bucket,
            reason=reason,
            certainty=tally.certainty,
            usage=tally.usage,
            cost=tally.cost,
            counted=counted.nano,
            counted_tokens=counted.tokens,
            latency_us=latency,
            first_byte_us=self.first_byte_us,
            overhead_us=max(0, latency - self.waited_ns // 1000),
        )

    def _stub(self, outcome: Outcome, status: int, reason: str, latency: int) -> Metered:
        """The record of a call that was refused before everything about it was known."""
        ask, caller = self.ask, self.caller
        return Metered(
            request=self.request,
            started=self.started,
            plan=self.in_force.snapshot.hash,
            tenant=caller.tenant.id if caller else "",
            user=caller.user.id if caller else "",
            tier=caller.user.tier if caller else "",
            key=caller.key.id if caller else KeyId(""),
            dialect=ask.dialect.value if ask else "",
            streamed=ask.stream if ask else False,
            requested_model=ask.model[:200] if ask else "",
            outcome=outcome,
            status=status,
            reason=reason,
            latency_us=latency,
            overhead_us=latency,
        )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")[:_LONGEST]
