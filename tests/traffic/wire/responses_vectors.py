"""Which bodies and streams do OpenAI's Responses and its clients really send?"""

from typing import Any

from tests.traffic.wire.vectors import PIXEL, dumps

from upshift.model.tokens import Usage

BODY: dict[str, Any] = {
    "model": "gpt-6.1-sol",
    "instructions": "You are a coding agent.",
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Grüezi 😀"},
                {"type": "input_image", "image_url": "data:image/png;base64," + PIXEL},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"},
        {"type": "function_call", "call_id": "call_1", "name": "exec_command", "arguments": '{"cmd":"ls"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "a.txt"},
    ],
    "tools": [{"type": "function", "name": "exec_command", "parameters": {"type": "object"}, "strict": False}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "019a-session",
    "client_metadata": {"x-codex-installation-id": "i-1"},
    "max_output_tokens": 500,
}
"""As Codex sends it to a model that it does not know."""

LITE: dict[str, Any] = {
    "model": "gpt-6.1-sol",
    "input": [
        {
            "type": "additional_tools",
            "role": "developer",
            "tools": [{"type": "namespace", "name": "shell", "description": "?", "tools": []}],
        },
        {"type": "configuration_update", "reasoning": {"effort": "low"}},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    ],
    "reasoning": {"context": "all_turns"},
    "include": ["reasoning.encrypted_content"],
    "store": False,
    "stream": True,
}
"""As Codex sends it to its own models."""

USAGE: dict[str, Any] = {
    "input_tokens": 1117,
    "input_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 0},
    "output_tokens": 46,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 1163,
}
USED = Usage(input=1117, cached=1024, output=46, reasoning=20)


def response(status: str, output: list[Any], usage: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1763700000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": "gpt-5-2025-08-07",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    } | more


def events(*given: dict[str, Any]) -> bytes:
    """A stream of events, numbered and named."""
    return b"".join(
        b"event: " + each["type"].encode() + b"\ndata: " + dumps(each | {"sequence_number": number}) + b"\n\n"
        for number, each in enumerate(given)
    )


def reasoning(text: str) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": "gAAAA"}


def message(text: str, status: str = "completed") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": [part]}


def function(arguments: str, number: int = 1, status: str = "completed") -> dict[str, Any]:
    return {
        "id": f"fc_{number}",
        "type": "function_call",
        "status": status,
        "call_id": f"call_{number}",
        "name": "weather",
        "arguments": arguments,
    }


def custom(text: str) -> dict[str, Any]:
    return {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_9", "name": "exec", "input": text}


def _item(index: int, item: dict[str, Any], opened: dict[str, Any], *between: dict[str, Any]) -> list[dict[str, Any]]:
    at = {"item_id": item["id"], "output_index": index}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": item | opened},
        *(each | at for each in between),
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


_OPENING = [
    {"type": "response.created", "response": response("in_progress", [])},
    {"type": "response.in_progress", "response": response("in_progress", [])},
]
TEXT_ITEMS = [reasoning("hm hm"), message("Héllo 😀")]
TEXT_EVENTS: list[dict[str, Any]] = [
    *_OPENING,
    *_item(
        0,
        TEXT_ITEMS[0],
        {"summary": []},
        {
            "type": "response.reasoning_summary_part.added",
            "summary_index": 0,
            "part": {"type": "summary_text", "text": ""},
        },
        {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "hm "},
        {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "hm"},
        {"type": "response.reasoning_summary_text.done", "summary_index": 0, "text": "hm hm"},
        {
            "type": "response.reasoning_summary_part.done",
            "summary_index": 0,
            "part": {"type": "summary_text", "text": "hm hm"},
        },
    ),
    *_item(
        1,
        TEXT_ITEMS[1],
        {"status": "in_progress", "content": []},
        {"type": "response.content_part.added", "content_index": 0, "part": _part("")},
        {
            "type": "response.output_text.delta",
            "content_index": 0,
            "delta": "Hé",
            "logprobs": [],
            "obfuscation": "xyz",
        },
        {"type": "response.output_text.delta", "content_index": 0, "delta": "llo 😀", "logprobs": []},
        {"type": "response.output_text.done", "content_index": 0, "text": "Héllo 😀", "logprobs": []},
        {"type": "response.content_part.done", "content_index": 0, "part": _part("Héllo 😀")},
    ),
    {"type": "response.completed", "response": response("completed", TEXT_ITEMS, USAGE)},
]
TEXT = events(*TEXT_EVENTS)
TEXT_BYTES = len("hm hmHéllo 😀".encode())

TOOL_ITEMS = [function('{"city":"Bern"}'), function("{}", 2), custom("ls -l")]
TOOL_EVENTS: list[dict[str, Any]] = [
    *_OPENING,
    *_item(
        0,
        TOOL_ITEMS[0],
        {"status": "in_progress", "arguments": ""},
        {"type": "response.function_call_arguments.delta", "delta": '{"city":'},
        {"type": "response.function_call_arguments.delta", "delta": '"Bern"}'},
        {"type": "response.function_call_arguments.done", "arguments": '{"city":"Bern"}'},
    ),
    *_item(
        1,
        TOOL_ITEMS[1],
        {"status": "in_progress", "arguments": ""},
        {"type": "response.function_call_arguments.delta", "delta": "{}"},
        {"type": "response.function_call_arguments.done", "arguments": "{}"},
    ),
    *_item(
        2,
        TOOL_ITEMS[2],
        {"input": ""},
        {"type": "response.custom_tool_call_input.delta", "delta": "ls "},
        {"type": "response.custom_tool_call_input.delta", "delta": "-l"},
        {"type": "response.custom_tool_call_input.done", "input": "ls -l"},
    ),
    {"type": "response.completed", "response": response("completed", TOOL_ITEMS, USAGE)},
]
TOOLS = events(*TOOL_EVENTS)
TOOLS_BYTES = len('weather{"city":"Bern"}weather{}execls -l')

SPARSE = events(
    {"type": "response.output_item.done", "item": message("Hi")},
    {"type": "response.completed", "response": {"id": "resp_1", "usage": USAGE}},
).replace(b',"sequence_number":0', b"")
"""The least that Codex makes do with."""

STREAMS = {"text": TEXT, "tools": TOOLS, "sparse": SPARSE, "crlf": TEXT.replace(b"\n", b"\r\n")}

ANSWER = dumps(response("completed", [*TEXT_ITEMS, *TOOL_ITEMS], USAGE))
