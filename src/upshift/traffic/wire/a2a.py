"""What does a message of the A2A protocol say, in version 1.0 or 0.3: which method, whose payload, which error?"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

import msgspec

from upshift.traffic.contracts import Payload

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
REFUSED = -32000
"""Left to implementations by JSON-RPC 2.0, and not taken by A2A."""
TASK_NOT_FOUND, PUSH_NOT_SUPPORTED, NOT_SUPPORTED, INVALID_ANSWER = -32001, -32003, -32004, -32006

_CALLERS_FAULT = frozenset((INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, *range(-32005, -32000), -32008, -32009))
"""Errors of an agent that say something of the question rather than of the agent."""


class Kind(Enum):
    """What a method is for."""

    MESSAGE = auto()
    """It begins work, or goes on with it."""
    TASK = auto()
    CARD = auto()
    PUSH = auto()
    """It would have the agent call somebody by itself, past the gateway."""
    LIST = auto()
    """It would list the tasks of all callers."""


METHODS: Mapping[str, Kind] = MappingProxyType(
    {
        # 1.0
        "SendMessage": Kind.MESSAGE,
        "SendStreamingMessage": Kind.MESSAGE,
        "GetTask": Kind.TASK,
        "CancelTask": Kind.TASK,
        "SubscribeToTask": Kind.TASK,
        "ListTasks": Kind.LIST,
        "GetExtendedAgentCard": Kind.CARD,
        "CreateTaskPushNotificationConfig": Kind.PUSH,
        "GetTaskPushNotificationConfig": Kind.PUSH,
        "ListTaskPushNotificationConfigs": Kind.PUSH,
        "DeleteTaskPushNotificationConfig": Kind.PUSH,
        # 0.3
        "message/send": Kind.MESSAGE,
        "message/stream": Kind.MESSAGE,
        "tasks/get": Kind.TASK,
        "tasks/cancel": Kind.TASK,
        "tasks/resubscribe": Kind.TASK,
        "tasks/list": Kind.LIST,
        "agent/getAuthenticatedExtendedCard": Kind.CARD,
        "tasks/pushNotificationConfig/set": Kind.PUSH,
        "tasks/pushNotificationConfig/get": Kind.PUSH,
        "tasks/pushNotificationConfig/list": Kind.PUSH,
        "tasks/pushNotificationConfig/delete": Kind.PUSH,
    }
)
_STREAMS = frozenset(
    ("SendStreamingMessage", "SubscribeToTask", "message/stream", "tasks/resubscribe"),
)
_PUSH_FIELDS = (
    "pushNotificationConfig", "push_notification_config", "taskPushNotificationConfig", "task_push_notification_config",
)  # fmt: skip
_DEEPEST = 4
"""So deep lie payloads in results: a status update, its status, the message in it."""
_FAILED = frozenset(("failed", "rejected", "TASK_STATE_FAILED", "TASK_STATE_REJECTED"))
_OWN = frozenset(("agent", "ROLE_AGENT"))


class Asked(msgspec.Struct, frozen=True):
    """A request. `message` is what it sends to the agent; None where it sends none."""

    id: str | int | None
    method: str
    kind: Kind
    message: dict[str, Any] | None
    body: bytes
    """The request as it goes on: exactly what was read, so that nobody reads it otherwise."""
    task: str = ""
    """The task that it asks for, or goes on with."""

    @property
    def streams(self) -> bool:
        return self.method in _STREAMS

    @property
    def context(self) -> str:
        """The conversation that a message belongs to; empty where it begins one."""
        return _text(self.message or {}, "contextId", "context_id")[:128]


class Fault(msgspec.Struct, frozen=True):
    """A request that is answered with an error at once."""

    id: str | int | None
    code: int
    message: str


class Told(msgspec.Struct, frozen=True):
    """One answer, or event of a stream. `error` is the code of an error; `failed` that its task ended as failed."""

    document: dict[str, Any]
    body: bytes
    """What goes on: exactly what was read."""
    error: int | None = None
    failed: bool = False

    @property
    def callers_fault(self) -> bool:
        """Whether an error is about the question."""
        return self.error in _CALLERS_FAULT


def read(body: bytes) -> Asked | Fault:
    """A request of either version. Never raises."""
    found = _again(body)
    if found is None:
        return Fault(None, PARSE_ERROR, "the body is not JSON, or is nested too deep")
    said, again = found
    if not isinstance(said, dict):
        return Fault(None, INVALID_REQUEST, "expected one JSON-RPC request; batches are not served")
    id_, method, params = said.get("id"), said.get("method"), said.get("params", {})
    if isinstance(id_, bool) or not isinstance(id_, (str, int, type(None))):
        return Fault(None, INVALID_REQUEST, "id: expected a string, an integer or null")
    if said.get("jsonrpc") != "2.0" or not isinstance(method, str):
        return Fault(id_, INVALID_REQUEST, "expected a JSON-RPC 2.0 request with a method")
    kind = METHODS.get(method)
    if kind is None:
        return Fault(id_, METHOD_NOT_FOUND, f"A2A has no method {method[:64]!r} in version 1.0 or 0.3")
    if not isinstance(params, dict):
        return Fault(id_, INVALID_PARAMS, "params: expected an object")
    refused = _refused(kind, params)
    if refused is not None:
        return Fault(id_, *refused)
    message = params.get("message")
    if kind is Kind.MESSAGE:
        if not isinstance(message, dict) or not _is_list_of_objects(message.get("parts")):
            return Fault(id_, INVALID_PARAMS, "params.message.parts: expected a list of parts")
        return Asked(id_, method, kind, message, again, _text(message, "taskId", "task_id"))
    return Asked(id_, method, kind, None, again, _text(params, "id"))


def _again(body: bytes) -> tuple[Any, bytes] | None:
    """What a text says, and the text that says only that: fields that were said twice are in it once."""
    try:
        said = msgspec.json.decode(body)
        return said, msgspec.json.encode(said)
    except (ValueError, RecursionError):
        return None


def _refused(kind: Kind, params: Mapping[str, Any]) -> tuple[int, str] | None:
    """The code and text for what is not served by the gateway at all."""
    configuration = params.get("configuration")
    pushes = isinstance(configuration, dict) and any(configuration.get(field) for field in _PUSH_FIELDS)
    if kind is Kind.PUSH or pushes:
        return PUSH_NOT_SUPPORTED, "push notifications would pass by the gateway; stream, or ask for the task"
    if kind is Kind.LIST:
        return NOT_SUPPORTED, "the tasks of all callers are not listed; ask for a task by its id"
    return None


def payloads_of(asked: Asked) -> tuple[Payload, ...]:
    """The data parts of a request's message, by place."""
    return tuple(_parts("message.parts", asked.message["parts"])) if asked.message is not None else ()


