"""How many tokens is an input: what the provider counts, or our own guess that says it is one?"""

import msgspec
import structlog

from upshift.gateway import accept, answer
from upshift.gateway.call import MissingSecretError
from upshift.gateway.flow import Flow
from upshift.http.client import Trouble
from upshift.http.exchange import Exchange
from upshift.traffic import dispatch, identify, police
from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire.wires import WIRES

log = structlog.get_logger()

COUNTED_BY = b"x-upshift-counted-by"
_LARGEST = 1024 * 1024


class _Wrapped(msgspec.Struct):
    """Gemini's clients may send the whole request that they would make."""

    inner: msgspec.Raw = msgspec.field(name="generateContentRequest", default=msgspec.Raw())


_WRAPPED = msgspec.json.Decoder(_Wrapped)


class Lengths:
    """Answers questions of length. Nothing is spent, so no budget is held and no record is kept."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    async def answer(self, exchange: Exchange, dialect: Dialect) -> None:
        """Serve one question. Raises Refused."""
        flow, wire = self._flow, WIRES[dialect]
        ask = wire.read(_request(exchange, dialect), exchange.target.replace(b":countTokens", b":generateContent"))
        in_force, header = flow.regime.in_force, accept.headers_of(exchange)
        caller = identify.who(in_force, header, ask.user_hint, flow.clock.now())
        work = dispatch.to(in_force.snapshot, caller, header(dispatch.WORKLOAD_HEADER), ask.model, dialect)
        police.allow(work, dialect)
        model = work.model
        if dialect is model.provider.dialect or dialect in model.provider.speaks:
            body = exchange.body
            if dialect is Dialect.ANTHROPIC and ask.model != model.upstream_id:
                body = wire.rewrite(body, model=model.upstream_id)
            counted = await self._ask(exchange, dialect, work, body)
            if counted is not None:
                exchange.respond(200, [*answer.JSON, (COUNTED_BY, b"provider")], counted)
                return
        outlook = flow.passes.outlook(caller.tenant.id, work.workload.id, model.name)
        tokens = outlook.usual_input_tokens(ask.text_bytes, ask.images)
        method = f"estimate; from the bytes of the request and {outlook.seen} earlier calls of this workload"
        body = msgspec.json.encode({"totalTokens" if dialect is Dialect.GEMINI else "input_tokens": tokens})
        exchange.respond(200, [*answer.JSON, (COUNTED_BY, method.encode())], body)

    async def _ask(self, exchange: Exchange, dialect: Dialect, work: dispatch.Work, body: bytes) -> bytes | None:
        """The provider's own answer; None where it has none."""
        try:
            route = self._flow.routes.to(work.model.provider)
        except MissingSecretError:
            return None
        response = await route.count(exchange, dialect, work.model.upstream_id, body)
        if not isinstance(response, Trouble):
            if response.status == 200:
                told = await response.read(_LARGEST)
                if not isinstance(told, Trouble):
                    return told
            else:
                response.close()
        log.info("count.estimated", provider=work.model.provider.id)
        return None


def _request(exchange: Exchange, dialect: Dialect) -> bytes:
    """The request whose length is asked for. Raises Refused."""
    if dialect is Dialect.GEMINI:
        try:
            inner = bytes(_WRAPPED.decode(exchange.body).inner)
        except (ValueError, RecursionError):
            return exchange.body
        return inner or exchange.body
    return exchange.body
