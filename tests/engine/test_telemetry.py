"""Does the collector get each call of the ledger, whatever is down or restarts, and never what was said in it?"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE, HistogramDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tests.admin.installation import NOW, Installation

from upshift.engine.telemetry import SENT, Target, Telemetry, target_of
from upshift.model.metered import Metered, Outcome
from upshift.model.tokens import Certainty, Usage


class Collector:
    """What a collector received; `statuses` are its next answers, 200 once there are none."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.resource: dict[str, Any] = {}
        self.headers: list[dict[str, str]] = []
        self.statuses: list[int] = []
        self.port = 0

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.headers.append(headers)
        if path == "/v1/traces" and self.statuses:
            status = self.statuses.pop(0)
            if status != 200:
                return status
        if path == "/v1/traces":
            (told,) = ExportTraceServiceRequest.FromString(body).resource_spans
            self.resource = plain(told.resource.attributes)
            self.spans += told.scope_spans[0].spans
        elif path == "/v1/metrics":
            self.metrics.append(ExportMetricsServiceRequest.FromString(body))
        else:
            return 404
        return 200

    def points(self, name: str) -> list[HistogramDataPoint]:
        """Of a metric in the last message."""
        (told,) = self.metrics[-1].resource_metrics
        (found,) = [each for each in told.scope_metrics[0].metrics if each.name == name]
        assert found.histogram.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
        return list(found.histogram.data_points)


@contextmanager
def collecting() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(found.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def plain(attributes: Any) -> dict[str, Any]:
    def value(each: KeyValue) -> Any:
        kind = each.value.WhichOneof("value")
        return getattr(each.value, kind or "string_value")

    return {each.key: value(each) for each in attributes}


def target(port: int) -> Target:
    found = target_of(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}/",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20shh,x-team=ai",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "60000",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
    )
    assert found is not None
    return found


def telemetry(installation: Installation, to: Collector, holder: str = "one") -> Telemetry:
    desk = installation.desk
    return Telemetry(desk.journal, target(to.port), desk.snapshot, installation.clock.now, holder, "1.2.3")


def requests(spans: list[Span]) -> list[str]:
    return [plain(span.attributes)["upshift.request"] for span in spans]


async def test_a_call_is_a_span_of_the_conventions(installation: Installation, collector: Collector) -> None:
    sender = telemetry(installation, collector)
    assert sender.tick() == 0
    record = msgspec.structs.replace(
        installation.call(tokens=1000, cost=2_500_000),
        session="s-1", streamed=True, first_byte_us=50_000, usage=Usage(800, 300, 20, 10, 200, 150),
    )  # fmt: skip
    await installation.spend(record)
    assert sender.tick() == 1
    (span,) = collector.spans
    assert (span.name, span.kind, span.status.code) == ("chat big", Span.SPAN_KIND_CLIENT, Status.STATUS_CODE_UNSET)
    assert (len(span.trace_id), len(span.span_id)) == (16, 8)
    assert span.start_time_unix_nano == record.started * 1000
    assert span.end_time_unix_nano - span.start_time_unix_nano == record.latency_us * 1000
    said = plain(span.attributes)
    host, port = said.pop("server.address"), said.pop("server.port")
    assert (host, port) == ("127.0.0.1", 9)
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "local",
        "gen_ai.request.model": "big",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "big",
        "gen_ai.response.time_to_first_chunk": 0.05,
        "gen_ai.conversation.id": "s-1",
        "gen_ai.usage.input_tokens": 800,
        "gen_ai.usage.output_tokens": 200,
        "gen_ai.usage.cache_read.input_tokens": 300,
        "gen_ai.usage.cache_creation.input_tokens": 30,
        "gen_ai.usage.reasoning.output_tokens": 150,
        "http.response.status_code": 200,
        "upshift.request": record.request,
        "upshift.tenant": "acme",
        "upshift.workload": "chat",
        "upshift.provider": "local",
        "upshift.outcome": "served",
        "upshift.bucket": "included",
        "upshift.certainty": "exact",
        "upshift.cost.usd": 0.0025,
        "upshift.counted.usd": 0.0025,
        "upshift.plan": "f" * 64,
    }
    assert collector.resource == {
        "service.name": "upshift",
        "service.version": "1.2.3",
        "deployment.environment.name": "test",
    }
    assert {each["content-type"] for each in collector.headers} == {"application/x-protobuf"}
    assert {(each["authorization"], each["x-team"]) for each in collector.headers} == {("Bearer shh", "ai")}


async def test_metrics_add_up_to_the_calls_that_were_sent(installation: Installation, collector: Collector) -> None:
    sender = telemetry(installation, collector)
    sender.tick()
    calls = [installation.call(tokens=each, latency_us=each * 1000) for each in (10, 100, 1000)]
    refused = installation.call(outcome=Outcome.REFUSED)
    unknown = msgspec.structs.replace(installation.call(cost=None), certainty=Certainty.UNKNOWN)
    await installation.spend(*calls[:2], refused)
    sender.tick()
    await installation.spend(calls[2], unknown)
    sender.tick()
    (duration,) = collector.points("gen_ai.client.operation.duration")
    assert (duration.count, sum(duration.bucket_counts)) == (4, 4)
    assert duration.sum == pytest.approx(1.11 + 0.15)
    assert (duration.min, duration.max) == (0.01, 1.0)
    assert duration.time_unix_nano == NOW * 1000
    tokens = {
        plain(point.attributes)["gen_ai.token.type"]: (point.count, point.sum)
        for point in collector.points("gen_ai.client.token.usage")
    }
    assert tokens == {"input": (3, 888), "output": (3, 222)}


