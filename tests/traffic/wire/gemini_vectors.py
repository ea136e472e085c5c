"""Which bodies and streams do Gemini and its clients really send?"""

from typing import Any

from tests.traffic.wire.vectors import data, dumps

from upshift.model.tokens import Usage

TARGET = b"/v1beta/models/gemini-3.5-flash:generateContent"
STREAMED = b"/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse"
BODY: dict[str, Any] = {
    "contents": [{"parts": [{"text": "Grüezi"}], "role": "user"}],
    "systemInstruction": {"parts": [{"text": "Be brief."}], "role": "user"},
    "generationConfig": {"temperature": 1, "maxOutputTokens": 32000, "thinkingConfig": {"includeThoughts": True}},
}
DECLARED = {"functionDeclarations": [{"name": "get", "parametersJsonSchema": {"type": "object"}}]}
SIGNATURE = "AY89a18iOcFus5wr5bW5xN6zZ4aUiCyhgmg6HE2YjtYDV/dwZ5oZlZHeTmiUKv34qq0="


def chunk(*parts: dict[str, Any], usage: dict[str, Any] | None = None, finish: str = "", **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    found = {"candidates": [candidate], "modelVersion": "gemini-3.5-flash", "responseId": "tTCwacuE"} | more
    return found | ({"usageMetadata": usage} if usage is not None else {})


FIRST = {"promptTokenCount": 1117, "totalTokenCount": 1117}
LAST = {
    "promptTokenCount": 1117,
    "cachedContentTokenCount": 1024,
    "candidatesTokenCount": 26,
    "thoughtsTokenCount": 20,
    "toolUsePromptTokenCount": 3,
    "totalTokenCount": 1166,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1117}],
}
USED = Usage(input=1120, cached=1024, output=46, reasoning=20)
TEXT = data(
    chunk({"text": "Hm. ", "thought": True}, usage=FIRST),
    chunk({"text": "Hé"}, usage=FIRST | {"candidatesTokenCount": 1}),
    chunk({"text": "llo 😀"}, usage={"trafficType": "ON_DEMAND"}),
    chunk({"text": "", "thoughtSignature": SIGNATURE}, usage=LAST, finish="STOP"),
).replace(b"\n", b"\r\n")
TEXT_BYTES = len("Hm. Héllo 😀".encode())
CALL = {"id": "c1", "name": "get", "args": {"a": 1}}
CALLS = data(
    chunk({"functionCall": CALL, "thoughtSignature": SIGNATURE}, {"functionCall": CALL | {"id": "c2"}}),
    chunk({"text": ""}, usage=LAST, finish="STOP"),
)
CALLS_BYTES = 2 * len(dumps(CALL))
TWO = data(
    {"candidates": [{"content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"text": "b"}]}, "index": 1}]},
    {"candidates": [{"finishReason": "STOP", "index": 1}], "usageMetadata": LAST},
    {"candidates": [{"content": {"parts": [{"text": "c"}]}, "finishReason": "MAX_TOKENS"}], "usageMetadata": LAST},
)
BLOCKED = data({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": FIRST})
ERROR = data(chunk({"text": "a"}), {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}})
BARE_ERROR = data(chunk({"text": "a"})) + b'{\n  "error": {\n    "code": 503,\n    "message": "Overloaded"\n  }\n}\n'
STREAMS = {"text": TEXT, "calls": CALLS, "two": TWO, "blocked": BLOCKED, "error": ERROR, "bare error": BARE_ERROR}
ANSWER = dumps(
    chunk({"text": "Hm.", "thought": True}, {"text": "Hé"}, {"functionCall": CALL}, usage=LAST, finish="STOP")
)
