"""Are messages of A2A read in both versions, with all their payloads, and is what bypasses the gateway refused?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.traffic.wire.a2a import (
    Asked,
    Fault,
    Kind,
    context_in,
    error,
    payloads_in,
    payloads_of,
    read,
    task_in,
    told,
)

DATA = {"kind": "data", "data": {"q": 1}}


def rpc(method: str, params: Any, **more: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": "7", "method": method, "params": params, **more}).encode()


def send(*parts: Any, method: str = "message/send", **more: Any) -> bytes:
    return rpc(method, {"message": {"messageId": "m", "contextId": "c1", "parts": list(parts)}, **more})


@pytest.mark.parametrize("method", ["message/send", "message/stream", "SendMessage", "SendStreamingMessage"])
def test_a_message_is_read_with_its_data(method: str) -> None:
    asked = read(send({"kind": "text", "text": "hi"}, DATA, {"data": None}, method=method))
    assert isinstance(asked, Asked)
    assert (asked.id, asked.kind, asked.context) == ("7", Kind.MESSAGE, "c1")
    assert asked.streams == ("tream" in method)
    assert payloads_of(asked) == (("message.parts[1].data", {"q": 1}), ("message.parts[2].data", None))
    assert json.loads(asked.body)["params"]["message"]["parts"][1] == DATA


def test_a_field_that_is_said_twice_goes_on_as_it_was_read() -> None:
    body = send(DATA).replace(b'{"q": 1}', b'{"q": 1, "q": 2}')
    asked = read(body)
    assert isinstance(asked, Asked)
    assert payloads_of(asked)[0][1] == {"q": 2}
    assert asked.body.count(b'"q"') == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (b"[" * 100_000, -32700),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "tasks/get"}', -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "tasks/get"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
        (rpc("tasks/steal", {}), -32601),
        (rpc("tasks/get", []), -32602),
        (rpc("message/send", {}), -32602),
        (rpc("SendMessage", {"message": {"parts": [1]}}), -32602),
        (rpc("tasks/pushNotificationConfig/set", {}), -32003),
        (rpc("CreateTaskPushNotificationConfig", {}), -32003),
        (send(DATA, configuration={"pushNotificationConfig": {"url": "http://127.0.0.1/"}}), -32003),
        (send(DATA, method="SendMessage", configuration={"task_push_notification_config": {"url": "x"}}), -32003),
        (rpc("ListTasks", {}), -32004),
    ],
)
def test_what_is_not_served(body: bytes, code: int) -> None:
    found = read(body)
    assert isinstance(found, Fault)
    assert found.code == code


RESULTS: list[tuple[Any, list[str]]] = [
    ({"kind": "message", "parts": [DATA]}, ["result.parts[0].data"]),
    (
        {
            "kind": "task",
            "artifacts": [{"parts": [DATA]}],
            "status": {"message": {"parts": [DATA]}},
            "history": [{"role": "user", "parts": [DATA]}, {"role": "agent", "parts": [DATA]}],
        },
        ["result.artifacts[0].parts[0].data", "result.history[1].parts[0].data", "result.status.message.parts[0].data"],
    ),
    ({"kind": "artifact-update", "artifact": {"parts": [DATA]}}, ["result.artifact.parts[0].data"]),
    ({"kind": "status-update", "status": {"message": {"parts": [DATA]}}}, ["result.status.message.parts[0].data"]),
    ({"message": {"parts": [DATA]}}, ["result.message.parts[0].data"]),
    ({"task": {"artifacts": [{"parts": [DATA, DATA]}]}}, [f"result.task.artifacts[0].parts[{n}].data" for n in (0, 1)]),
    (
        {"statusUpdate": {"status": {"message": {"parts": [DATA]}}}},
        ["result.statusUpdate.status.message.parts[0].data"],
    ),
    ({"artifactUpdate": {"artifact": {"parts": [DATA]}}}, ["result.artifactUpdate.artifact.parts[0].data"]),
    ({"kind": "task", "artifacts": None, "status": 3}, []),
    (None, []),
]


@pytest.mark.parametrize(("result", "places"), RESULTS)
def test_every_payload_of_an_answer_is_found(result: Any, places: list[str]) -> None:
    found = told(json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())
    assert found is not None
    assert [where for where, _ in payloads_in(found)] == places


@pytest.mark.parametrize(
    ("result", "failed"),
    [
        ({"status": {"state": "failed"}}, True),
        ({"task": {"status": {"state": "TASK_STATE_FAILED"}}}, True),
        ({"statusUpdate": {"status": {"state": "TASK_STATE_REJECTED"}}}, True),
        ({"status": {"state": "completed"}}, False),
        ([], False),
    ],
)
def test_a_task_that_failed_is_told(result: Any, failed: bool) -> None:
    found = told(json.dumps({"result": result}).encode())
    assert found is not None
    assert found.failed is failed


def test_what_is_nested_deep_is_taken_or_refused() -> None:
    for depth in range(0, 2000, 50):
        nested = b'{"status":' * depth + b"1" + b"}" * depth
        found = told(b'{"result":' + nested + b"}")
        if found is not None:
            payloads_in(found)
            assert json.loads(found.body)
        asked = read(send(DATA).replace(b'{"q": 1}', nested))
        assert isinstance(asked, Asked) or asked.code == -32700


def test_whose_fault_an_error_is() -> None:
    for code, callers in ((-32001, True), (-32602, True), (-32603, False), (-32006, False), (-1, False)):
        found = told(json.dumps({"error": {"code": code}}).encode())
        assert found is not None
        assert (found.error, found.callers_fault) == (code, callers)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"result": 1, "error": {}}', b'{"error": {"code": "x"}}']
)
def test_what_is_no_answer(body: bytes) -> None:
    assert told(body) is None


def test_the_conversation_of_an_answer() -> None:
    for result in ({"contextId": "c"}, {"task": {"contextId": "c"}}, {"message": {"contextId": "c"}}):
        found = told(json.dumps({"result": result}).encode())
        assert found is not None
        assert context_in(found) == "c"


@pytest.mark.parametrize(
    "result",
    [
        {"kind": "task", "id": "t", "status": {}},
        {"kind": "status-update", "taskId": "t", "status": {}},
        {"task": {"id": "t", "status": {}}},
        {"artifactUpdate": {"taskId": "t"}},
        {"message": {"taskId": "t"}},
    ],
)
def test_the_task_of_an_answer(result: Any) -> None:
    found = told(json.dumps({"result": result}).encode())
    assert found is not None
    assert task_in(found) == "t"


def test_the_task_that_is_asked_for() -> None:
    for body in (rpc("tasks/get", {"id": "t"}), rpc("SendMessage", {"message": {"taskId": "t", "parts": []}})):
        asked = read(body)
        assert isinstance(asked, Asked)
        assert asked.task == "t"


def test_an_error_names_the_fields_that_are_wrong() -> None:
    said = json.loads(error(7, -32602, "no", "contract_violation", "up_1", [("message.parts[0].data.q", "too long")]))
    assert (said["id"], said["error"]["code"], said["error"]["message"]) == (7, -32602, "no")
    info, bad = said["error"]["data"]
    assert (info["reason"], info["metadata"]) == ("CONTRACT_VIOLATION", {"request": "up_1"})
    assert bad["fieldViolations"] == [{"field": "message.parts[0].data.q", "description": "too long"}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["parts", "data", "message", "task", "status", "artifact", "artifacts", "history", "state"]),
        inner, max_size=3,
    ),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_nothing_that_is_read_raises(value: Any) -> None:
    asked = read(rpc("SendMessage", {"message": value}))
    if isinstance(asked, Asked):
        payloads_of(asked)
    answer = told(json.dumps({"result": value}).encode())
    assert answer is not None
    payloads_in(answer)
    context_in(answer)
