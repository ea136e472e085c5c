"""How does a call go through? accept, identify, dispatch, police, route, gate, call, meter, answer, in one function.

Nothing of an answer leaves before the call's hold is on disk, and its last byte waits for the record of what it used.
"""

import asyncio
import itertools
import os
import random

import msgspec
import structlog

from upshift.gateway import accept, answer, sending
from upshift.gateway.accounts import Accounts
from upshift.gateway.bid import Bid
from upshift.gateway.call import Routes
from upshift.gateway.clock import Clock
from upshift.gateway.opening import LARGEST_ANSWER
from upshift.gateway.passes import Pass, Passes
from upshift.gateway.pools import LocalPools, Pools, Seat
from upshift.gateway.regime import Regime
from upshift.gateway.story import NOTHING_USED, Story
from upshift.gateway.streaming import Streaming
from upshift.http import head
from upshift.http.client import Response, Trouble
from upshift.http.exchange import Exchange, Headers
from upshift.model.budget import Bucket, Claim
from upshift.model.entry import Alert
from upshift.model.ids import RequestId
from upshift.model.metered import Outcome
from upshift.model.pool import Place
from upshift.model.refusal import LedgerDown, NoneOpen, OverBudget, PoolFull, Reason, Refused
from upshift.model.span import MICROS, Instant
from upshift.store.ledger import Deny, Ledger, LedgerUnavailableError
from upshift.traffic import alerts, attempts, disclose, gate, meter
from upshift.traffic.affinity import Affinity
from upshift.traffic.health import Board, State, Verdict
from upshift.traffic.meter import Tally
from upshift.traffic.route import Way, Ways
from upshift.traffic.snapshot import Dialect, Model
from upshift.traffic.wire.ask import PLAIN, Ask
from upshift.traffic.wire.wires import WIRES

log = structlog.get_logger()

# Looking a member up on its class runs Python code in 3.11.
_INCLUDED, _SERVED, _CLIENT_LEFT, _RESPONSES = Bucket.INCLUDED, Outcome.SERVED, Outcome.CLIENT_LEFT, Dialect.RESPONSES

