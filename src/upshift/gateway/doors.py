"""What is served beside calls? The models, a caller's own budget, health: never blocked by a budget."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from urllib.parse import parse_qsl

import msgspec

from upshift.gateway import a2a, accept, answer
from upshift.gateway.a2a import Agents
from upshift.gateway.flow import Flow
from upshift.gateway.inbox import Inbox
from upshift.gateway.lengths import Lengths
from upshift.gateway.pools_door import show_pools
from upshift.http.exchange import Exchange, Headers
from upshift.model.budget import Bucket, Claim
from upshift.model.ids import UserId
from upshift.model.refusal import NoRoute, NotAllowed, Refused
from upshift.model.span import Instant, show_instant
from upshift.traffic import alerts, dispatch, identify
from upshift.traffic.snapshot import Model, Overage, Workload
from upshift.traffic.wire.ask import ModelEntry
from upshift.traffic.wire.wires import WIRES

SERVED = (
    "POST /v1/chat/completions",
    "POST /v1/responses",
    "POST /v1/embeddings",
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
    "POST /v1beta/models/{model}:generateContent",
    "POST /v1beta/models/{model}:streamGenerateContent",
    "POST /v1beta/models/{model}:countTokens",
    *a2a.SERVED,
    "GET /v1/models",
    "GET /v1beta/models",
    "GET /upshift/v1/budget",
    "GET /upshift/v1/pools",
    "POST /upshift/v1/feedback",
    "POST /v1/traces",
    "GET /healthz",
    "GET /readyz",
)


class Measure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Use of one kind against one ceiling: tokens, or nano-dollars for money. `limit` None is no ceiling."""

    used: int
    held: int
    limit: int | None = None
    share: float | None = None
    runs_out_at: str | None = None


class BudgetLine(msgspec.Struct, frozen=True):
    """One ceiling of one workload, as its user sees it."""

    workload: str
    bucket: str
    window: str
    period: str
    resets_at: str
    tokens: Measure
    money: Measure
    notices: tuple[str, ...]


class WorkloadBudget(msgspec.Struct, frozen=True):
    """A workload's ceilings and what happens when they are reached."""

    workload: str
    name: str
    at_the_ceiling: str
    models: tuple[str, ...]
    budgets: tuple[BudgetLine, ...]


class BudgetView(msgspec.Struct, frozen=True):
    """The answer of GET /upshift/v1/budget. Money is in nano-dollars."""

    tenant: str
    user: str
    tier: str
    owner: str
    plan: str
    at: str
    workloads: tuple[WorkloadBudget, ...]


