"""Has every call been sent to the OpenTelemetry collector? Follows the ledger, so that a restart loses none."""

import asyncio
import http.client
import ssl
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote, urlsplit

import msgspec
import structlog

from upshift.engine import genai, otlp
from upshift.engine.follow import calls_after, last_call
from upshift.model.entry import Decision
from upshift.model.metered import Metered, Outcome
from upshift.model.span import MICROS, Instant
from upshift.model.tokens import Certainty
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Journal
from upshift.traffic.snapshot import Snapshot

log = structlog.get_logger()

SENT = "telemetry-sent"
"""Decisions of this kind say up to which entry calls were sent. After a crash those since the last are sent again."""
_NOTE_SECONDS = 300
_LEASE_SECONDS = 60.0
_PAGE = 500
_FIRST_PAUSE, _LAST_PAUSE = 2, 300
_HOPELESS = frozenset((400, 413, 415, 422))
"""Statuses of what will never be taken, however often it is sent."""
_MOST_POINTS = 2_000

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(float(4**power) for power in range(14))
"""The bounds of buckets that the conventions ask for."""


class Target(msgspec.Struct, frozen=True):
    """Where traces and metrics go; an empty URL sends none of that kind."""

    traces: str
    metrics: str
    headers: tuple[tuple[str, str], ...]
    service: str
    timeout_seconds: float
    resource: tuple[tuple[str, str], ...] = ()


class NotSentError(Exception):
    """The collector did not take it. `hopeless`: it would not take it another time either."""

    def __init__(self, why: str, *, hopeless: bool = False) -> None:
        super().__init__(why)
        self.hopeless = hopeless


def target_of(environment: Mapping[str, str]) -> Target | None:
    """Where telemetry goes by the variables of OpenTelemetry; None where they name no place. Raises ValueError."""
    said = {name: value.strip() for name, value in environment.items() if name.startswith("OTEL_") and value.strip()}
    base = said.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/")
    urls = []
    for kind in ("traces", "metrics"):
        url = said.get(f"OTEL_EXPORTER_OTLP_{kind.upper()}_ENDPOINT", f"{base}/v1/{kind}" if base else "")
        if said.get(f"OTEL_{kind.upper()}_EXPORTER") == "none" or said.get("OTEL_SDK_DISABLED", "").lower() == "true":
            url = ""
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"OTEL_EXPORTER_OTLP_ENDPOINT: {url!r} is not a URL like http://collector:4318")
        urls.append(url)
    if not any(urls):
        return None
    protocol = said.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if protocol != "http/protobuf":
        raise ValueError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is not spoken; "
            "set it to http/protobuf, with the collector's port for that (4318)"
        )
    timeout = said.get("OTEL_EXPORTER_OTLP_TIMEOUT", "10000")
    if not timeout.isdigit() or not int(timeout):
        raise ValueError(f"OTEL_EXPORTER_OTLP_TIMEOUT: {timeout!r} is not a number of milliseconds")
    return Target(
        traces=urls[0],
        metrics=urls[1],
        headers=_pairs("OTEL_EXPORTER_OTLP_HEADERS", said),
        service=said.get("OTEL_SERVICE_NAME", "upshift"),
        timeout_seconds=int(timeout) / 1000,
        resource=_pairs("OTEL_RESOURCE_ATTRIBUTES", said),
    )


