"""What has happened to one call so far: the only mutable thing on the request path."""

from dataclasses import dataclass

import msgspec

from upshift.gateway.accept import Said
from upshift.gateway.accounts import Account
from upshift.gateway.passes import Pass
from upshift.gateway.pools import Seat
from upshift.http.exchange import Exchange
from upshift.model.budget import NOTHING, Amount, Bucket, Claim
from upshift.model.ids import KeyId, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant
from upshift.model.tokens import NO_USAGE, Certainty
from upshift.store.ledger import Ticket
from upshift.traffic import disclose, meter
from upshift.traffic.attempts import Tried
from upshift.traffic.dispatch import Work
from upshift.traffic.gate import Fit
from upshift.traffic.identify import Caller
from upshift.traffic.meter import Tally
from upshift.traffic.outlook import Outlook
from upshift.traffic.route import Way
from upshift.traffic.snapshot import InForce, Model
from upshift.traffic.targets import Target
from upshift.traffic.translate.translate import Sent, Stream, Translation, Understood, not_carried
from upshift.traffic.wire.ask import PLAIN, Answer, Ask, Extras, StreamMeter, Wire

_replace = msgspec.structs.replace
# Looking a member up on its class runs Python code in 3.11.
_INCLUDED = Bucket.INCLUDED
NOTHING_USED = Tally(NO_USAGE, Certainty.EXACT, 0, NOTHING)

_LONGEST = 128
_TIERS = frozenset(("service_tier", "speed"))
"""Fields that ask for a tier of service, where they did not reach the provider."""


class Translated(msgspec.Struct, frozen=True, gc=False):
    """How a call was put into another dialect, and how its answer comes back."""

    translation: Translation
    sent: Sent

    def reply(self, body: bytes, model: str) -> bytes:
        """An answer in one piece, for the client. Raises ValueError."""
        return self.translation.reply(body, model, self.sent.asked)[0]

    def stream(self, model: str) -> Stream:
        """A streamed answer, for the client."""
        return self.translation.stream(model, self.sent.asked)

    def not_carried(self) -> str:
        """The fields that did not reach the provider, for a header."""
        return not_carried(self.sent.losses)


class Whole(msgspec.Struct, frozen=True, gc=False):
    """An answer that came in one piece, and what was read of it."""

    body: bytes
    found: Answer


class OpenedStream(msgspec.Struct, frozen=True, gc=False):
    """A stream whose beginning has been read: its meter, and what of it goes on to the client."""

    meter: StreamMeter
    out: bytes


# Not a Struct of msgspec: each step writes into it, and to set a field of those takes five times as long.
@dataclass(slots=True, eq=False)
class Story:
    """Filled in by each step; turned into the call's record at the end."""

    exchange: Exchange
    wire: Wire
    in_force: InForce
    request: RequestId
    started: Instant
    began: int
    """A tick of the clock, in nanoseconds."""
    waited_ns: int = 0
    streaming: bool = False
    """Whether part of an answer has left already."""
    limited: int = 0
    """Tokens per answer that the provider was told to stop at, because the budget leaves no more; 0: as asked."""
    first_byte_us: int = 0
    input_tokens: int = 0
    upstream_id: str = ""
    ask: Ask | None = None
    caller: Caller | None = None
    work: Work | None = None
    let_in: Pass | None = None
    opening: Metered | None = None
    """What the ledger keeps with the hold, to tell what the call was if its end is lost."""
    way: Way | None = None
    targets: tuple[Target, ...] = ()
    """Where it may be sent, in this order."""
    model: Model | None = None
    """The model, at its provider, that it was sent to last."""
    upstream: Wire | None = None
    """The dialect that the provider answers in."""
    translated: Translated | None = None
    understood: Understood | None = None
    """What the client asked for, in words of no dialect; only where it had to be translated."""
    trail: tuple[Tried, ...] = ()
    """The attempts before the last one."""
    whole: Whole | None = None
    """The answer of the last attempt, if it came in one piece."""
    opened: OpenedStream | None = None
    """The same if it is streamed."""
    rerouted: str = ""
    """Why it was served by another route than the first; empty when it was not."""
    fit: Fit | None = None
    account: Account | None = None
    ticket: Ticket | None = None
    seat: Seat | None = None
    """Its place in the capacity pool of its workload; None where that has none."""
    outlook: Outlook | None = None

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The ceilings that the call's hold is counted under; none before it holds."""
        return () if self.account is None else self.account.claims

    @property
    def session(self) -> tuple[str, str] | None:
        """The session that the client names, with its tenant; None where it names none."""
        opening = self.opening
        return (opening.tenant, opening.session) if opening is not None and opening.session else None

    def attribute(self, ask: Ask, said: Said, let_in: Pass) -> None:
        """Note whose call it is, with the session and agent that the client names."""
        self.let_in, self.caller, self.work = let_in, let_in.caller, let_in.work
        self.opening = _replace(
            let_in.opening,
            request=self.request,
            started=self.started,
            session=said.session or ask.session_hint[:_LONGEST],
            agent=said.agent,
            streamed=ask.stream,
        )

    def reason(self) -> str:
        """Why the answer is not simply what was asked for; empty when it is."""
        assert self.way
        if self.way.bucket is not _INCLUDED:
            return disclose.reason_for(self.way.bucket)
        return self.rerouted or (disclose.LIMITED_BECAUSE if self.limited else "")

    def beside(self, request: RequestId) -> "Story":
        """The same call under another name, for an attempt whose cost is counted apart."""
        story = Story(
            self.exchange, self.wire, self.in_force, request, self.started, self.began, ask=self.ask,
            caller=self.caller, work=self.work, let_in=self.let_in, input_tokens=self.input_tokens,
            waited_ns=self.waited_ns, targets=self.targets, understood=self.understood,
            seat=self.seat,
        )  # fmt: skip
        if self.opening is not None:
            story.opening = msgspec.structs.replace(self.opening, request=request)
        return story

    def extras(self, told: Extras) -> Extras:
        """What the call is billed by beside its tokens at the usual rates; `told` is what its answer says of it."""
        ask, translated = self.ask, self.translated
        if ask is None or ask.extras is PLAIN:
            return told
        if translated is not None and any(loss.field in _TIERS for loss in translated.sent.losses):
            return told
        return meter.billed(ask.extras, told)

    def held(self) -> Amount:
        """What the call holds at the moment."""
        return NOTHING if self.ticket is None else self.ticket.held

    def record(self, outcome: Outcome, status: int, reason: str, tally: Tally, tick: int) -> Metered:
        """The call's record as of `tick` (nanoseconds)."""
        way, model, opening, counted = self.way, self.model, self.opening, tally.counted
        latency = (tick - self.began) // 1000
        overhead = latency - self.waited_ns // 1000
        if opening is None:
            return self._stub(outcome, status, reason, latency)
        return _replace(
            opening,
            served_model="" if model is None else model.name,
            provider="" if model is None else model.provider.id,
            upstream_id=self.upstream_id,
            outcome=outcome,
            status=status,
            bucket=_INCLUDED if way is None else way.bucket,
            reason=reason,
            certainty=tally.certainty,
            usage=tally.usage,
            cost=tally.cost,
            counted=counted.nano,
            counted_tokens=counted.tokens,
            latency_us=latency,
            first_byte_us=self.first_byte_us,
            overhead_us=max(overhead, 0),
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
