"""Where do callers report how finished work was, and agents' own instrumentation send its traces?"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
import structlog

from upshift.gateway import accept, answer
from upshift.http.exchange import Exchange, Headers
from upshift.model.feedback import Reported, Source
from upshift.model.ids import TenantId
from upshift.model.key import Key, Role
from upshift.model.refusal import BadRequest, LedgerDown, NotAllowed, Refused, TooLarge
from upshift.model.span import Instant
from upshift.sources import feedback, otlp
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Journal
from upshift.store.schema import StoreVersionError
from upshift.traffic import identify
from upshift.traffic.snapshot import InForce

log = structlog.get_logger()

FEEDBACK, TRACES = b"/upshift/v1/feedback", b"/v1/traces"
_MOST_WAITING = 16
"""Posts that wait for their turn; each has its body in memory."""
_PROTOBUF = b"application/x-protobuf"

T = TypeVar("T")


class Inbox:
    """Takes reports one post after the other, in a thread, so that they never keep a call waiting.

    It has a journal of its own, opened when the first one comes: whoever reads the other is not to wait for this one.
    """

    def __init__(self, open_journal: Callable[[], Journal]) -> None:
        self._open = open_journal
        self._journal: Journal | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    def serves(self, path: bytes) -> bool:
        """Whether what is posted here is for the inbox."""
        return path in (FEEDBACK, TRACES)

    async def post(self, exchange: Exchange, in_force: InForce, now: Instant) -> None:
        """Serve one post. Raises Refused."""
        key = _caller(exchange, in_force, now)
        if len(exchange.body) > feedback.MOST_BYTES:
            raise Refused(TooLarge(feedback.MOST_BYTES))
        if self._waiting >= _MOST_WAITING:
            exchange.respond(429, [*answer.JSON, (b"retry-after", b"1")], b'{"error":"too many reports at once"}')
            return
        if exchange.path == TRACES:
            await self._traces(exchange, key, now)
        else:
            await self._feedback(exchange, key, now)

    def close(self) -> None:
        """Let the journal go."""
        if self._journal is not None:
            self._journal.close()

    async def _feedback(self, exchange: Exchange, key: Key, now: Instant) -> None:
        if exchange.header(b"content-encoding") not in (None, b"identity"):
            raise Refused(BadRequest(where="content-encoding", what="expected JSON that is not compressed"))

        def take(journal: Journal) -> tuple[int, int]:
            items = feedback.read(exchange.body, now)
            calls = journal.known_calls(feedback.requests(items))
            reports = feedback.attribute(items, calls, key.tenant, key.id, Source.CALLER, now, key.agent)
            return len(reports), journal.add_feedback(reports)

        try:
            received, new = await self._in_turn(take)
        except feedback.BadFeedbackError as error:
            exchange.respond(404 if error.unknown else 400, _ONCE, _refusal(error))
            return
        exchange.respond(200, answer.JSON, msgspec.json.encode({"received": received, "new": new}))

    async def _traces(self, exchange: Exchange, key: Key, now: Instant) -> None:
        kind = (exchange.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind not in (_PROTOBUF, b"application/json"):
            message = "send traces as application/x-protobuf or application/json"
            exchange.respond(415, answer.JSON, otlp.refusal_in_json(message))
            return
        binary = kind == _PROTOBUF
        headers: Headers = [(b"content-type", kind)]
        agent, tasks = key.agent, _asked(exchange).get("tasks", "yes") != "no"
        source = Source.OWN if agent else Source.OTLP

        def take(journal: Journal) -> otlp.Taken:
            body = _unpacked(exchange)
            spans = otlp.spans_of_protobuf(body) if binary else otlp.spans_of_json(body)
            taken = otlp.feedback_of(spans, now + feedback.SKEW, agent=agent, tasks=tasks)
            journal.add_feedback(
                [
                    Reported(feedback.as_kept(each, key.tenant, each.origin), key.tenant, key.id, source, now)
                    for each in taken.records
                ]
            )
            return taken

        try:
            taken = await self._in_turn(take)
        except ValueError as error:
            refusal = otlp.refusal_in_protobuf if binary else otlp.refusal_in_json
            exchange.respond(400, headers, refusal(str(error)))
            return
        if taken.rejected:
            log.warning("traces.rejected", key=key.id, spans=taken.rejected, why=taken.why[0])
        exchange.respond(200, headers, otlp.answer_in_protobuf(taken) if binary else otlp.answer_in_json(taken))

    async def _in_turn(self, task: Callable[[Journal], T]) -> T:
        """Run a task in a thread when it is its turn. Raises Refused where the database is in trouble."""
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(self._with_journal, task)
        except (StoreTroubleError, StoreVersionError) as error:
            log.error("inbox.not_kept", problem=str(error))
            raise Refused(LedgerDown(retry_seconds=5)) from error
        finally:
            self._waiting -= 1

    def _with_journal(self, task: Callable[[Journal], T]) -> T:
        if self._journal is None:
            self._journal = self._open()
        return task(self._journal)


_ONCE: Headers = [*answer.JSON, (b"x-should-retry", b"false")]


def _caller(exchange: Exchange, in_force: InForce, now: Instant) -> Key:
    """Whose report it is. Raises Refused."""
    key = identify.key_of(in_force, identify.secret_of(accept.headers_of(exchange)), now)
    if key.role is not Role.CALLER:
        raise Refused(NotAllowed(what=f"reports with a key of the role {key.role}", allowed=("the admin API",)))
    if TenantId(key.tenant) not in in_force.snapshot.tenants:
        raise Refused(NotAllowed(what=f"reports for tenant {key.tenant!r}, which is not in the plan", allowed=()))
    return key


def _asked(exchange: Exchange) -> Mapping[str, str]:
    return dict(parse_qsl(exchange.query.decode("latin-1")))


def _unpacked(exchange: Exchange) -> bytes:
    """The body without its compression. Raises ValueError, also for one that would unpack to too much."""
    coding = (exchange.header(b"content-encoding") or b"identity").lower()
    if coding == b"identity":
        return exchange.body
    if coding != b"gzip":
        raise ValueError("the body is compressed in another way than gzip")
    unpack = zlib.decompressobj(wbits=31)
    try:
        body = unpack.decompress(exchange.body, feedback.MOST_BYTES + 1)
    except zlib.error as error:
        raise ValueError(f"the body is not gzip: {error}") from error
    if len(body) > feedback.MOST_BYTES or not unpack.eof:
        raise ValueError(f"the body is cut off, or unpacks to more than {feedback.MOST_BYTES:,} bytes")
    return body


def _refusal(error: feedback.BadFeedbackError) -> bytes:
    said = "something that is not known to you" if error.unknown else "something that cannot be kept"
    message = f"nothing was kept, since {len(error.faults):,} times it is about or has {said}; correct it and send all"
    return msgspec.json.encode(
        {
            "error": {"type": "invalid_request_error", "code": "bad-feedback", "message": message},
            "problems": _problems(error),
        }
    )


def _problems(error: feedback.BadFeedbackError) -> Sequence[Mapping[str, str]]:
    return [{"where": each.where, "what": f"{each.value} is not {each.expected}"} for each in error.faults]