def _pairs(variable: str, said: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    found = []
    for pair in filter(str.strip, said.get(variable, "").split(",")):
        name, equals, value = pair.partition("=")
        value = unquote(value.strip())
        if not equals or not name.strip() or not value.isprintable():
            # Its value may be a secret, which is nothing for a log.
            raise ValueError(f"{variable}: {name.strip()[:40]!r} is not NAME=VALUE")
        found.append((name.strip(), value))
    return tuple(found)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> None:
    """Send one message, once and nowhere else. Raises NotSentError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        line: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=timeout_seconds, context=ssl.create_default_context()
        )
    else:
        line = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        line.request("POST", path, body, {**headers, "content-type": "application/x-protobuf"})
        answer = line.getresponse()
        answer.read(4096)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotSentError(f"{host}: {error!r}") from error
    finally:
        line.close()
    if answer.status >= 300:
        raise NotSentError(f"{host}: status {answer.status}", hopeless=answer.status in _HOPELESS)


class Telemetry:
    """Sends what has not been sent, in the order of the ledger; `tick` and `note` are for one thread at a time.

    Each call at least once: its span has the same id each time. Where several processes could, one does.
    """

    def __init__(
        self,
        journal: Journal,
        target: Target,
        snapshot: Callable[[], Snapshot | None],
        now: Callable[[], Instant],
        holder: str,
        version: str,
    ) -> None:
        self._journal = journal
        self._target = target
        self._snapshot = snapshot
        self._now = now
        self._holder = holder
        self._version = version
        self._resource = {"service.name": target.service, "service.version": version, **dict(target.resource)}
        self._headers = dict(target.headers)
        self._seq: int | None = None
        self._noted = 0
        self._noted_at: Instant = 0
        self._began = now()
        self._duration = otlp.Instrument("gen_ai.client.operation.duration", "s", "GenAI operation duration.", _SECONDS)
        self._tokens = otlp.Instrument(
            "gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", _TOKENS
        )
        self._pause = 0
        self._again: Instant = 0
        self._renew: Instant = 0

    def tick(self) -> int:
        """Send what is due; returns how many calls that were. Blocking. Raises StoreTroubleError."""
        if self._now() < self._again:
            return 0
        last, sent = last_call(self._journal), 0
        if last == self._seq or not self._mine():
            return 0
        if self._seq is None:
            self._seq = self._begin()
        for seq, calls in calls_after(self._journal, self._seq, last, _PAGE):
            if not self._mine():
                return sent
            if calls and not self._send([call.record for call in calls]):
                return sent
            self._seq = seq
            sent += len(calls)
            if self._now() - self._noted_at >= _NOTE_SECONDS * MICROS:
                self.note()
        return sent

    def _mine(self) -> bool:
        """Whether it is this process that sends."""
        now = self._now()
        if now < self._renew:
            return True
        if not self._journal.lease(SENT, self._holder, now, _LEASE_SECONDS):
            # Whoever has it knows better by now how far it is.
            self._seq = None
            return False
        self._renew = now + int(_LEASE_SECONDS / 3 * MICROS)
        return True

    def note(self) -> None:
        """Keep how far it is, if that has changed. Raises StoreTroubleError."""
        seq, now = self._seq, self._now()
        if seq is None or seq == self._noted:
            return
        self._journal.decide(Decision(f"{SENT}/{seq}/{now}", now, SENT, "", str(seq), "system", {"calls_up_to": seq}))
        self._noted, self._noted_at = seq, now

    async def watch(self, every_seconds: float) -> None:
        """Tick for ever; run as a task. How far it came is kept at the end."""
        try:
            while True:
                try:
                    await asyncio.to_thread(self.tick)
                except StoreTroubleError as error:
                    log.warning("telemetry.behind", problem=str(error))
                await asyncio.sleep(every_seconds)
        finally:
            try:
                self.note()
            except StoreTroubleError as error:
                log.warning("telemetry.not_noted", problem=str(error), note="the latest calls will be sent again")

    def _begin(self) -> int:
        """Where the last one stopped; at first the end of the ledger, since nobody asked for what was before."""
        noted = self._journal.decisions([SENT], limit=1)
        if noted:
            self._noted, self._noted_at = int(noted[0].subject), self._now()
            return self._noted
        seq = self._seq = last_call(self._journal)
        self._noted = -1
        self.note()
        return seq

    def _send(self, records: Sequence[Metered]) -> bool:
        """Whether calls are done with: the collector has them, or will never take them."""
        known, target, now = genai.places(self._snapshot()), self._target, self._now()
        try:
            if target.traces:
                spans = [genai.span_of(record, known) for record in records]
                self._post(target.traces, otlp.traces(spans, self._resource, self._version), len(records))
        except NotSentError as error:
            self._pause = min(_LAST_PAUSE, self._pause * 2 or _FIRST_PAUSE)
            self._again = now + self._pause * MICROS
            log.warning("telemetry.not_sent", problem=str(error), calls=len(records), again_seconds=self._pause)
            return False
        self._pause = 0
        for record in records:
            self._count(record, known)
        if target.metrics:
            instruments = (self._duration, self._tokens)
            body = otlp.metrics(instruments, self._began * 1000, now * 1000, self._resource, self._version)
            try:
                self._post(target.metrics, body, len(records))
            except NotSentError as error:
                # They are sums: the next message says it all again.
                log.warning("telemetry.metrics_not_sent", problem=str(error))
        return True

    def _post(self, url: str, body: bytes, calls: int) -> None:
        try:
            post(url, body, self._headers, self._target.timeout_seconds)
        except NotSentError as error:
            if not error.hopeless:
                raise
            log.error("telemetry.rejected", problem=str(error), calls=calls, note="they are not sent again")

    def _count(self, record: Metered, known: Mapping[str, genai.Place]) -> None:
        """Add a call to the metrics; those that were refused were never sent to a model."""
        if record.outcome is Outcome.REFUSED or not record.provider:
            return
        place = known.get(record.provider)
        told: dict[str, genai.Value] = {
            "gen_ai.operation.name": genai.operation_of(record),
            "gen_ai.provider.name": genai.provider_of(record, known),
            "gen_ai.request.model": record.requested_model,
            "gen_ai.response.model": record.served_model,
            "upshift.tenant": record.tenant,
            "upshift.workload": record.workload,
        }
        if place is not None:
            told |= {"server.address": place.host, "server.port": place.port}
        if len(self._duration.points) >= _MOST_POINTS:
            told = {name: told[name] for name in ("gen_ai.operation.name", "gen_ai.provider.name")}
        error = genai.error_of(record)
        self._duration.add({**told, "error.type": error} if error else told, record.latency_us / 1e6)
        if record.certainty is not Certainty.UNKNOWN:
            self._tokens.add({**told, "gen_ai.token.type": "input"}, record.usage.input)
            self._tokens.add({**told, "gen_ai.token.type": "output"}, record.usage.output)