class Doors:
    """The handler of the gateway's socket."""

    def __init__(self, flow: Flow, agents: Agents, inbox: Inbox | None = None) -> None:
        self._flow = flow
        self._agents = agents
        self._inbox = inbox
        self._lengths = Lengths(flow)

    def __call__(self, exchange: Exchange) -> Awaitable[None]:
        """Serve one exchange."""
        if exchange.method == b"POST":
            dialect = accept.call_at(exchange.path)
            if dialect is not None:
                return self._flow.call(exchange, dialect)
        if exchange.path.startswith(a2a.PREFIX):
            return self._agents.serve(exchange)
        return self._beside(exchange)

    async def _beside(self, exchange: Exchange) -> None:
        path = exchange.path
        wire = WIRES[accept.dialect_of(exchange)]
        try:
            counting = accept.count_at(path)
            if counting is not None and exchange.method == b"POST":
                await self._lengths.answer(exchange, counting)
            elif self._inbox is not None and exchange.method == b"POST" and self._inbox.serves(path):
                await self._inbox.post(exchange, self._flow.regime.in_force, self._flow.clock.now())
            elif exchange.method not in (b"GET", b"HEAD"):
                self._lost(exchange)
            elif (name := accept.model_at(path)) is not None:
                self._models(exchange, name)
            elif path == b"/upshift/v1/budget":
                await self._budget(exchange)
            elif path == b"/upshift/v1/pools":
                await show_pools(self._flow, exchange)
            elif path == b"/healthz":
                exchange.respond(200, answer.JSON, b'{"status":"ok"}')
            elif path == b"/readyz":
                self._ready(exchange)
            else:
                self._lost(exchange)
        except Refused as refused:
            answer.refuse(exchange, wire, refused.reason, self._flow.ids.next())

    def _lost(self, exchange: Exchange) -> None:
        if exchange.header(b"upgrade") is not None:
            # Coding agents that try a WebSocket first fall back to POST at once on 426, and on nothing else.
            exchange.respond(426, [*answer.JSON, (b"x-should-retry", b"false")], b'{"error":"no websocket here; POST"}')
            return
        method, path = exchange.method.decode("latin-1"), exchange.path.decode("utf-8", "replace")[:200]
        raise Refused(NoRoute(method=method, path=path, served=SERVED))

    def _ready(self, exchange: Exchange) -> None:
        healthy = self._flow.ledger.healthy
        body = msgspec.json.encode(
            {
                "ready": healthy,
                "ledger": healthy,
                "database_away": self._flow.ledger.away,
                "plan": self._flow.regime.in_force.snapshot.hash,
            }
        )
        exchange.respond(200 if healthy else 503, answer.JSON, body)

    def _models(self, exchange: Exchange, name: str) -> None:
        """The models that this key may ask for, in the dialect that asks."""
        in_force, now = self._flow.regime.in_force, self._flow.clock.now()
        key = identify.key_of(in_force, identify.secret_of(accept.headers_of(exchange)), now)
        dialect = accept.dialect_of(exchange)
        open_workloads = dispatch.open_to(in_force.snapshot, key.tenant, key.workloads)  # type: ignore[arg-type]
        models: dict[str, Model] = {}
        for workload in open_workloads:
            for model in workload.primary + workload.substitutes:
                models.setdefault(model.name, model)
        wire = WIRES[dialect]
        if not name:
            entries = [ModelEntry(model.name, model.provider.id) for model in models.values()]
            exchange.respond(200, answer.JSON, wire.models(entries))
            return
        found = models.get(name)
        if found is None:
            raise Refused(NotAllowed(what=f"model {name[:200]!r}", allowed=tuple(models)))
        exchange.respond(200, answer.JSON, wire.model(ModelEntry(found.name, found.provider.id)))

    async def _budget(self, exchange: Exchange) -> None:
        """The caller's own ceilings: used, held, pace, and what happens when they are reached."""
        flow, now = self._flow, self._flow.clock.now()
        in_force = flow.regime.in_force
        caller = identify.who(in_force, accept.headers_of(exchange), _query(exchange).get("user", ""), now)
        view = []
        for workload in dispatch.open_to(in_force.snapshot, caller.tenant.id, caller.key.workloads):
            consent = in_force.consents.get((caller.tenant.id, workload.id))
            buckets = [Bucket.INCLUDED]
            if Overage.SOFT_CAP in workload.gate.ladder:
                buckets.append(Bucket.DEGRADED)
            if consent is not None and Overage.PAY_AS_YOU_GO in workload.gate.ladder:
                buckets.append(Bucket.OVERAGE)
            claims = [
                claim
                for bucket in buckets
                for claim in flow.accounts.of(caller.tenant, caller.user, workload, bucket, consent, now).claims
                if claim.key.user == caller.user.id
            ]
            await flow.ledger.refresh([claim.key for claim in claims])
            lines = tuple(self._line(claim, now) for claim in claims)
            view.append(
                WorkloadBudget(
                    workload.id,
                    workload.name,
                    _at_the_ceiling(workload, consented=consent is not None),
                    tuple(model.name for model in workload.primary),
                    lines,
                )
            )
        body = BudgetView(
            tenant=caller.tenant.id,
            user=UserId(caller.user.id),
            tier=caller.user.tier,
            owner=caller.tenant.owner,
            plan=in_force.snapshot.hash,
            at=show_instant(now, caller.tenant.zone),
            workloads=tuple(view),
        )
        exchange.respond(200, _NOT_KEPT, msgspec.json.encode(body))

    def _line(self, claim: Claim, now: Instant) -> BudgetLine:
        balance = self._flow.ledger.balance(claim.key)
        limit, granted = claim.limit, balance.granted
        most_tokens = None if limit.tokens is None else limit.tokens + granted.tokens
        most_nano = None if limit.nano is None else limit.nano + granted.nano
        tokens = _measure(balance.settled.tokens, balance.held.tokens, most_tokens, claim, now)
        money = _measure(balance.settled.nano, balance.held.nano, most_nano, claim, now)
        notices: list[str] = []
        for used, most, what in (
            (balance.settled.tokens, most_tokens, "tokens"),
            (balance.settled.nano, most_nano, "money"),
        ):
            if most is not None and claim.key.bucket is Bucket.INCLUDED:
                notices += [
                    _NOTICES[level].format(what=what) for level in alerts.due(used, most, claim.period, now)[-1:]
                ]
        if claim.key.bucket is Bucket.DEGRADED and balance.settled.tokens:
            notices.append("degraded: since the ceiling was reached, answers come from the budget model tier")
        if claim.key.bucket is Bucket.OVERAGE and balance.settled.tokens:
            notices.append("overage: use beyond the ceiling is metered and invoiced to the tenant")
        return BudgetLine(
            claim.key.workload,
            claim.key.bucket,
            claim.key.window,
            claim.key.period,
            show_instant(claim.period.end, claim.period.zone),
            tokens,
            money,
            tuple(notices),
        )