KEPT_SECONDS = 30 * 86_400.0
"""How long OpenAI keeps an answer that a later call may go on from."""


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
        self, *, regime: Regime, ledger: Ledger, routes: Routes, accounts: Accounts, clock: Clock,
        strict: bool = False, pools: Pools | None = None,
    ) -> None:  # fmt: skip
        self.regime = regime
        self.ledger = ledger
        self.routes = routes
        self.accounts = accounts
        self.clock = clock
        self.strict = strict
        """Send nothing upstream before the hold is on disk (costs one commit of latency)."""
        self.ids = RequestIds()
        self.passes = Passes()
        self.board = Board()
        self.affinity = Affinity()
        self.states = Affinity(seconds=KEPT_SECONDS)
        """Who keeps which answers and conversations, by their tenant and name."""
        self.pools: Pools = pools or LocalPools(clock)
        """Where calls find a place, if not here."""
        self.know_pools()
        regime.on_change(self.know_pools)

    def know_pools(self) -> None:
        """Take up the capacity pools of the plan that is in force."""
        self.pools.know(self.regime.in_force.snapshot.pools)

    async def call(self, exchange: Exchange, dialect: Dialect) -> None:
        """Serve one call from its first step to its last byte."""
        wire = WIRES[dialect]
        story = Story(exchange, wire, self.regime.in_force, self.ids.next(), self.clock.now(), self.clock.tick())
        try:
            said = accept.said(exchange, dialect)
            story.ask = ask = accept.read(exchange, wire, said.coding)
            let_in = self.passes.of(story, ask, said)  # identify, dispatch, police
            story.attribute(ask, said, let_in)
            if ask.state:
                story.ask = ask = self.held(ask, let_in)
            ways = let_in.ways(ask)  # route
            if let_in.work.workload.pool is not None and not await self.take_place(story, ask, let_in):
                return
            bid = self.bid(story, ask, let_in, ways)
            self.gate(story, let_in, await self.hold(story, bid, let_in.work.workload.gate.patience_seconds))
            if story.exchange.gone:
                # It waited for its budget longer than its client did: nothing is sent for nobody.
                self.close(story, _CLIENT_LEFT, 499, "client-left", None)
                return
            if story.seat is not None:
                story.seat.count(0)
            story, response = await sending.send(self, story, ask, said.seconds)  # call
            if not isinstance(response, Response):
                if response is not None:
                    await self.trouble(story, response)
                return
            story.upstream_id = _upstream_id(response)
            if response.status >= 400:
                await self.refused_by_provider(story, response)
            elif story.opened is not None:
                await Streaming(self, story, response, story.opened).run()
            else:
                await self.whole(story, ask, response)
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
            if story.seat is not None:
                self.pools.leave(story.seat.pool, story.request, story.seat.used)

    def refuse(self, story: Story, reason: Reason) -> None:
        """Say no, and keep the record of having said it."""
        denial = answer.refuse(story.exchange, story.wire, reason, story.request)
        record = story.record(Outcome.REFUSED, denial.status, denial.code, NOTHING_USED, self.clock.tick())
        if story.ticket is not None and not story.ticket.closed:
            # It was let in, and then no provider could be sent it.
            self.ledger.release(story.ticket, self.clock.now(), record)
        elif story.caller is not None:
            # Calls without a good key belong to nobody; keeping them would let anybody fill the disk.
            self.ledger.note(record, self.clock.now())
        log.info("call.refused", request=story.request, code=denial.code, status=denial.status)

    def held(self, ask: Ask, let_in: Pass) -> Ask:
        """A call that goes on from what a provider keeps, with its name where it is known. Raises Refused.

        Nobody else has it, so where that one is out there is no use in trying.
        """
        kept = self.states.of((let_in.caller.tenant.id, ask.state), self.clock.now())
        if kept is None:
            return ask
        if not self.board.untroubled(kept.provider):
            circuit, now = self.board.circuit(kept.provider), self.clock.now()
            if circuit.state(now) is State.OPEN:
                wait = max(1, -(-(circuit.until - now) // MICROS))
                raise Refused(NoneOpen(let_in.work.model.name, kept.provider, wait, f"only it keeps {ask.state}"))
        return msgspec.structs.replace(ask, holder=kept.provider)

    # pool ---------------------------------------------------------------------------------------------------------

    async def take_place(self, story: Story, ask: Ask, let_in: Pass) -> bool:
        """Wait for a place in the workload's capacity pool; False where the client left. Raises Refused.

        Before the gate, so that a call which waits holds no budget. Its rate is charged what a usual call uses, and
        corrected at its end.
        """
        work, caller = let_in.work, let_in.caller
        pool = work.workload.pool
        assert pool is not None
        outlook = let_in.outlook
        usual = min(gate.asked_output(ask, work.model), outlook.output_tokens()) * ask.choices
        tokens = outlook.input_tokens(ask.text_bytes, ask.images) + usual
        place = Place(story.request, work.workload.id, caller.tenant.id, caller.user.id, tokens)
        story.seat = Seat(pool)
        found = self.pools.enter(pool, place)
        if isinstance(found, asyncio.Future):
            waiting, began = found, self.clock.tick()

            def wait_no_more() -> None:
                if not waiting.done():
                    waiting.set_result(None)

            story.exchange.on_gone(wait_no_more)
            found = await waiting
            story.waited_ns += self.clock.tick() - began
            if story.exchange.gone:
                record = story.record(Outcome.CLIENT_LEFT, 499, "client-left", NOTHING_USED, self.clock.tick())
                self.ledger.note(record, self.clock.now())
                return False
        if found is not None:
            raise Refused(PoolFull(pool.id, work.workload.id, found))
        return True

    # gate ---------------------------------------------------------------------------------------------------------

    def bid(self, story: Story, ask: Ask, let_in: Pass, ways: Ways) -> Bid:
        """What the call asks of the ledger."""
        return Bid(
            story, ask, let_in, ways, self.accounts, self.passes, self.clock, self.board, self.affinity,
            random.random(), self.clock.tick(),
        )  # fmt: skip

    def gate(self, story: Story, let_in: Pass, denied: Reason | None) -> None:
        """What follows from what the ledger said. Raises Refused where that was no."""
        if denied is not None:
            if isinstance(denied, OverBudget):
                self.reached(story, let_in)
            raise Refused(denied)
        assert story.way
        if story.way.bucket is not _INCLUDED:
            self.reached(story, let_in)

    async def hold(self, story: Story, bid: Bid, patience_seconds: float) -> Reason | None:
        """Hold what a bid may cost, on the first of its ways that is open; why not, where none is."""
        assert story.opening
        decided = await self.ledger.decide(
            story.request, story.opening.plan, self.clock.now, bid, patience_seconds, story.opening
        )
        story.waited_ns += self.clock.tick() - bid.asked_at
        if isinstance(decided, Deny):
            return decided.reason
        admitted, story.ticket = decided
        story.way = bid.ways.tried[admitted.step]
        return None

    # call ---------------------------------------------------------------------------------------------------------

    async def trouble(self, story: Story, trouble: Trouble) -> None:
        """A provider could not be reached, or fell silent. What was sent may have been billed: then it counts."""
        assert story.model
        provider = story.model.provider
        if trouble.kind == "unset":
            self.close(story, Outcome.UPSTREAM_ERROR, 502, "provider_not_configured", None)
            self.fail_text(story, 502, "provider_not_configured", trouble.detail)
            return
        status = 504 if trouble.kind.endswith("timeout") else 502
        tally = meter.unknown(story.held()) if trouble.request_sent else None
        await self.settle(story, Outcome.UPSTREAM_ERROR, status, f"provider-{trouble.kind}", tally)
        message = f"provider {provider.id} failed ({trouble.kind}: {trouble.detail})"
        self.fail_text(story, status, "provider_failed", message)

    def fail_text(self, story: Story, status: int, code: str, message: str) -> None:
        log.warning("call.failed", request=story.request, code=code, problem=message)
        answer.fail(story.exchange, story.wire, status, code, message, story.request, self.disclosure(story))

    # answer -------------------------------------------------------------------------------------------------------

    async def whole(self, story: Story, ask: Ask, response: Response) -> None:
        """Meter and hand on an answer that comes in one piece."""
        model, outlook = story.model, story.outlook
        assert model
        assert outlook
        assert story.whole
        body, found = story.whole.body, story.whole.found
        usage = found.usage
        if usage is None:
            reason, tally = "usage-not-reported", meter.unknown(story.held())
        else:
            extras = found.extras if ask.extras is PLAIN else story.extras(found.extras)
            reason, tally = story.reason(), meter.exact(model, usage, extras, story.held())
            outlook.observe(usage, ask.text_bytes, ask.images, found.output_bytes)
        told = answer.passed_on(response)
        if story.translated is not None:
            try:
                body = story.translated.reply(body, model.name)
            except ValueError as error:
                await self.trouble(story, Trouble("protocol", f"an answer that cannot be translated: {error}", True))
                return
            told = answer.JSON
        outcome = _CLIENT_LEFT if story.exchange.gone else _SERVED
        await self.ledger.durable(self.close(story, outcome, response.status, reason, tally))
        self.alert(story)
        self.stay(story, ask, found.upstream_id)
        story.exchange.respond(response.status, told, body, self.disclosure(story))

    def stay(self, story: Story, ask: Ask, answer_id: str) -> None:
        """A session that was served stays on its route, since its prompt cache is there now; so does what goes on from
        this answer, since its provider may keep it and no other has it: not even where it was translated, and nobody
        keeps what its client has."""
        several = len(story.targets) > 1
        if not several and ask.dialect is not _RESPONSES:
            return
        model, let_in, now = story.model, story.let_in, self.clock.now()
        assert model
        assert let_in
        if several and story.session is not None:
            self.affinity.keep(story.session, model.name, model.provider.id, now)
        if ask.dialect is _RESPONSES:
            for name in (ask.state, answer_id):
                if name:
                    self.states.keep((let_in.caller.tenant.id, name), model.name, model.provider.id, now)

    def broke_off(self, model: Model, kind: str) -> None:
        """An answer ended before its time. How long one may be in all is our own limit."""
        if kind not in ("total_timeout", "too_large"):
            self.board.end(model, Verdict.DOWN, self.clock.now())

    async def refused_by_provider(self, story: Story, response: Response) -> None:
        """A provider said no. Its words go on, unless they are about our own account with it.

        Nothing was used, but where something gave up waiting for an answer that may have been made.
        """
        assert story.model
        read_at = self.clock.tick()
        body = await response.read(LARGEST_ANSWER)
        story.waited_ns += self.clock.tick() - read_at
        if isinstance(body, Trouble):
            self.broke_off(story.model, body.kind)
            await self.trouble(story, body)
            return
        status = response.status
        tally = meter.unknown(story.held()) if status in attempts.UNSURE else None
        await self.settle(story, Outcome.UPSTREAM_ERROR, status, f"provider-status-{status}", tally)
        if status in (401, 403):
            provider = story.model.provider.id
            message = f"provider {provider} refused the gateway's own credentials (status {status})"
            self.fail_text(story, 502, "provider_refused_credentials", message)
            return
        told = answer.passed_on(response)
        if story.translated is not None:
            body = story.translated.translation.error(status, body, story.request)
            told = answer.JSON + [header for header in told if header[0] == b"retry-after"]
        story.exchange.respond(status, told, body, self.disclosure(story))

    def disclosure(self, story: Story) -> bytes:
        """The disclosure that every answer carries, as lines of its head."""
        assert story.let_in
        assert story.way
        assert story.account
        assert story.model
        account = story.account
        claim = account.claims[0]
        use = disclose.show_use(claim, self.ledger.balance(claim.key))
        lines = disclose.LINES % (
            story.request.encode(), story.let_in.shown(story.way, story.model), use.encode(), account.resets
        )  # fmt: skip
        if story.trail or story.rerouted or story.translated is not None or story.limited or self.ledger.away:
            lines += head.lines(self.remarks(story, story.way, story.model))
        return lines

    def remarks(self, story: Story, way: Way, model: Model) -> Headers:
        """What there is to disclose of a call that was not simply served where it was first sent, as it was asked."""
        remarks: Headers = [disclose.RECORDED_AWAY] if self.ledger.away else []
        if story.trail:
            remarks.append((disclose.TRIED, attempts.said(story.trail).encode()))
        if story.rerouted:
            remarks.append((disclose.PROVIDER, model.provider.id.encode()))
            if not way.why:
                remarks.append((disclose.REASON, story.rerouted.encode()))
        if story.translated is not None and (lost := story.translated.not_carried()):
            remarks.append((disclose.NOT_CARRIED, lost.encode()))
        if story.limited:
            notice = f"the budget leaves at most {story.limited} tokens for this answer"
            remarks.append((disclose.NOTICE, notice.encode()))
            if not way.why and not story.rerouted:
                remarks.append((disclose.REASON, disclose.LIMITED_BECAUSE.encode()))
        return remarks

    # meter --------------------------------------------------------------------------------------------------------

    async def settle(self, story: Story, outcome: Outcome, status: int, reason: str, tally: Tally | None) -> None:
        """Close the call's books; returns when they are on disk. Raises LedgerUnavailableError."""
        await self.ledger.durable(self.close(story, outcome, status, reason, tally))
        if tally is not None:
            # Only now does a ledger that decides elsewhere know what the budgets have come to.
            self.alert(story)

    def close(self, story: Story, outcome: Outcome, status: int, reason: str, tally: Tally | None) -> int:
        """Close the call's books (None: nothing was used); returns the ledger's mark."""
        assert story.ticket is not None
        now = self.clock.now()
        if tally is None:
            record = story.record(outcome, status, reason, NOTHING_USED, self.clock.tick())
            return self.ledger.release(story.ticket, now, record)
        if story.seat is not None:
            story.seat.count(tally.counted.tokens)
        record = story.record(outcome, status, reason, tally, self.clock.tick())
        return self.ledger.settle(story.ticket, now, tally.counted, record)

    def close_unknown(self, story: Story) -> None:
        """The last resort, when something unforeseen ended the call: never forgotten, counted at its hold."""
        self.close(story, Outcome.UPSTREAM_ERROR, 500, "ended-unexpectedly", meter.unknown(story.held()))

    def alert(self, story: Story) -> None:
        """Raise the thresholds that the call's budgets have reached, each once per period."""
        assert story.account
        for claim, half in story.account.watched:
            balance = self.ledger.balance(claim.key)
            settled = balance.settled
            if settled.tokens >= half.tokens or settled.nano >= half.nano:
                limit, granted = claim.limit, balance.granted
                if limit.tokens is not None:
                    self.alert_on(claim, "tokens", settled.tokens, limit.tokens + granted.tokens, story)
                if limit.nano is not None:
                    self.alert_on(claim, "money", settled.nano, limit.nano + granted.nano, story)

    def reached(self, story: Story, let_in: Pass) -> None:
        """The overage rule has taken over: raise the contract event of the ceilings that are as good as used up."""
        caller, now = let_in.caller, self.clock.now()
        workload = let_in.work.workload
        account = self.accounts.of(caller.tenant, caller.user, workload, Bucket.INCLUDED, let_in.consent, now)
        for claim in account.claims:
            balance = self.ledger.balance(claim.key)
            limit, granted, settled = claim.limit, balance.granted, balance.settled
            for measure, used, most in (
                ("tokens", settled.tokens, None if limit.tokens is None else limit.tokens + granted.tokens),
                ("money", settled.nano, None if limit.nano is None else limit.nano + granted.nano),
            ):
                if most is not None and alerts.spoken_for(used, most):
                    self.raise_alert(claim, 100, measure, used, most, story, now)

    def alert_on(self, claim: Claim, measure: str, used: int, limit: int, story: Story) -> None:
        """Raise what is due of one ceiling; the ledger appends each id once."""
        now = self.clock.now()
        for threshold in alerts.due(used, limit, claim.period, now):
            self.raise_alert(claim, threshold, measure, used, limit, story, now)

    def raise_alert(
        self, claim: Claim, threshold: int, measure: str, used: int, limit: int, story: Story, now: Instant
    ) -> None:
        """Append one alert; the ledger knows those that were raised before."""
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


def _upstream_id(response: Response) -> str:
    # One pass over the headers instead of one for each name.
    headers = dict(response.headers)
    found = headers.get(b"x-request-id") or headers.get(b"request-id")
    return found.decode("latin-1")[:128] if found else ""
