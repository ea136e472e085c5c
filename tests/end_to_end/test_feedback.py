"""Do callers report on their own work alone, once, all or nothing, and do instrumented agents say how they do?"""

import asyncio
import contextlib
import gzip
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from tests.end_to_end.stack import ADMIN, Stack

from upshift.admin.measured import MetricView, metrics, scope
from upshift.model.feedback import About, Operation, TaskEnded
from upshift.model.key import Role
from upshift.sources.feedback import MOST_BYTES

SCORE = {"kind": "quality", "id": "1", "agent": "ada", "score": 0.5, "rubric": "tone"}


class Doors:
    """Posts with the key of a user."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._client = httpx.AsyncClient(base_url=stack.base_url, timeout=120)

    async def post(
        self,
        path: str,
        body: Any,
        user: str = "alice",
        tenant: str = "acme",
        kind: str = "application/json",
        **more: str,
    ) -> httpx.Response:
        secret = self.stack.secret(user, tenant)
        await self.stack.gateway.flow.regime.refresh()
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {secret}", "content-type": kind} | more
        return await self._client.post(path, content=content, headers=headers)

    async def feedback(self, body: Any, user: str = "alice", tenant: str = "acme") -> httpx.Response:
        return await self.post("/upshift/v1/feedback", body, user, tenant)

    async def close(self) -> None:
        await self._client.aclose()


@pytest.fixture
async def doors(stack: Stack) -> AsyncIterator[Doors]:
    doors = Doors(stack)
    yield doors
    await doors.close()


async def called(stack: Stack, session: str) -> str:
    """The request id of a call."""
    async with await stack.openai() as client:
        answer = await client.chat.completions.with_raw_response.create(
            model="big",
            messages=[{"role": "user", "content": "Hello"}],
            extra_headers={"x-upshift-session": session, "x-upshift-agent": "ada"},
        )
    return answer.headers["x-upshift-request"]


def metric(stack: Stack, name: str, **of: str) -> MetricView:
    (found,) = metrics(stack.desk, ADMIN, scope(**of), "1h", names=[name]).metrics
    return found


async def test_a_report_about_a_call_knows_whose_it_was(stack: Stack, doors: Doors) -> None:
    request = await called(stack, "s1")
    reports = [
        {"kind": "quality", "id": "q", "request": request, "score": 0.75, "rubric": "tone", "by": "judge"},
        {"kind": "escalation", "id": "e", "request": request, "to": "sam"},
        {"kind": "task", "id": "t", "request": request, "outcome": "done"},
    ]
    answer = await doors.feedback(reports)
    assert (answer.status_code, answer.json()) == (200, {"received": 3, "new": 3})
    assert (await doors.feedback(reports)).json() == {"received": 3, "new": 0}
    for one in stack.desk.journal.feedback():
        origin = one.record.origin
        assert (one.tenant, origin.session, origin.agent, origin.workload) == ("acme", "s1", "ada", "chat")
    assert (metric(stack, "quality", agent="ada").value, metric(stack, "escalation-rate", agent="ada").value) == (
        0.75,
        1,
    )
    cost = metric(stack, "cost-per-task", workload="chat")
    (record,) = await stack.records()
    assert record.cost is not None
    assert cost.value == pytest.approx(record.cost / 1e9)
    assert (cost.n, cost.plans) == (1, (str(record.plan),))
    assert metric(stack, "quality", agent="eve").says == "nothing of this was recorded in the window"
    assert metric(stack, "quality", agent="eve").value is None


async def test_a_call_of_another_tenant_is_as_unknown_as_none(stack: Stack, doors: Doors) -> None:
    request = await called(stack, "s1")
    for id_ in (request, "up_never"):
        answer = await doors.feedback([SCORE, SCORE | {"request": id_}], "gail", "globex")
        assert answer.status_code == 404
        assert answer.json()["problems"] == [
            {"where": "[1].request", "what": f"'{id_}' is not a call that is recorded"}
        ]
    answer = await doors.feedback([SCORE | {"tenant": "acme"}], "gail", "globex")
    assert answer.status_code == 404
    assert stack.desk.journal.feedback() == []
    # The same id of two tenants is two reports.
    assert (await doors.feedback(SCORE)).json()["new"] == 1
    assert (await doors.feedback(SCORE, "gail", "globex")).json()["new"] == 1
    assert {each.tenant for each in stack.desk.journal.feedback({About.AGENT: "ada"})} == {"acme", "globex"}


async def test_nothing_is_kept_where_one_item_is_wrong(stack: Stack, doors: Doors) -> None:
    answer = await doors.feedback([SCORE, SCORE | {"id": "2", "score": 7}, {"kind": "praise", "id": "\x00"}])
    assert answer.status_code == 400
    said = answer.json()
    assert [each["where"] for each in said["problems"]] == ["[1].score", "[2].kind"]
    assert said["error"]["code"] == "bad-feedback"
    assert stack.desk.journal.feedback() == []


async def test_who_may_not_report(stack: Stack, doors: Doors) -> None:
    admin = stack.desk.issue(ADMIN, name="root", role=Role.ADMIN).secret
    await stack.gateway.flow.regime.refresh()
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=120) as client:
        for headers, status in (({}, 401), ({"authorization": "Bearer upk_wrong"}, 401), ({"x-api-key": admin}, 403)):
            for path in ("/upshift/v1/feedback", "/v1/traces"):
                answer = await client.post(path, json=SCORE, headers=headers)
                assert answer.status_code == status, answer.text
        assert (await client.get("/v1/traces")).status_code == 404
    assert (await doors.feedback(b" " * (MOST_BYTES + 1))).status_code == 413
    packed = await doors.post("/upshift/v1/feedback", gzip.compress(b"[]"), **{"content-encoding": "gzip"})
    assert packed.status_code == 400


async def test_ten_thousand_reports_in_one_post_keep_no_call_waiting(stack: Stack, doors: Doors) -> None:
    lines = "\n".join(json.dumps(SCORE | {"id": str(number)}) for number in range(10_000)).encode()
    posts = asyncio.gather(doors.feedback(lines), doors.feedback(lines), doors.feedback(lines))
    waited = []
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=120) as client:
        while not posts.done():
            asked = time.perf_counter()
            assert (await client.get("/healthz")).status_code == 200
            waited.append(time.perf_counter() - asked)
    answers = [each.json() for each in await posts]
    assert sorted(each["new"] for each in answers) == [0, 0, 10_000]
    assert max(waited) < 60
    one_more = lines + b"\n" + json.dumps(SCORE).encode()
    answer = await doors.feedback(one_more)
    assert (answer.status_code, "at most 10,000 items" in answer.text) == (400, True)
    assert len(stack.desk.journal.feedback()) == 10_000


def traces(now: float, failed: bool = False) -> ExportTraceServiceRequest:
    end = int((now - 1) * 1e9)

    def said(**texts: str | int) -> list[KeyValue]:
        return [
            KeyValue(
                key=name.replace("__", "."),
                value=AnyValue(string_value=each) if isinstance(each, str) else AnyValue(int_value=each),
            )
            for name, each in texts.items()
        ]

    trace = end.to_bytes(16, "big")
    agent = Span(
        trace_id=trace, span_id=b"12345678", start_time_unix_nano=end - 2 * 10**9, end_time_unix_nano=end,
        attributes=said(gen_ai__operation__name="invoke_agent", gen_ai__agent__name="ada", gen_ai__conversation__id="s9"),
    )  # fmt: skip
    if failed:
        agent.status.code = Status.STATUS_CODE_ERROR
    chat = Span(
        trace_id=trace, span_id=b"87654321", parent_span_id=b"12345678", start_time_unix_nano=end - 10**9,
        end_time_unix_nano=end,
        attributes=said(
            gen_ai__operation__name="chat", gen_ai__usage__input_tokens=100, gen_ai__usage__output_tokens=11,
        ),
    )  # fmt: skip
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[chat, agent])])])


PROTOBUF = "application/x-protobuf"


async def test_an_instrumented_agent_is_measured_and_never_billed(stack: Stack, doors: Doors) -> None:
    now = stack.clock.now() / 1e6
    good = traces(now).SerializeToString()
    bad = traces(now - 60, failed=True).SerializeToString()
    for body, more in ((good, {}), (gzip.compress(good), {"content-encoding": "gzip"}), (bad, {})):
        answer = await doors.post("/v1/traces", body, kind=PROTOBUF, **more)
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", PROTOBUF)
    kept = stack.desk.journal.feedback({About.AGENT: "ada"})
    assert {type(each.record) for each in kept} == {Operation, TaskEnded}
    assert len(kept) == 6
    assert {each.source.value for each in kept} == {"otlp"}
    assert metric(stack, "reported-latency", agent="ada").value == pytest.approx(2)
    assert metric(stack, "reported-error-rate", agent="ada").value == 0.5
    assert metric(stack, "task-failure-rate", agent="ada").value == 0.5
    assert metric(stack, "reported-tokens-per-task", agent="ada").value == 111
    assert metric(stack, "cost-per-task", agent="ada").value is None
    assert metric(stack, "tokens-per-task", agent="ada").missing == 2
    await stack.settled()
    assert stack.desk.journal.usage([], 0, stack.clock.now() + 1) == []
    assert (
        await doors.post("/v1/traces?tasks=no", traces(now - 90).SerializeToString(), kind=PROTOBUF)
    ).status_code == 200
    assert len(stack.desk.journal.feedback({About.KIND: "task"})) == 2


async def test_what_is_not_taken_of_traces_is_said(stack: Stack, doors: Doors) -> None:
    wrong = traces(stack.clock.now() / 1e6 + 3600)
    answer = await doors.post("/v1/traces", wrong.SerializeToString(), kind=PROTOBUF)
    said = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, said.rejected_spans) == (200, 2)
    assert "in the future by our clock" in said.error_message
    for body, kind, status in (
        (b"\xff\xff", PROTOBUF, 400),
        (b"{", "application/json", 400),
        (b"{}", "application/json", 200),
        (b"", "text/plain", 415),
    ):
        answer = await doors.post("/v1/traces", body, kind=kind)
        assert answer.status_code == status
    bomb = gzip.compress(bytes(MOST_BYTES * 4))
    answer = await doors.post("/v1/traces", bomb, kind=PROTOBUF, **{"content-encoding": "gzip"})
    assert answer.status_code == 400
    assert b"unpacks to more" in answer.content
    assert stack.desk.journal.feedback() == []


async def test_a_database_in_trouble_is_said_and_passes(stack: Stack, doors: Doors) -> None:
    with contextlib.closing(sqlite3.connect(stack.db, timeout=60)) as db:
        db.execute("ALTER TABLE feedback RENAME TO elsewhere")
        answer = await doors.feedback(SCORE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        answer = await doors.post("/v1/traces", traces(stack.clock.now() / 1e6).SerializeToString(), kind=PROTOBUF)
        assert answer.status_code == 503
        db.execute("ALTER TABLE elsewhere RENAME TO feedback")
    assert (await doors.feedback(SCORE)).status_code == 200