def told(body: bytes) -> Told | None:
    """An answer or an event; None for what is not a JSON-RPC response."""
    found = _again(body)
    if found is None:
        return None
    said, again = found
    if not isinstance(said, dict) or ("result" in said) == ("error" in said):
        return None
    if "error" in said:
        error = said["error"]
        code = error.get("code") if isinstance(error, dict) else None
        return Told(said, again, code) if isinstance(code, int) else None
    return Told(said, again, failed=any(state in _FAILED for state in _states(said["result"])))


def context_in(answer: Told) -> str:
    """The conversation that an answer belongs to; empty where it does not say."""
    return next((named for each in _holders(answer) if (named := _text(each, "contextId"))), "")[:128]


def task_in(answer: Told) -> str:
    """The task that an answer tells of; empty where it is of none."""
    for each in _holders(answer):
        # A task has a status and names itself; all else names the task that it belongs to.
        found = _text(each, "taskId") or (_text(each, "id") if "status" in each else "")
        if found:
            return found
    return ""


def _holders(answer: Told) -> Iterator[dict[str, Any]]:
    result = answer.document.get("result")
    if isinstance(result, dict):
        yield result
        for field in ("task", "message", "statusUpdate", "artifactUpdate"):
            if isinstance(result.get(field), dict):
                yield result[field]


def _text(holder: Mapping[str, Any], *fields: str) -> str:
    return next((holder[field] for field in fields if isinstance(holder.get(field), str)), "")


def payloads_in(answer: Told) -> tuple[Payload, ...]:
    """The data parts that an agent sends in an answer or event, by place, whatever kind of result it is."""
    return tuple(_result("result", answer.document.get("result")))


def _result(where: str, result: Any, depth: int = 0) -> Iterator[Payload]:
    if not isinstance(result, dict) or depth > _DEEPEST:
        return
    yield from _parts(f"{where}.parts", result.get("parts"))
    for index, artifact in enumerate(_list(result.get("artifacts"))):
        if isinstance(artifact, dict):
            yield from _parts(f"{where}.artifacts[{index}].parts", artifact.get("parts"))
    for index, message in enumerate(_list(result.get("history"))):
        if isinstance(message, dict) and message.get("role") in _OWN:
            yield from _parts(f"{where}.history[{index}].parts", message.get("parts"))
    # What is said in a status, and what 1.0 wraps by its kind.
    for field in ("status", "message", "artifact", "task", "statusUpdate", "artifactUpdate"):
        yield from _result(f"{where}.{field}", result.get(field), depth + 1)


def _parts(where: str, parts: Any) -> Iterator[Payload]:
    for index, part in enumerate(_list(parts)):
        if isinstance(part, dict) and "data" in part:
            yield f"{where}[{index}].data", part["data"]


def _states(result: Any) -> Iterator[str]:
    if not isinstance(result, dict):
        return
    for holder in (result, result.get("task"), result.get("statusUpdate")):
        status = holder.get("status") if isinstance(holder, dict) else None
        state = status.get("state") if isinstance(status, dict) else None
        if isinstance(state, str):
            yield state


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def error(
    id_: str | int | None,
    code: int,
    message: str,
    reason: str,
    request: str,
    fields: Sequence[tuple[str, str]] = (),
) -> bytes:
    """A JSON-RPC error with details as A2A 1.0 (9.5) has them: google.rpc.ErrorInfo, and the fields that are wrong."""
    info: dict[str, object] = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason.upper().replace("-", "_"),
        "domain": "upshift",
        "metadata": {"request": request},
    }
    data = [info]
    if fields:
        violations = [{"field": where, "description": what} for where, what in fields]
        data.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations})
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message, "data": data}})
