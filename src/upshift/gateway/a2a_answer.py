"""How does an agent's answer come back: held against its contract, whole or event by event, and recorded?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from upshift.http.client import Response, Trouble
from upshift.http.exchange import Headers
from upshift.model.contract import BROKEN_BECAUSE, TASK_FAILED, Enforcement
from upshift.model.metered import Outcome
from upshift.traffic import contracts, disclose
from upshift.traffic.agent_card import through
from upshift.traffic.contracts import Checks, Violation
from upshift.traffic.interfaces import Passage
from upshift.traffic.wire import a2a as wire
from upshift.traffic.wire import sse

if TYPE_CHECKING:
    from upshift.gateway.a2a import Agents, Spoken

log = structlog.get_logger()

LARGEST_ANSWER = 16 * 1024 * 1024
JSON: Headers = [(b"content-type", b"application/json")]
_EVENTS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_PASSED_BACK = frozenset((b"a2a-version", b"a2a-extensions", b"x-a2a-extensions"))


class Answering:
    """One answer on its way back."""

    def __init__(
        self, agents: Agents, call: Spoken, passage: Passage, checks: Checks, flagged: tuple[Violation, ...]
    ) -> None:
        self._agents = agents
        self._call = call
        self._exchange = call.exchange
        self._passage = passage
        self._checks = checks
        self._flagged = list(flagged)
        self._error: wire.Told | None = None
        self._failed = False
        self._spoke = False
        """Whether a stream had an event."""

    async def whole(self, response: Response, asked: wire.Asked, url: str) -> None:
        """Hand on an answer that comes in one piece. `url` is where the gateway serves the agent."""
        agents, call = self._agents, self._call
        began = agents.tick()
        body = await response.read(LARGEST_ANSWER)
        call.waited_ns += agents.tick() - began
        if isinstance(body, Trouble):
            await agents.trouble(call, f"agent-{body.kind}", f"{body.kind}: {body.detail}")
            return
        told = wire.told(body)
        if response.status in (401, 403):
            await agents.trouble(call, "agent-refused-credentials", f"status {response.status} to the gateway's key")
            return
        if told is None or 300 <= response.status < 400:
            detail = f"status {response.status}, and {len(body)} bytes that are no answer of JSON-RPC"
            await agents.trouble(call, "agent-protocol", detail)
            return
        found = self._judged(told)
        if found and self._passage.interface.enforcement is Enforcement.REJECT:
            await self._break(found)
            return
        if asked.kind is wire.Kind.CARD and isinstance(told.document.get("result"), dict):
            body = msgspec.json.encode(told.document | {"result": through(told.document["result"], url)})
        else:
            body = told.body
        await agents.end(call, *self._outcome())
        self._exchange.respond(response.status, self._headers(JSON, response), body)

    async def stream(self, response: Response) -> None:
        """Hand on a stream, each event once it is known to fit."""
        agents, call, exchange = self._agents, self._call, self._exchange
        exchange.start(response.status, self._headers(_EVENTS, response))
        call.started = True
        exchange.on_gone(response.close)
        splitter = sse.Splitter()
        while True:
            began = agents.tick()
            piece = await response.chunk()
            call.waited_ns += agents.tick() - began
            if exchange.gone:
                response.close()
                await agents.end(call, Outcome.CLIENT_LEFT, "client-left")
                return
            if isinstance(piece, Trouble):
                await agents.trouble(call, f"agent-{piece.kind}", f"{piece.kind}: {piece.detail}")
                return
            if piece is None:
                break
            if not call.record.first_byte_us:
                call.record = msgspec.structs.replace(call.record, first_byte_us=(agents.tick() - call.began) // 1000)
            for event in splitter.cut(piece):
                if not await self._event(event):
                    response.close()
                    return
            if splitter.broken:
                response.close()
                await agents.trouble(call, "agent-protocol", f"an event of more than {sse.LARGEST_EVENT:,} bytes")
                return
            began = agents.tick()
            await exchange.drain()
            call.waited_ns += agents.tick() - began
        # An event whose empty line never came is whole or cut: what it says tells.
        rest = splitter.rest()
        if rest.strip() and not await self._event(rest + b"\n\n"):
            return
        if not self._spoke:
            await agents.trouble(call, "agent-protocol", "a stream that ended without an event")
            return
        await agents.end(call, *self._outcome())
        exchange.end()

    async def _event(self, event: bytes) -> bool:
        """Hand one event on; False where it ends the stream."""
        data = sse.payload(event)
        if not data:
            self._exchange.write(event)
            return True
        told = wire.told(data)
        if told is None:
            detail = f"an event of {len(data)} bytes that is no answer of JSON-RPC"
            await self._agents.trouble(self._call, "agent-protocol", detail)
            return False
        self._spoke = True
        found = self._judged(told)
        if found and self._passage.interface.enforcement is Enforcement.REJECT:
            await self._break(found)
            return False
        if found:
            self._exchange.write(b": upshift: " + self._notice(found) + b"\n\n")
        self._exchange.write(sse.event(told.body))
        return True

    def _judged(self, told: wire.Told) -> tuple[Violation, ...]:
        """What an answer breaks; notes by the way how the call stands."""
        call = self._call
        if told.error is not None:
            self._error = told
            return ()
        self._failed = self._failed or told.failed
        self._agents.tasks.learn(self._passage.callee.id, wire.task_in(told), call.record.tenant)
        if not call.record.session and (context := wire.context_in(told)):
            call.record = msgspec.structs.replace(call.record, session=context)
        found = contracts.violations(self._checks.response, wire.payloads_in(told))
        self._flagged += found
        return found

    def _outcome(self) -> tuple[Outcome, str]:
        error = self._error
        if self._exchange.gone:
            return Outcome.CLIENT_LEFT, "client-left"
        if error is not None:
            outcome = Outcome.SERVED if error.callers_fault else Outcome.UPSTREAM_ERROR
            return outcome, f"agent-error{error.error}"
        if self._flagged:
            return Outcome.SERVED, BROKEN_BECAUSE
        return Outcome.SERVED, TASK_FAILED if self._failed else ""

    async def _break(self, found: tuple[Violation, ...]) -> None:
        """An answer that does not fit goes no further."""
        call, interface = self._call, self._passage.interface
        await self._agents.end(call, Outcome.UPSTREAM_ERROR, BROKEN_BECAUSE)
        log.warning("contract.broken", request=call.request, interface=interface.name, by=interface.callee)
        listed = "; ".join(map(str, found))
        message = (
            f"the answer of agent {interface.callee} breaks contract {interface.name} {interface.version}: {listed}"
        )
        fields = tuple((each.where, each.what) for each in found)
        self._agents.error(call, wire.INVALID_ANSWER, message, BROKEN_BECAUSE, fields=fields)

    def _headers(self, own: Headers, response: Response) -> Headers:
        call = self._call
        headers: Headers = [
            *own,
            *(header for header in response.headers if header[0] in _PASSED_BACK),
            (disclose.REQUEST, call.request.encode()),
            (disclose.PLAN, call.in_force.snapshot.hash[:16].encode()),
        ]
        if self._flagged:
            headers.append((disclose.NOTICE, self._notice(tuple(self._flagged))))
        return headers

    def _notice(self, found: tuple[Violation, ...]) -> bytes:
        interface = self._passage.interface
        text = f"contract {interface.name} {interface.version} is broken at {', '.join(each.where for each in found)}"
        # Names of fields come from a message: what could end a line must not be in a header.
        return text.encode("ascii", "backslashreplace").translate(None, b"\r\n\0")[:1000]