async def test_errors_are_named(installation: Installation, collector: Collector) -> None:
    sender = telemetry(installation, collector)
    sender.tick()
    ended = {
        Outcome.SERVED: ("", None),
        Outcome.CLIENT_LEFT: ("client-left", None),
        Outcome.REFUSED: ("over_budget", "over_budget"),
        Outcome.UPSTREAM_ERROR: ("provider-timeout", "provider-timeout"),
        Outcome.LOST: ("", "lost"),
        Outcome.CUT: ("", "200"),
    }
    records = [
        msgspec.structs.replace(installation.call(outcome=outcome), reason=reason)
        for outcome, (reason, _) in ended.items()
    ]
    await installation.spend(*records)
    sender.tick()
    found = {span.span_id: span for span in collector.spans}
    assert len(found) == len(records)
    errors = {
        plain(span.attributes)["upshift.outcome"]: plain(span.attributes).get("error.type") for span in collector.spans
    }
    assert errors == {outcome.value: error for outcome, (_, error) in ended.items()}
    failed = {span.status.code for span in collector.spans if "error.type" in plain(span.attributes)}
    assert failed == {Status.STATUS_CODE_ERROR}


async def test_what_was_before_the_first_time_is_not_sent(installation: Installation, collector: Collector) -> None:
    await installation.spend(installation.call())
    assert telemetry(installation, collector).tick() == 0
    later = installation.call()
    await installation.spend(later)
    assert telemetry(installation, collector, "one").tick() == 1
    assert requests(collector.spans) == [later.request]


async def test_a_restart_goes_on_where_it_stopped_and_a_crash_repeats(
    installation: Installation, collector: Collector
) -> None:
    first = telemetry(installation, collector)
    first.tick()
    told = [installation.call() for _ in range(3)]
    await installation.spend(told[0])
    first.tick()
    first.note()
    await installation.spend(told[1])
    assert telemetry(installation, collector).tick() == 1
    await installation.spend(told[2])
    # Nothing was noted since: the second call is sent again, as the same span.
    assert telemetry(installation, collector).tick() == 2
    assert requests(collector.spans) == [each.request for each in (told[0], told[1], told[1], told[2])]
    assert len({span.span_id for span in collector.spans}) == 3


async def test_how_far_it_is_is_noted_now_and_then(installation: Installation, collector: Collector) -> None:
    sender = telemetry(installation, collector)
    sender.tick()
    for _ in range(4):
        await installation.spend(installation.call())
        sender.tick()
    assert len(installation.desk.journal.decisions([SENT])) == 1
    installation.clock.advance(301)
    await installation.spend(installation.call())
    sender.tick()
    sender.note()
    assert len(installation.desk.journal.decisions([SENT])) == 2


async def test_a_collector_that_is_down_is_tried_again_and_gets_everything(
    installation: Installation, collector: Collector
) -> None:
    sender = telemetry(installation, collector)
    sender.tick()
    told = [installation.call() for _ in range(3)]
    await installation.spend(*told[:2])
    collector.statuses = [503, 401]
    assert sender.tick() == 0
    assert sender.tick() == 0
    assert collector.statuses == [401]
    installation.clock.advance(2)
    assert sender.tick() == 0
    await installation.spend(told[2])
    installation.clock.advance(3)
    assert sender.tick() == 0
    installation.clock.advance(1)
    assert sender.tick() == 3
    assert requests(collector.spans) == [each.request for each in told]


async def test_nothing_listening_is_a_pause_and_no_more(installation: Installation) -> None:
    with collecting() as gone:
        sender = telemetry(installation, gone)
    sender.tick()
    await installation.spend(installation.call())
    assert sender.tick() == 0
    assert gone.spans == []


async def test_what_a_collector_will_never_take_does_not_hold_up_the_rest(
    installation: Installation, collector: Collector
) -> None:
    sender = telemetry(installation, collector)
    sender.tick()
    told = [installation.call() for _ in range(2)]
    await installation.spend(told[0])
    collector.statuses = [400]
    sender.tick()
    await installation.spend(told[1])
    sender.tick()
    assert requests(collector.spans) == [told[1].request]


async def test_of_two_processes_one_sends_and_the_other_goes_on(
    installation: Installation, collector: Collector
) -> None:
    one, other = telemetry(installation, collector, "one"), telemetry(installation, collector, "other")
    one.tick()
    told: list[Metered] = [installation.call() for _ in range(2)]
    await installation.spend(told[0])
    assert (one.tick(), other.tick()) == (1, 0)
    one.note()
    installation.clock.advance(200)
    await installation.spend(told[1])
    assert (other.tick(), one.tick()) == (1, 0)
    assert requests(collector.spans) == [each.request for each in told]


@pytest.mark.parametrize(
    ("variables", "traces", "metrics"),
    [
        ({}, None, None),
        ({"OTEL_SERVICE_NAME": "x"}, None, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces", "http://c:4318/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/x/"}, "http://c/x/v1/traces", "http://c/x/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/t"}, "https://c/t", ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"}, "http://c/v1/traces", ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, None, None),
    ],
)
def test_the_variables_say_where_it_goes(variables: dict[str, str], traces: str | None, metrics: str | None) -> None:
    found = target_of(variables)
    assert (found and found.traces, found and found.metrics) == (traces, metrics)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "not a URL like http://collector:4318"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "4318"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "milliseconds"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "a"}, "NAME=VALUE"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "a=b%0d%0ac"}, "NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_named(variables: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        target_of(variables)
