"""How does a call go through? accept, identify, dispatch, police, route, gate, call, meter, answer, in one function.

Nothing of an answer leaves before the call's hold is on disk, and its last byte waits for the record of what it used.
"""

import itertools
import os
import structlog

from upshift.gateway import accept, answer
from upshift.gateway.accounts import Accounts
from upshift.gateway.call import MissingSecretError, Routes
from upshift.gateway.clock import Clock
from upshift.gateway.passes import Pass, Passes
from upshift.gateway.regime import Regime
from upshift.gateway.story import NOTHING_USED, Story
from upshift.gateway.streaming import Streaming
from upshift.http.client import Response, Trouble
from upshift.http.exchange import Exchange, Headers
from upshift.model.budget import Bucket, Claim
from upshift.model.entry import Alert
from upshift.model.ids import RequestId
from upshift.model.metered import Outcome
from upshift.model.refusal import Busy, LedgerDown, OverBudget, Reason, Refused
from upshift.store.ledger import Admit, Deny, Ledger, LedgerUnavailableError, Read, Wait
from upshift.traffic import alerts, disclose, dispatch, gate, meter, route
from upshift.traffic.gate import Crowded, Fare, Fit, Full
from upshift.traffic.meter import Tally
from upshift.traffic.route import Way, Ways
from upshift.traffic.wire.ask import Answer
from upshift.traffic.wire.wires import WIRES

log = structlog.get_logger()

LARGEST_ANSWER = 64 * 1024 * 1024
NO_ANSWER = Answer()
"""What is read of bytes that say nothing."""


class RequestIds:
    """Unique names for calls: random per process, then counted."""

    def __init__(self) -> None:
        self._prefix = "up_" + os.urandom(8).hex()
        self._count = itertools.count(1)

    def next(self) -> RequestId:
        return RequestId(f"{self._prefix}{next(self._count):08x}")


