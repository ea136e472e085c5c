"""What has happened to one call so far: the only mutable thing on the request path."""

from upshift.http.exchange import Exchange
from upshift.model.budget import NOTHING, Amount, Bucket, Claim
from upshift.model.ids import RequestId
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


class Story:
    """Filled in by each step; turned into the call's record at the end."""

    __slots__ = (
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
        self.upstream_id = ""
        self.ask: Ask | None = None
        self.caller: Caller | None = None
        self.work: Work | None = None
        self.way: Way | None = None
        self.fit: Fit | None = None
        self.claims: tuple[Claim, ...] = ()
        self.ticket: Ticket | None = None
        self.outlook: Outlook | None = None

    def held(self) -> Amount:
        """What the call holds at the moment."""
        return NOTHING if self.ticket is None else self.ticket.held

    def record(self, outcome: Outcome, status: int, reason: str, tally: Tally, tick: int) -> Metered:
        """The call's record as of `tick` (nanoseconds)."""
        ask, caller, work, way = self.ask, self.caller, self.work, self.way
        header = self.exchange.header
        session = ""
        for name in _SESSION_HEADERS:
            value = header(name)
            if value:
                session = value.decode("utf-8", "replace")[:128]
                break
        agent = header(b"x-upshift-agent")
        latency = (tick - self.began) // 1000
        return Metered(
            request=self.request,
            started=self.started,
            plan=self.in_force.snapshot.hash,
            tenant=caller.tenant.id if caller else "",
            user=caller.user.id if caller else "",
            tier=caller.user.tier if caller else "",
            workload=work.workload.id if work else "",
            pod=work.workload.pod if work else "",
            project=work.workload.project if work else "",
            session=session or (ask.session_hint[:128] if ask else ""),
            agent=agent.decode("utf-8", "replace")[:128] if agent else "",
            key=caller.key.id if caller else "",  # type: ignore[arg-type]
            dialect=ask.dialect if ask else "",
            streamed=ask.stream if ask else False,
            requested_model=ask.model[:200] if ask else "",
            served_model=way.model.name if way else "",
            provider=way.model.provider.id if way else "",
            upstream_id=self.upstream_id,
            outcome=outcome,
            status=status,
            bucket=way.bucket if way else Bucket.INCLUDED,
            reason=reason,
            certainty=tally.certainty,
            usage=tally.usage,
            cost=tally.cost,
            counted=tally.counted.nano,
            counted_tokens=tally.counted.tokens,
            latency_us=latency,
            first_byte_us=self.first_byte_us,
            overhead_us=max(0, latency - self.waited_ns // 1000),
        )