_NOT_KEPT: Headers = [*answer.JSON, (b"cache-control", b"no-store")]
_NOTICES: Mapping[int, str] = {
    70: "notice: at this pace the {what} budget is used up before its period ends",
    90: "warning: the {what} budget is nearly used up",
    100: "reached: the {what} budget is used up",
}


def _measure(used: int, held: int, limit: int | None, claim: Claim, now: Instant) -> Measure:
    if limit is None:
        return Measure(used, held)
    end = alerts.runs_out(used, limit, claim.period, now)
    runs_out = None if end is None else show_instant(end, claim.period.zone)
    return Measure(used, held, limit, round((used + held) / limit, 4) if limit else 1.0, runs_out)


def _at_the_ceiling(workload: Workload, *, consented: bool) -> str:
    steps = []
    for step in workload.gate.ladder:
        match step:
            case Overage.SOFT_CAP:
                names = ", ".join(model.name for model in workload.substitutes)
                steps.append(f"soft-cap: calls are served by the budget model tier ({names}) and say so")
            case Overage.PAY_AS_YOU_GO:
                on = (
                    "is metered and invoiced to the tenant"
                    if consented
                    else "is possible once a tenant's admin opts in"
                )
                steps.append(f"pay-as-you-go: further use {on}")
            case Overage.HARD_CAP:
                steps.append("hard-cap: calls are refused until the period ends")
    if Overage.HARD_CAP not in workload.gate.ladder:
        steps.append("then calls are refused until the period ends")
    return "; ".join(steps)


def _query(exchange: Exchange) -> dict[str, str]:
    return dict(parse_qsl(exchange.query.decode("latin-1")))


def refusal_of_bad_http(status: int, what: str, target: bytes | None, headers: Headers) -> tuple[Headers, bytes]:
    """The answer to bytes that are not a request we can read, in the words of the dialect as far as it shows."""
    path = (target or b"").partition(b"?")[0]
    wire = WIRES[accept.dialect_by(path, dict(reversed(headers)).get)]
    body = wire.refusal(status, "invalid_request", what, "")
    return [*answer.JSON, (b"x-should-retry", b"false")], body
