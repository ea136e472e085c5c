"""How does a call from one agent to another go through? identify, interface, contract, call, contract, record.

Nothing is held, for an agent's own calls to models are metered where it makes them. The record of a call is on disk
before its last byte leaves.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

import msgspec
import structlog

from upshift.gateway import accept
from upshift.gateway.a2a_answer import JSON, Answering
from upshift.gateway.a2a_tasks import Tasks
from upshift.gateway.agent_link import Link, Links
from upshift.gateway.call import MissingSecretError
from upshift.gateway.flow import Flow
from upshift.http.client import Response, Trouble
from upshift.http.exchange import Exchange, Headers
from upshift.model.contract import A2A, Agent, Enforcement
from upshift.model.ids import RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.refusal import ContractBroken, InterfaceClosed, LedgerDown, NoRoute, Reason, Refused, TooLarge
from upshift.store.ledger import LedgerUnavailableError
from upshift.traffic import contracts, disclose, identify, interfaces
from upshift.traffic.agent_card import through
from upshift.traffic.contracts import Checks, Violation
from upshift.traffic.identify import Caller
from upshift.traffic.interfaces import Passage
from upshift.traffic.snapshot import InForce, Snapshot
from upshift.traffic.wire import a2a as wire
from upshift.traffic.wire import sse

log = structlog.get_logger()

PREFIX = b"/a2a/"
SERVED = ("POST /a2a/{agent}", "GET /a2a/{agent}/.well-known/agent-card.json")
LARGEST_REQUEST = 8 * 1024 * 1024
_LARGEST_CARD = 1024 * 1024
_CARDS = ("/.well-known/agent-card.json", "/.well-known/agent.json")
_CARD_HEADERS: Headers = [*JSON, (b"cache-control", b"no-store")]


class Spoken(msgspec.Struct, eq=False):
    """One call, filled in by each step; turned into its record at the end."""

    exchange: Exchange
    in_force: InForce
    request: RequestId
    record: Metered
    began: int
    """A tick of the clock, in nanoseconds."""
    waited_ns: int = 0
    id: str | int | None = None
    """What the caller numbered its request with."""
    started: bool = False
    """Whether part of a stream has left already."""
    closed: bool = False


class Agents:
    """Calls between agents, and their cards. One per process; every method runs on its event loop."""

    def __init__(self, flow: Flow, environment: Mapping[str, str]) -> None:
        self._flow = flow
        self.links = Links(environment)
        self.tasks = Tasks()
        self._under: Snapshot | None = None
        self._checks: Mapping[str, Checks] = {}

    async def close(self) -> None:
        """Close every connection to agents."""
        await self.links.close()

    async def serve(self, exchange: Exchange) -> None:
        """Serve a call, or an agent's card, below /a2a/."""
        flow = self._flow
        request, now = flow.ids.next(), flow.clock.now()
        in_force = flow.regime.in_force
        record = Metered(request=request, started=now, plan=in_force.snapshot.hash, dialect=A2A)
        call = Spoken(exchange, in_force, request, record, flow.clock.tick())
        path = unquote(exchange.path[len(PREFIX) :].decode("latin-1"))
        try:
            if exchange.method in (b"GET", b"HEAD"):
                await self._card(call, path)
            elif exchange.method == b"POST":
                await self._call(call, path.rstrip("/"))
            else:
                raise Refused(_no_route(exchange))
        except Refused as refused:
            await self._refuse(call, refused.reason)
        except LedgerUnavailableError:
            # The answer may not be given out without its record.
            log.error("ledger.unavailable", request=request)
            self._say_no(call, LedgerDown(retry_seconds=5))
        finally:
            if not call.closed and call.record.agent:
                flow.ledger.note(self._recorded(call, Outcome.UPSTREAM_ERROR, 500, "ended-unexpectedly"), now)

    # the call -----------------------------------------------------------------------------------------------------

    async def _call(self, call: Spoken, name: str) -> None:
        flow, exchange, in_force = self._flow, call.exchange, call.in_force
        caller = self._identified(call)
        callee = interfaces.spoken_to(in_force.snapshot, caller, name, exchange.path.decode("latin-1"))
        speaker = interfaces.speaker(in_force, caller, exchange.header)
        call.record = msgspec.structs.replace(
            call.record, agent=speaker.id, requested_model=f"{speaker.id}:{callee.id}", workload=speaker.workload or ""
        )
        if len(exchange.body) > LARGEST_REQUEST:
            raise Refused(TooLarge(LARGEST_REQUEST))
        asked = wire.read(exchange.body)
        call.id = asked.id
        if isinstance(asked, wire.Fault):
            await self.end(call, Outcome.REFUSED, "invalid_request")
            self.error(call, asked.code, asked.message, "invalid_request")
            return
        session = (exchange.header(interfaces.SESSION_HEADER) or b"").decode("utf-8", "replace")[:128] or asked.context
        call.record = msgspec.structs.replace(call.record, session=session, streamed=asked.streams)
        passage = interfaces.passage(in_force, speaker, callee, session, begins=asked.kind is wire.Kind.MESSAGE)
        self._attribute(call, passage)
        if not flow.ledger.healthy:
            raise Refused(LedgerDown(retry_seconds=5))
        if self.tasks.another(callee.id, asked.task, caller.tenant.id):
            await self.end(call, Outcome.REFUSED, "task_not_found")
            self.error(call, wire.TASK_NOT_FOUND, "Task not found", "task_not_found")
            return
        checks = self._checks_of(in_force.snapshot)[passage.interface.name]
        flagged = self._asked_well(call, passage, checks, asked)
        response = await self._sent(call, passage.callee, asked)
        if response is None:
            return
        answer = Answering(self, call, passage, checks, flagged)
        kind = response.header(b"content-type") or b""
        if response.status < 300 and asked.streams and kind[:17].lower() == b"text/event-stream":
            await answer.stream(response)
        else:
            await answer.whole(response, asked, own_url(exchange, callee))

    def _identified(self, call: Spoken) -> Caller:
        caller = identify.who(call.in_force, accept.headers_of(call.exchange), "", call.record.started)
        call.record = msgspec.structs.replace(
            call.record, tenant=caller.tenant.id, user=caller.user.id, tier=caller.user.tier, key=caller.key.id
        )
        return caller

    def _attribute(self, call: Spoken, passage: Passage) -> None:
        workload = passage.workload
        call.record = msgspec.structs.replace(
            call.record,
            requested_model=passage.interface.name,
            workload=workload.id,
            pod=workload.pod,
            project=workload.project,
        )

    def _checks_of(self, snapshot: Snapshot) -> Mapping[str, Checks]:
        """The schemas of a plan, compiled when it is first met."""
        if snapshot is not self._under:
            self._checks = contracts.checks_of(snapshot.interfaces.values())
            self._under = snapshot
        return self._checks

    def _asked_well(self, call: Spoken, passage: Passage, checks: Checks, asked: wire.Asked) -> tuple[Violation, ...]:
        """What is flagged of a request; nothing where it fits. Raises Refused(ContractBroken)."""
        if asked.message is None or checks.request is None:
            return ()
        payloads = wire.payloads_of(asked)
        found = contracts.violations(checks.request, payloads)
        if not payloads and not passage.interface.text:
            found = (Violation("message.parts", "no part is data, and the contract has a schema for it"),)
        if found and passage.interface.enforcement is Enforcement.REJECT:
            raise Refused(contracts.broken(passage.interface, found))
        return found

    async def _sent(self, call: Spoken, callee: Agent, asked: wire.Asked) -> Response | None:
        """Send a request on; None where the agent cannot be reached and the caller has been told so."""
        flow, record = self._flow, call.record
        try:
            link: Link = self.links.to(callee)
        except MissingSecretError as error:
            await self.trouble(call, "agent-not-configured", str(error))
            return None
        told: Headers = [
            (interfaces.AGENT_HEADER, record.agent.encode()),
            (disclose.REQUEST, call.request.encode()),
            (b"x-upshift-tenant", record.tenant.encode()),
        ]
        call.record = msgspec.structs.replace(record, served_model=callee.id)
        began = flow.clock.tick()
        response = await link.send(call.exchange.headers, told, asked.body)
        call.waited_ns += flow.clock.tick() - began
        if isinstance(response, Trouble):
            await self.trouble(call, f"agent-{response.kind}", f"{response.kind}: {response.detail}")
            return None
        return response

    # the card -----------------------------------------------------------------------------------------------------

    async def _card(self, call: Spoken, path: str) -> None:
        """The agent's own card, with the gateway's address in it. It is asked for anew each time."""
        exchange = call.exchange
        name = next((path.removesuffix(each) for each in _CARDS if path.endswith(each)), None)
        if name is None:
            raise Refused(_no_route(exchange))
        caller = self._identified(call)
        callee = interfaces.spoken_to(call.in_force.snapshot, caller, name, exchange.path.decode("latin-1"))
        try:
            response = await self.links.to(callee).card()
        except MissingSecretError as error:
            response = Trouble("unset", str(error), False)
        body = response if isinstance(response, Trouble) else await response.read(_LARGEST_CARD)
        card = None if isinstance(body, Trouble) else _object(body)
        if card is None or isinstance(response, Trouble) or response.status != 200:
            problem = str(body.detail) if isinstance(body, Trouble) else "it is not the JSON of a card"
            log.warning("agent.no_card", agent=callee.id, problem=problem)
            self.error(call, wire.INTERNAL, f"agent {callee.id} does not show its card", "agent-no-card", 502)
            return
        exchange.respond(200, _CARD_HEADERS, msgspec.json.encode(through(card, own_url(exchange, callee))))

    def tick(self) -> int:
        """The clock that durations are measured by, in nanoseconds."""
        return self._flow.clock.tick()

    # the end ------------------------------------------------------------------------------------------------------

    async def _refuse(self, call: Spoken, reason: Reason) -> None:
        """Say no, and keep the record of having said it."""
        if call.record.key:
            try:
                await self.end(call, Outcome.REFUSED, disclose.deny(reason, call.request).code, _status(reason))
            except LedgerUnavailableError:
                log.error("ledger.unavailable", request=call.request)
        self._say_no(call, reason)

    def _say_no(self, call: Spoken, reason: Reason) -> None:
        if call.started:
            call.exchange.abort()
            return
        denial = disclose.deny(reason, call.request)
        broken = isinstance(reason, ContractBroken)
        code = wire.INVALID_PARAMS if broken else wire.REFUSED
        fields = reason.violations if isinstance(reason, ContractBroken) else ()
        log.info("call.refused", request=call.request, code=denial.code, dialect=A2A)
        body = wire.error(call.id, code, denial.message, denial.code, call.request, fields)
        call.exchange.respond(_status(reason), [*JSON, *denial.headers], body)

    async def trouble(self, call: Spoken, reason: str, detail: str) -> None:
        """The agent cannot be reached, fell silent or said what is no answer."""
        await self.end(call, Outcome.UPSTREAM_ERROR, reason)
        log.warning("agent.failed", request=call.request, agent=call.record.served_model, problem=detail)
        agent = call.record.served_model or call.record.requested_model
        self.error(call, wire.INTERNAL, f"agent {agent} failed ({reason}: {detail})", reason)

    def error(
        self,
        call: Spoken,
        code: int,
        message: str,
        reason: str,
        status: int = 200,
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Answer with an error of JSON-RPC, or end a stream with one."""
        body = wire.error(call.id, code, message, reason, call.request, fields)
        if call.started:
            call.exchange.write(sse.event(body))
            call.exchange.end()
        else:
            headers = [*JSON, (disclose.REQUEST, call.request.encode()), (disclose.REASON, reason.encode())]
            call.exchange.respond(status, headers, body)

    async def end(self, call: Spoken, outcome: Outcome, reason: str, status: int = 200) -> None:
        """Keep the call's record; returns when it is on disk. Raises LedgerUnavailableError."""
        flow = self._flow
        call.closed = True
        record = self._recorded(call, outcome, status, reason)
        await flow.ledger.durable(flow.ledger.note(record, flow.clock.now()))

    def _recorded(self, call: Spoken, outcome: Outcome, status: int, reason: str) -> Metered:
        latency = (self._flow.clock.tick() - call.began) // 1000
        return msgspec.structs.replace(
            call.record,
            outcome=outcome,
            status=status,
            reason=reason,
            latency_us=latency,
            overhead_us=max(0, latency - call.waited_ns // 1000),
        )


def own_url(exchange: Exchange, agent: Agent) -> str:
    """Where the gateway serves an agent, by the address that the caller came by."""
    host = (exchange.header(b"x-forwarded-host") or exchange.header(b"host") or b"localhost").decode("latin-1")
    scheme = "https" if exchange.header(b"x-forwarded-proto") == b"https" else "http"
    return f"{scheme}://{host}/a2a/{quote(agent.id, safe='/:')}"


def _status(reason: Reason) -> int:
    # Clients of A2A show the text of an error that comes with 200, and only the status of any other.
    return 200 if isinstance(reason, InterfaceClosed | ContractBroken) else disclose.deny(reason, "").status


def _no_route(exchange: Exchange) -> NoRoute:
    path = exchange.path.decode("latin-1")[:200]
    return NoRoute(method=exchange.method.decode("latin-1"), path=path, served=SERVED)


def _object(body: bytes) -> dict[str, object] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError):
        return None
