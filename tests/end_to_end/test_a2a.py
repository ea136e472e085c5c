"""Two agents on the official SDK talk through the gateway: only over an active interface, and in the agreed words."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.types import a2a_pb2 as a2a
from a2a.utils.errors import InternalError, InvalidAgentResponseError, InvalidParamsError
from tests.end_to_end.a2a_agents import Served, asking, data_in, plan_text, serving, speaking
from tests.end_to_end.stack import ADMIN, Stack, running

from upshift.admin.feedback import listed
from upshift.admin.interfaces import activate, deactivate, share_traffic
from upshift.admin.measured import metrics, scope
from upshift.engine.recorded import JournalSources
from upshift.evidence.measurement import Span
from upshift.evidence.pattern import HOUR
from upshift.model.metered import Outcome
from upshift.traffic.interfaces import delivery_of


@pytest.fixture
async def researcher() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served


@pytest.fixture
async def stack(tmp_path: Path, researcher: Served, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    monkeypatch.setenv("A2A_TEST_KEY", "of-the-gateway")
    async with running(tmp_path, plan=plan_text(researcher.url)) as found:
        yield found


async def active(stack: Stack, *names: str) -> None:
    for name in names or ("plan-research",):
        activate(stack.desk, ADMIN, name)
    await stack.gateway.flow.regime.refresh()


async def secret(stack: Stack, tenant: str = "acme", agent: str = "") -> str:
    issued = stack.desk.issue(ADMIN, name="app", tenant=tenant, agent=agent)
    await stack.gateway.flow.regime.refresh()
    return issued.secret


@pytest.mark.parametrize("version", ["", "0.3"])
async def test_agents_speak_while_their_interface_is_active(stack: Stack, researcher: Served, version: str) -> None:
    key = await secret(stack)
    async with speaking(stack.base_url, key, version=version) as client:
        with pytest.raises(Exception, match="plan-research: it is not active"):
            [each async for each in client.send_message(asking(question="why"))]
        assert not any("a2a-version" in seen and "x-upshift-agent" in seen for seen in researcher.seen)
        await active(stack)
        answers = [each async for each in client.send_message(asking(question="why"))]
        assert data_in(answers) == [{"answer": "about why"}]
        deactivate(stack.desk, ADMIN, "plan-research")
        await stack.gateway.flow.regime.refresh()
        with pytest.raises(Exception, match="not active"):
            [each async for each in client.send_message(asking(question="why"))]
    refused, served, again = await stack.records()
    assert [each.reason for each in (refused, served, again)] == ["interface_closed", "", "interface_closed"]
    assert (served.tenant, served.agent, served.served_model) == ("acme", "planner", "researcher")
    assert (served.requested_model, served.workload, served.dialect) == ("plan-research", "planning", "a2a")
    assert served.session == answers[0].task.context_id
    assert served.usage.total == 0
    assert served.cost == 0
    assert served.latency_us > served.overhead_us
    await stack.verified()


async def test_the_key_of_the_caller_stays_at_the_gateway(stack: Stack, researcher: Served) -> None:
    await active(stack)
    key = await secret(stack)
    async with speaking(stack.base_url, key) as client:
        [_ async for _ in client.send_message(asking(question="why"))]
    called = researcher.seen[-1]
    assert called["authorization"] == "Bearer of-the-gateway"
    assert (called["x-upshift-agent"], called["x-upshift-tenant"]) == ("planner", "acme")
    assert all(key not in value for seen in researcher.seen for value in seen.values())


@pytest.mark.parametrize("version", ["", "0.3"])
async def test_a_stream_passes_event_by_event(stack: Stack, version: str) -> None:
    await active(stack)
    async with speaking(stack.base_url, await secret(stack), streaming=True, version=version) as client:
        answers = [each async for each in client.send_message(asking(question="why"))]
    kinds = [each.WhichOneof("payload") for each in answers]
    assert kinds == ["task", "status_update", "artifact_update", "status_update"]
    assert data_in(answers) == [{"answer": "about why"}]
    (record,) = await stack.records()
    assert record.streamed
    assert record.outcome is Outcome.SERVED
    assert 0 < record.first_byte_us <= record.latency_us


@pytest.mark.parametrize("version", ["", "0.3"])
async def test_a_payload_that_does_not_fit_is_refused_with_its_field(
    stack: Stack, researcher: Served, version: str
) -> None:
    await active(stack)
    async with speaking(stack.base_url, await secret(stack), version=version) as client:
        with pytest.raises(InvalidParamsError, match=r"message\.parts\[0\]\.data\.depth: 9.* greater than"):
            [_ async for _ in client.send_message(asking(question="why", depth=9))]
        with pytest.raises(InvalidParamsError, match=r"message\.parts\[0\]\.data\.question: "):
            [_ async for _ in client.send_message(asking(do="x"))]
    assert all("x-upshift-agent" not in seen for seen in researcher.seen)
    one, _ = await stack.records()
    assert (one.outcome, one.reason) == (Outcome.REFUSED, "contract_violation")
    delivery = delivery_of(one)
    assert delivery is not None
    assert (delivery.origin.interface, delivery.violations, delivery.failed) == ("plan-research", ("payload",), False)


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_answer_that_does_not_fit_goes_no_further(stack: Stack, streaming: bool) -> None:
    await active(stack)
    async with speaking(stack.base_url, await secret(stack), streaming=streaming) as client:
        with pytest.raises(InvalidAgentResponseError, match=r"\.parts\[0\]\.data\.answer: 42.* is not of type"):
            [_ async for _ in client.send_message(asking(question="why", do="lie"))]
    (record,) = await stack.records()
    assert (record.outcome, record.reason) == (Outcome.UPSTREAM_ERROR, "contract_violation")


async def test_a_flagged_payload_passes_and_is_counted(
    tmp_path: Path, researcher: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A2A_TEST_KEY", "of-the-gateway")
    async with running(tmp_path, plan=plan_text(researcher.url, "flag")) as stack:
        await active(stack)
        key = await secret(stack)
        async with speaking(stack.base_url, key) as client:
            answers = [each async for each in client.send_message(asking(question="why", depth=9, do="lie"))]
        assert data_in(answers) == [{"answer": 42}]
        told = await post(stack, key, sending({"depth": 9}))
        notice = told.headers["x-upshift-notice"]
        assert notice.startswith("contract plan-research 1.0.0 is broken at message.parts[0].data.")
        first, second = await stack.records()
        for record in (first, second):
            assert (record.outcome, record.reason) == (Outcome.SERVED, "contract_violation")


async def test_a_message_without_data_does_not_slip_past_the_schema(stack: Stack) -> None:
    await active(stack)
    body = sending({})
    body["params"]["message"]["parts"] = [{"kind": "text", "text": "ignore the schema"}]
    told = (await post(stack, await secret(stack), body)).json()
    assert told["error"]["code"] == -32602
    assert told["error"]["data"][1]["fieldViolations"][0]["field"] == "message.parts"


async def test_a_task_is_asked_for_and_cancelled(stack: Stack, researcher: Served) -> None:
    await active(stack)
    async with speaking(stack.base_url, await secret(stack), streaming=True) as client:
        stream = client.send_message(asking(question="why", do="wait"))
        task = (await anext(stream)).task
        await researcher.agent.waiting.wait()
        assert (await client.get_task(a2a.GetTaskRequest(id=task.id))).id == task.id
        cancelled = await client.cancel_task(a2a.CancelTaskRequest(id=task.id))
        assert cancelled.status.state == a2a.TaskState.TASK_STATE_CANCELED
        rest = [each async for each in stream]
        assert rest[-1].status_update.status.state == a2a.TaskState.TASK_STATE_CANCELED
    await stack.verified()


async def test_a_task_is_its_own_tenants_only(
    tmp_path: Path, researcher: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A2A_TEST_KEY", "of-the-gateway")
    both = plan_text(researcher.url).replace("tenants: [acme], models", "models")
    async with running(tmp_path, plan=both) as stack:
        await active(stack)
        key, other = await secret(stack), await secret(stack, "globex")
        told = (await post(stack, key, sending({"question": "why"}))).json()["result"]
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": told["id"]}}
        assert (await post(stack, key, asked)).json()["result"]["id"] == told["id"]
        assert (await post(stack, other, asked)).json()["error"]["code"] == -32001
        going_on = sending({"question": "and then"})
        going_on["params"]["message"]["taskId"] = told["id"]
        assert (await post(stack, other, going_on)).json()["error"]["code"] == -32001


async def test_a_task_that_failed_counts_as_a_failure_of_its_interface(stack: Stack) -> None:
    await active(stack)
    async with speaking(stack.base_url, await secret(stack)) as client:
        [_ async for _ in client.send_message(asking(question="why", do="fail"))]
    (record,) = await stack.records()
    assert (record.outcome, record.reason) == (Outcome.SERVED, "task_failed")
    delivery = delivery_of(record)
    assert delivery is not None
    assert delivery.failed


async def test_the_card_leads_to_the_gateway(stack: Stack, researcher: Served) -> None:
    url = f"{stack.base_url}/a2a/researcher/.well-known/agent-card.json"
    async with httpx.AsyncClient(timeout=60) as client:
        nobody = await client.get(url)
        card = (await client.get(url, headers={"authorization": f"Bearer {await secret(stack)}"})).json()
    assert nobody.status_code == 401
    own = f"{stack.base_url}/a2a/researcher"
    assert [(each["url"], each["protocolBinding"]) for each in card["supportedInterfaces"]] == [(own, "JSONRPC")] * 2
    assert card["url"] == own
    assert card["capabilities"]["pushNotifications"] is False
    assert researcher.url not in str(card)


async def test_who_is_refused_and_how(stack: Stack) -> None:
    await active(stack)
    key, other = await secret(stack), await secret(stack, "globex")
    own = await secret(stack, agent="planner")
    said = sending({"question": "why"})
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=60) as client:
        for path, headers, status, words in (
            ("nobody", {"authorization": f"Bearer {key}", "x-upshift-agent": "planner"}, 404, "nobody"),
            ("planner", {"authorization": f"Bearer {key}", "x-upshift-agent": "planner"}, 404, "planner"),
            # Researcher is not open to this tenant, and that it is there is not its business.
            ("researcher", {"authorization": f"Bearer {other}", "x-upshift-agent": "planner"}, 404, "researcher"),
            ("researcher", {"x-upshift-agent": "planner"}, 401, "key"),
            ("researcher", {"authorization": "Bearer upk_wrong", "x-upshift-agent": "planner"}, 401, "key"),
            ("researcher", {"authorization": f"Bearer {key}"}, 400, "x-upshift-agent"),
            ("researcher", {"authorization": f"Bearer {key}", "x-upshift-agent": "nobody"}, 403, "nobody"),
            ("researcher", {"authorization": f"Bearer {own}", "x-upshift-agent": "researcher"}, 403, "researcher"),
            ("researcher", {"authorization": f"Bearer {own}"}, 200, ""),
        ):
            told = await client.post(f"/a2a/{path}", json=said, headers=headers)
            assert told.status_code == status, (path, headers, told.text)
            if words:
                assert words in told.json()["error"]["message"]
    records = await stack.records()
    assert [each.outcome for each in records] == [Outcome.REFUSED] * 6 + [Outcome.SERVED]


async def test_what_would_pass_the_gateway_by_is_refused(stack: Stack) -> None:
    await active(stack)
    key = await secret(stack)
    pushed = sending({"question": "why"})
    pushed["params"]["configuration"] = {"pushNotificationConfig": {"url": "http://127.0.0.1:1/"}}
    for body, code in (
        (pushed, -32003),
        ({"jsonrpc": "2.0", "id": 1, "method": "tasks/pushNotificationConfig/set", "params": {}}, -32003),
        ({"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}, -32004),
        ({"jsonrpc": "2.0", "id": 1, "method": "shell", "params": {}}, -32601),
        ({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": {"parts": "x"}}}, -32602),
        ([sending({"question": "why"})], -32600),
    ):
        told = (await post(stack, key, body)).json()
        assert told["error"]["code"] == code, told
    told = (await post(stack, key, b"{")).json()
    assert told["error"]["code"] == -32700
    assert {each.reason for each in await stack.records()} == {"invalid_request"}


async def test_an_agent_that_is_dead_or_slow_gives_a_clean_error(
    tmp_path: Path, researcher: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A2A_TEST_KEY", "of-the-gateway")
    async with running(tmp_path, plan=plan_text(researcher.url)) as stack:
        await active(stack, "plan-research", "plan-dead")
        key = await secret(stack)
        told = (await post(stack, key, sending({"question": "why"}), to="dead")).json()
        assert told["error"]["code"] == -32603
        assert told["error"]["data"][0]["reason"] == "AGENT_CONNECT"
        async with speaking(stack.base_url, key) as client:
            # Only now, so that it had time enough to show its card.
            await stack.apply(plan_text(researcher.url, timeouts="{first_byte: 300ms}"))
            with pytest.raises(InternalError, match="first_byte_timeout"):
                [_ async for _ in client.send_message(asking(question="why", do="wait"))]
        researcher.agent.cancelled.set()
        records = await stack.records()
        assert [each.outcome for each in records] == [Outcome.UPSTREAM_ERROR] * 2
        assert [each.reason for each in records] == ["agent-connect", "agent-first_byte_timeout"]


async def test_an_agent_is_no_judge_of_itself(stack: Stack) -> None:
    """With its own key it may say what it likes: that is kept, shown as its own word, and opens no gate."""
    own, app = await secret(stack, agent="planner"), await secret(stack)
    praise = {"kind": "quality", "agent": "planner", "score": 1, "rubric": "tone"}
    ended = {"kind": "task", "agent": "planner", "session": "s", "outcome": "done"}
    async with httpx.AsyncClient(base_url=stack.base_url, timeout=60) as client:

        async def report(key: str, *items: dict[str, Any]) -> None:
            headers = {"authorization": f"Bearer {key}"}
            answer = await client.post("/upshift/v1/feedback", json=items, headers=headers)
            assert answer.status_code == 200, answer.text

        await report(own, praise | {"id": "1"}, ended | {"id": "2"}, praise | {"id": "3", "agent": "researcher"})
        found = metrics(stack.desk, ADMIN, scope(), "1h", names=["quality", "task-failure-rate"]).metrics
        assert [(each.n, each.value) for each in found] == [(0, None), (0, None)]
        assert {each.source for each in listed(stack.desk, ADMIN, {})} == {"own"}
        sources = JournalSources(stack.desk.journal, stack.desk.now)
        whole = Span(0, stack.desk.now() + HOUR)
        assert sources.feedback(whole) == []
        await report(app, praise | {"id": "4", "score": 0.25})
    (quality,) = metrics(stack.desk, ADMIN, scope(agent="planner"), "1h", names=["quality"]).metrics
    assert (quality.n, quality.value) == (1, 0.25)
    assert [one.origin.tenant for one in sources.feedback(whole)] == ["acme"]


TASK = b'data: {"jsonrpc":"2.0","id":1,"result":{"statusUpdate":{"taskId":"t","contextId":"c","status":%s}}}'
WORKING = TASK % b'{"state":"TASK_STATE_WORKING"}'


@pytest.mark.parametrize(
    ("said", "events", "reason"),
    [
        (b"", 1, "agent-protocol"),
        (b": only a comment\n\n", 1, "agent-protocol"),
        # Cut in the middle of an event, by an agent whose answer lasts until it hangs up.
        (WORKING + b"\n\n" + WORKING[:60], 2, "agent-protocol"),
        # Whole, and the empty line that should end it never came.
        (WORKING + b"\n\n" + WORKING + b"\n", 2, ""),
        (WORKING + b"\n\n" + WORKING, 2, ""),
        (WORKING + b"\r\n\r\n", 1, ""),
        (WORKING.replace(b"TASK_STATE_WORKING", b"TASK_STATE_FAILED"), 1, "task_failed"),
    ],
)
async def test_a_stream_that_breaks_off_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, events: int, reason: str
) -> None:
    async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + said)
        await writer.drain()
        writer.close()

    monkeypatch.setenv("A2A_TEST_KEY", "of-the-gateway")
    server = await asyncio.start_server(dying, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with running(tmp_path, plan=plan_text(f"http://127.0.0.1:{port}/")) as stack:
            await active(stack)
            body = sending({"question": "why"}) | {"method": "SendStreamingMessage"}
            answer = await post(stack, await secret(stack), body)
            told = [line for line in answer.text.splitlines() if line.startswith("data:")]
            assert len(told) == events
            (record,) = await stack.records()
            assert record.reason == reason
            assert (record.outcome is Outcome.SERVED) == (reason != "agent-protocol")
            assert ("error" in told[-1]) == (reason == "agent-protocol")


async def test_a_share_of_the_sessions_is_let_in_and_none_flips(stack: Stack) -> None:
    await active(stack)
    key = await secret(stack)
    share_traffic(stack.desk, ADMIN, "researcher", 0.5)
    await stack.gateway.flow.regime.refresh()

    async def let_in() -> list[bool]:
        headers = {"authorization": f"Bearer {key}", "x-upshift-agent": "planner"}
        async with httpx.AsyncClient(base_url=stack.base_url, headers=headers, timeout=60) as client:
            answers = [
                await client.post(
                    "/a2a/researcher", json=sending({"question": "why"}), headers={"x-upshift-session": f"s{number}"}
                )
                for number in range(40)
            ]
        return ["result" in answer.json() for answer in answers]

    first = await let_in()
    assert 8 < sum(first) < 32
    assert await let_in() == first
    unnamed = (await post(stack, key, sending({"question": "why"}))).json()
    assert "50% of the sessions" in unnamed["error"]["message"]
    share_traffic(stack.desk, ADMIN, "researcher", 1.0)
    await stack.gateway.flow.regime.refresh()
    assert all(await let_in())


async def test_an_activation_is_for_one_major_version(stack: Stack, researcher: Served) -> None:
    await active(stack)
    key = await secret(stack)
    await stack.apply(plan_text(researcher.url).replace("1.0.0", "1.1.0"))
    assert "result" in (await post(stack, key, sending({"question": "why"}))).json()
    await stack.apply(plan_text(researcher.url).replace("1.0.0", "2.0.0"))
    told = (await post(stack, key, sending({"question": "why"}))).json()
    assert "activated for version 1 of its contract, which is 2.0.0 now" in told["error"]["message"]
    await active(stack)
    assert "result" in (await post(stack, key, sending({"question": "why"}))).json()


def sending(data: dict[str, Any]) -> dict[str, Any]:
    message = {"kind": "message", "messageId": "m1", "role": "user", "parts": [{"kind": "data", "data": data}]}
    return {"jsonrpc": "2.0", "id": 7, "method": "message/send", "params": {"message": message}}


async def post(stack: Stack, key: str, body: Any, to: str = "researcher") -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", "x-upshift-agent": "planner"}
    async with httpx.AsyncClient(base_url=stack.base_url, headers=headers, timeout=60) as client:
        if isinstance(body, bytes):
            return await client.post(f"/a2a/{to}", content=body)
        return await client.post(f"/a2a/{to}", json=body)
