"""Which bodies and streams do the two vendors and their clients really send?"""

import json
from typing import Any

from upshift.model.tokens import Usage

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def data(*events: object) -> bytes:
    return b"".join(b"data: " + (each if isinstance(each, bytes) else dumps(each)) + b"\n\n" for each in events)


def named(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: " + each["type"].encode() + b"\ndata: " + dumps(each) + b"\n\n" for each in events)


def chunk(*choices: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-Bx1",
        "object": "chat.completion.chunk",
        "created": 1763700000,
        "model": "gpt-5-mini-2025-08-07",
        "service_tier": "default",
        "choices": list(choices),
    } | extra


def delta(index: int = 0, finish: str | None = None, **content: Any) -> dict[str, Any]:
    return {"index": index, "delta": content, "logprobs": None, "finish_reason": finish}


OPENAI_USAGE = {
    "prompt_tokens": 1117,
    "completion_tokens": 46,
    "total_tokens": 1163,
    "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 20,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
OPENAI_USED = Usage(input=1117, cached=1024, output=46, reasoning=20)

OPENAI_TEXT = data(
    chunk(delta(role="assistant", content="", refusal=None), usage=None),
    chunk(delta(content="Hé"), usage=None),
    chunk(delta(content="llo 😀"), usage=None),
    chunk(delta(finish="stop"), usage=None),
    chunk(usage=OPENAI_USAGE),
    b"[DONE]",
)
OPENAI_TEXT_BYTES = len("Héllo 😀".encode())
OPENAI_PARALLEL_TOOLS = data(
    chunk(delta(role="assistant", content=None)),
    chunk(
        delta(
            tool_calls=[
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
            ]
        )
    ),
    chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city":'}}])),
    chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": '"Bern"}'}}])),
    chunk(
        delta(
            tool_calls=[
                {"index": 1, "id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}}
            ]
        )
    ),
    chunk(delta(finish="tool_calls")),
    chunk(usage=OPENAI_USAGE),
    b"[DONE]",
)
OPENAI_PARALLEL_TOOLS_BYTES = len('weather{"city":"Bern"}time{}')
OPENAI_TWO_CHOICES = data(
    chunk(delta(0, content="a"), delta(1, content="b")),
    chunk(delta(1, finish="stop")),
    chunk(delta(0, content="c")),
    chunk(delta(0, finish="length"), usage=OPENAI_USAGE),
    b"[DONE]",
)
OPENAI_RUNNING_USAGE = data(
    chunk(delta(content="one"), usage={"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}),
    chunk(delta(content="two"), usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}),
    chunk(delta(finish="stop"), usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}),
    b"[DONE]",
)

CLAUDE_START = {
    "type": "message_start",
    "message": {
        "id": "msg_01A",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 12,
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 2000,
            "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
            "output_tokens": 3,
            "service_tier": "standard",
        },
    },
}
CLAUDE_PARTIAL = Usage(input=2312, cached=2000, cache_write_5m=100, cache_write_1h=200, output=3)
CLAUDE_TEXT = named(
    CLAUDE_START,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm. "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQBCg=="}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Grüezi"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "get", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {
            "input_tokens": 12,
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 2000,
            "output_tokens": 89,
            "output_tokens_details": {"thinking_tokens": 30},
        },
    },
    {"type": "message_stop"},
)
CLAUDE_TEXT_BYTES = len('Hm. Grüeziget{"a": 1}'.encode())
CLAUDE_USED = Usage(input=2312, cached=2000, cache_write_5m=100, cache_write_1h=200, output=89, reasoning=30)
CLAUDE_ERROR = named(
    CLAUDE_START,
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
)

OPENAI_STREAMS = {
    "text": OPENAI_TEXT,
    "parallel tools": OPENAI_PARALLEL_TOOLS,
    "two choices": OPENAI_TWO_CHOICES,
    "running usage": OPENAI_RUNNING_USAGE,
    "crlf, comment, BOM": b"\xef\xbb\xbf: hello\r\n\r\n" + OPENAI_TEXT.replace(b"\n", b"\r\n"),
    "cr": OPENAI_TEXT.replace(b"\n", b"\r"),
    "mixed ends": OPENAI_TEXT.replace(b"\n\n", b"\r\n\n", 2).replace(b"data: ", b"data:"),
    "extra empty lines": OPENAI_TEXT.replace(b"\n\n", b"\n\n\n"),
    "no end": OPENAI_TEXT.removesuffix(b"\n\n"),
    "cut": OPENAI_TEXT[: len(OPENAI_TEXT) // 2],
    "lines of one value": b'data: {"id":"x",\ndata: "choices":[],"usage":null}\n\ndata\n\ndata: [DONE]\n\n',
    "garbage": b"\x00\xff<html>\n\ndata: {]\n\ndata: 5\n\n" + OPENAI_TEXT,
    "error": data(chunk(delta(content="x")), {"error": {"message": "boom", "type": "server_error"}}),
}
CLAUDE_STREAMS = {
    "text": CLAUDE_TEXT,
    "crlf": CLAUDE_TEXT.replace(b"\n", b"\r\n"),
    "cr": CLAUDE_TEXT.replace(b"\n", b"\r"),
    "cut": CLAUDE_TEXT[: len(CLAUDE_TEXT) // 2],
    "error": CLAUDE_ERROR,
}

OPENAI_TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
OPENAI_BODY: dict[str, Any] = {
    "model": "gpt-5-mini",
    "messages": [{"role": "developer", "content": "Sé brief."}, {"role": "user", "content": "Hi"}],
    "temperature": 0.2,
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 100,
    "n": 2,
    "user": "alice",
    "prompt_cache_key": "session-7",
}
CLAUDE_BODY: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 32000,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1"},
        {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    "thinking": {"type": "adaptive", "display": "omitted"},
    "stream": True,
    "metadata": {"user_id": json.dumps({"device_id": "d1", "account_uuid": "", "session_id": "s-42"})},
}

OPENAI_ANSWER = dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1763700000,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Grüezi",
                    "refusal": None,
                    "annotations": [],
                    "tool_calls": [
                        {"id": "c", "type": "function", "function": {"name": "get", "arguments": '{"a":1}'}},
                        {"id": "d", "type": "custom", "custom": {"name": "sh", "input": "ls"}},
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": OPENAI_USAGE,
        "system_fingerprint": "fp",
    }
)
CLAUDE_ANSWER = dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"},
            {"type": "text", "text": "Grüezi"},
            {"type": "tool_use", "id": "t", "name": "get", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 50,
            "cache_read_input_tokens": 40,
            "output_tokens": 7,
        },
    }
)