class Flow:
    """The request path with what it needs to hand. One per process; every method runs on its event loop."""

    def __init__(
        self, *, regime: Regime, ledger: Ledger, routes: Routes, accounts: Accounts, clock: Clock, strict: bool = False
    ) -> None:
        self.regime = regime
        self.ledger = ledger
        self.routes = routes
        self.accounts = accounts
        self.clock = clock
        self.strict = strict
        """Send nothing upstream before the hold is on disk (costs one commit of latency)."""
        self.ids = RequestIds()
        self.passes = Passes()

    async def call(self, exchange: Exchange) -> None:
        """Serve one call from its first step to its last byte."""
        wire = WIRES[accept.CALLS[exchange.path]]
        story = Story(exchange, wire, self.regime.in_force, self.ids.next(), self.clock.now(), self.clock.tick())
        try:
            story.ask = ask = accept.read(exchange, wire)
            let_in = self.passes.of(story, ask)  # identify, dispatch, police
            story.attribute(ask, let_in.caller, let_in.work)
            expected = let_in.outlook.input_tokens(ask.text_bytes, ask.images)
            ways = route.ways(ask, let_in.work, expected, let_in.consent)
            await self.gate(story, let_in, ways)
            response = await self.send(story)
            if response is None:
                return
            if ask.stream and response.status < 400 and _is_stream(response):
                await Streaming(self, story, response).run()
            else:
                await self.whole(story, response)
        except Refused as refused:
            self.refuse(story, refused.reason)
        except LedgerUnavailableError:
            # The answer may not be given out without its record; what was used stays queued for the ledger.
            log.error("ledger.unavailable", request=story.request)
            if story.streaming:
                exchange.abort()
            else:
                answer.refuse(exchange, wire, LedgerDown(retry_seconds=5), story.request)
        finally:
            if story.ticket is not None and not story.ticket.closed:
                self.close_unknown(story)

    def refuse(self, story: Story, reason: Reason) -> None:
        """Say no, and keep the record of having said it."""
        denial = answer.refuse(story.exchange, story.wire, reason, story.request)
        record = story.record(Outcome.REFUSED, denial.status, denial.code, NOTHING_USED, self.clock.tick())
        if story.caller is not None:
            # Calls without a good key belong to nobody; keeping them would let anybody fill the disk.
            self.ledger.note(record, self.clock.now())
        log.info("call.refused", request=story.request, code=denial.code, status=denial.status)

    # gate ---------------------------------------------------------------------------------------------------------

    async def gate(self, story: Story, let_in: Pass, ways: Ways) -> None:
        """Hold what the call may cost on the first way that is open. Raises Refused."""
        caller, workload, ask = let_in.caller, let_in.work.workload, story.ask
        assert ask
        accounts, clock, passes = self.accounts, self.clock, self.passes
        asked_at = clock.tick()
        found: Fit | None = None
        fare: Fare | None = None

        def fare_of(way: Way) -> Fare:
            nonlocal fare
            claims = accounts.claims(caller.tenant, caller.user, workload, way.bucket, let_in.consent, clock.now())
            outlook = passes.outlook(workload.id, way.model.name)
            fare = gate.fare(ask, way.model, workload.gate.hold, claims, outlook)
            return fare

        def rule(read: Read, may_wait: bool) -> Admit | Wait | Deny:
            nonlocal found
            verdict = gate.admit(map(fare_of, ways.tried), read, may_wait)
            match verdict:
                case Fit():
                    # Fares are made one at a time, so the one that fits is the last.
                    found = verdict
                    assert fare
                    return Admit(verdict.step, tuple([claim.key for claim in fare.claims]), verdict.amount)
                case Crowded():
                    if may_wait:
                        return Wait(verdict.key)
                    waited = (clock.tick() - asked_at) / 1e9
                    return Deny(Busy(key=verdict.key, waited_seconds=waited, retry_seconds=5))
                case Full():
                    return Deny(self.over_budget(story, verdict, ways))

        decided = await self.ledger.decide(
            story.request,
            story.in_force.snapshot.hash,
            clock.now,
            rule,
            workload.gate.patience_seconds,
            story.opening(),
        )
        story.waited_ns += clock.tick() - asked_at
        if isinstance(decided, Deny):
            raise Refused(decided.reason)
        admitted, story.ticket = decided
        assert found
        assert fare
        story.fit = found
        story.way = way = ways.tried[admitted.step]
        story.claims, story.input_tokens = fare.claims, fare.input
        story.outlook = let_in.outlook if way.model is let_in.work.model else passes.outlook(workload.id, way.model.name)

    def over_budget(self, story: Story, full: Full, ways: Ways) -> OverBudget:
        """The refusal of a call that no way is open for."""
        assert story.caller is not None and story.work is not None
        caller, workload = story.caller, story.work.workload
        claim, balance = full.claim, full.balance
        tokens = full.measure == "tokens"
        limit = (claim.limit.tokens if tokens else claim.limit.nano) or 0
        used, held, granted = balance.settled, balance.held, balance.granted
        ladder = ", then ".join(workload.gate.ladder)
        why = "; ".join(ways.closed) if ways.closed else f"the overage rule of this workload is {ladder}"
        others = dispatch.open_to(story.in_force.snapshot, caller.tenant.id, caller.key.workloads)
        return OverBudget(
            key=claim.key,
            measure=full.measure,
            used=(used.tokens + held.tokens) if tokens else (used.nano + held.nano),
            held=held.tokens if tokens else held.nano,
            limit=limit + (granted.tokens if tokens else granted.nano),
            needed=full.needed,
            resets_at=claim.period.end,
            zone=claim.period.zone,
            owner=caller.tenant.owner,
            why=why,
            still_open=tuple(f"workload {each.id}" for each in others if each.id != workload.id)
            + ("the budget view and the list of models",),
            how_to_ask=workload.gate.how_to_ask,
        )

    # call ---------------------------------------------------------------------------------------------------------

    async def send(self, story: Story) -> Response | None:
        """Send the call on; None when the provider could not be reached and the client has been told so."""
        assert story.ask and story.way and story.fit and story.ticket
        ask, model, fit = story.ask, story.way.model, story.fit
        most = (model.max_output if ask.max_output is None else ask.max_output) * ask.choices
        bound = fit.room if ask.stream else fit.output
        body = story.wire.rewrite(
            story.exchange.body,
            model=None if ask.model == model.upstream_id else model.upstream_id,
            max_output=max(1, bound // ask.choices) if bound < most else None,
            limit_field=model.provider.limit_field,
            include_usage=ask.stream and not ask.wants_usage,
        )
        try:
            to = self.routes.to(model.provider)
        except MissingSecretError as missing:
            self.fail(story, 502, "provider_not_configured", str(missing), None)
            return None
        if self.strict:
            await self.ledger.durable(story.ticket.mark)
        sent_at = self.clock.tick()
        response = await to.send(story.exchange, body)
        story.waited_ns += self.clock.tick() - sent_at
        story.first_byte_us = (self.clock.tick() - story.began) // 1000
        if isinstance(response, Trouble):
            await self.trouble(story, response)
            return None
        story.upstream_id = _upstream_id(response)
        return response

    async def trouble(self, story: Story, trouble: Trouble) -> None:
        """A provider could not be reached, or fell silent. What was sent may have been billed: then it counts."""
        assert story.way
        provider = story.way.model.provider.id
        status = 504 if trouble.kind.endswith("timeout") else 502
        tally = meter.unknown(story.held()) if trouble.request_sent else None
        await self.settle(story, Outcome.UPSTREAM_ERROR, status, f"provider-{trouble.kind}", tally)
        message = f"provider {provider} failed ({trouble.kind}: {trouble.detail})"
        self.fail_text(story, status, "provider_failed", message)

    def fail(self, story: Story, status: int, code: str, message: str, tally: Tally | None) -> None:
        """Close a call that failed, and say so."""
        self.close(story, Outcome.UPSTREAM_ERROR, status, code, tally)
        self.fail_text(story, status, code, message)

    def fail_text(self, story: Story, status: int, code: str, message: str) -> None:
        log.warning("call.failed", request=story.request, code=code, problem=message)
        answer.fail(story.exchange, story.wire, status, code, message, story.request, self.headers(story))

    # answer -------------------------------------------------------------------------------------------------------

    async def whole(self, story: Story, response: Response) -> None:
        """Meter and hand on an answer that comes in one piece, or a provider's error."""
        assert story.way and story.ask and story.outlook
        read_at = self.clock.tick()
        body = await response.read(LARGEST_ANSWER)
        story.waited_ns += self.clock.tick() - read_at
        if isinstance(body, Trouble):
            await self.trouble(story, body)
            return
        status = response.status
        if status >= 400:
            await self.provider_error(story, response, body)
            return
        found = story.wire.answer(body)
        if found == NO_ANSWER and not answer.is_json(body):
            await self.trouble(story, Trouble("protocol", f"{len(body)} bytes that are not an answer", True))
            return
        if found.usage is None:
            outcome, reason, tally = Outcome.SERVED, "usage-not-reported", meter.unknown(story.held())
        else:
            outcome, reason = Outcome.SERVED, disclose.reason_for(story.way.bucket)
            tally = meter.exact(story.way.model, found.usage)
            story.outlook.observe(found.usage, story.ask.text_bytes, story.ask.images, found.output_bytes)
        if story.exchange.gone:
            outcome = Outcome.CLIENT_LEFT
        headers = answer.passed_on(response)
        await self.settle(story, outcome, status, reason, tally)
        headers += self.headers(story)
        story.exchange.respond(status, headers, body)

    async def provider_error(self, story: Story, response: Response, body: bytes) -> None:
        """A provider said no: nothing was used. Its words go on, unless they are about our own account with it."""
        assert story.way
        status = response.status
        await self.settle(story, Outcome.UPSTREAM_ERROR, status, f"provider-status-{status}", None)
        if status in (401, 403):
            provider = story.way.model.provider.id
            message = f"provider {provider} refused the gateway's own credentials (status {status})"
            self.fail_text(story, 502, "provider_refused_credentials", message)
            return
        story.exchange.respond(status, answer.passed_on(response) + self.headers(story), body)

    def headers(self, story: Story) -> Headers:
        """The disclosure that every answer carries."""
        assert story.ask
        found: Headers = [
            (disclose.REQUEST, story.request.encode()),
            (disclose.REQUESTED, story.ask.model.encode("ascii", "backslashreplace")),
            (disclose.PLAN, story.in_force.snapshot.hash[:16].encode()),
        ]
        way = story.way
        if way is not None:
            found.append((disclose.SERVED, way.model.name.encode()))
            if way.why:
                found.append((disclose.REASON, disclose.reason_for(way.bucket).encode()))
        if story.claims:
            claim = story.claims[0]
            balance = self.ledger.balance(claim.key)
            found.append((disclose.BUDGET, disclose.show_use(claim, balance).encode()))
            found.append((disclose.RESETS, str(claim.period.end // 1_000_000).encode()))
        return found

    # meter --------------------------------------------------------------------------------------------------------

    async def settle(self, story: Story, outcome: Outcome, status: int, reason: str, tally: Tally | None) -> None:
        """Close the call's books and wait until they are on disk. Raises LedgerUnavailableError."""
        await self.ledger.durable(self.close(story, outcome, status, reason, tally))

    def close(self, story: Story, outcome: Outcome, status: int, reason: str, tally: Tally | None) -> int:
        """Close the call's books (None: nothing was used); returns the ledger's mark."""
        assert story.ticket is not None
        now = self.clock.now()
        if tally is None:
            record = story.record(outcome, status, reason, NOTHING_USED, self.clock.tick())
            return self.ledger.release(story.ticket, now, record)
        record = story.record(outcome, status, reason, tally, self.clock.tick())
        mark = self.ledger.settle(story.ticket, now, tally.counted, record)
        self.alert(story)
        return mark

    def close_unknown(self, story: Story) -> None:
        """The last resort, when something unforeseen ended the call: never forgotten, counted at its hold."""
        self.close(story, Outcome.UPSTREAM_ERROR, 500, "ended-unexpectedly", meter.unknown(story.held()))

    def alert(self, story: Story) -> None:
        """Raise the thresholds that the call's budgets have reached, each once per period."""
        for claim in story.claims:
            if claim.key.bucket is not Bucket.INCLUDED:
                return
            balance = self.ledger.balance(claim.key)
            limit, granted, settled = claim.limit, balance.granted, balance.settled
            tokens, nano = limit.tokens, limit.nano
            if tokens is not None and 2 * settled.tokens >= tokens:
                self.alert_on(claim, "tokens", settled.tokens, tokens + granted.tokens, story)
            if nano is not None and 2 * settled.nano >= nano:
                self.alert_on(claim, "money", settled.nano, nano + granted.nano, story)

    def alert_on(self, claim: Claim, measure: str, used: int, limit: int, story: Story) -> None:
        """Raise what is due of one ceiling; the ledger appends each id once."""
        now = self.clock.now()
        for threshold in alerts.due(used, limit, claim.period, now):
            self.ledger.append(
                Alert(
                    id=f"{claim.key.path()}/{threshold}",
                    at=now,
                    key=claim.key,
                    threshold=threshold,
                    measure=measure,
                    used=used,
                    limit=limit,
                    runs_out=alerts.runs_out(used, limit, claim.period, now),
                    plan=story.in_force.snapshot.hash,
                )
            )


def _is_stream(response: Response) -> bool:
    """Whether a provider that was asked for a stream sends one; some answer whole all the same."""
    kind = response.header(b"content-type")
    return kind is None or kind[:17].lower() == b"text/event-stream"


def _upstream_id(response: Response) -> str:
    found = response.header(b"x-request-id") or response.header(b"request-id") or b""
    return found.decode("latin-1")[:128]
