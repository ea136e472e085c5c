"""Which requests, answers and streams of Gemini does its own translator have to understand?

More than the table of all dialects needs: both ways to spell a field, results without ids, and streams as recorded.
"""

import json
from typing import Any

from tests.traffic.translate.vectors import Vector, dumped
from tests.traffic.wire.gemini_vectors import SIGNATURE
from tests.traffic.wire.vectors import PIXEL

Json = dict[str, Any]

TARGET = b"/v1beta/models/a-model:generateContent"
STREAMED = b"/v1beta/models/a-model:streamGenerateContent?alt=sse"


def _user(*parts: Json) -> Json:
    return {"role": "user", "parts": list(parts)}


def _model(*parts: Json) -> Json:
    return {"role": "model", "parts": list(parts)}


def _text(text: str, **more: Any) -> Json:
    return {"text": text} | more


def _called(ident: str = "", **arguments: Any) -> Json:
    return {"functionCall": ({"id": ident} if ident else {}) | {"name": "weather", "args": arguments}}


def _returned(response: Json, ident: str = "", **more: Any) -> Json:
    return {"functionResponse": ({"id": ident} if ident else {}) | {"name": "weather", "response": response} | more}


SIGNED = {"thoughtSignature": SIGNATURE}
SCHEMA = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
DECLARED = {"name": "weather", "description": "The weather.", "parametersJsonSchema": SCHEMA}
OWN_SCHEMA = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}, "propertyOrdering": ["a"]}
TOOLS = {"tools": [{"functionDeclarations": [DECLARED]}]}
HELLO = _user(_text("Hello!"))
PICTURE = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}


def _said(*parts: Json) -> Json:
    return {"contents": [_user(*parts)]}


def _config(**fields: Any) -> Json:
    return {"generationConfig": fields}


def _linked(kind: str, uri: str) -> Json:
    return _said({"fileData": ({"mimeType": kind} if kind else {}) | {"fileUri": uri}})


def _after(call: Json, *results: Json) -> Json:
    return TOOLS | {"contents": [HELLO, call, _user(*results)]}


def _mode(mode: str, *names: str) -> Json:
    return TOOLS | {
        "toolConfig": {"functionCallingConfig": {"mode": mode} | ({"allowedFunctionNames": [*names]} if names else {})}
    }


_BOSTON = _model(_called("c1", location="Boston"))
_REQUESTS: dict[str, Json] = {
    "a text": {},
    "a system instruction": {"systemInstruction": {"parts": [_text("Be brief.")]}},
    "several turns": {"contents": [HELLO, _model(_text("Hi.")), _user(_text("Go on"))]},
    "several texts in a turn": _said(_text("One."), _text("Two.")),
    "an image as data": _said(_text("What is it?"), PICTURE),
    "an image by URL": _linked("image/png", "https://example.org/a.png"),
    "a PDF as data": _said({"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}}),
    "a PDF by URL": _linked("application/pdf", "https://example.org/a.pdf"),
    "sound": _said({"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}}),
    "a film": _linked("", "https://www.youtube.com/watch?v=9hE5-98ZeCg"),
    "a kept file": _linked("application/pdf", "https://generativelanguage.googleapis.com/v1beta/files/a"),
    "functions": TOOLS,
    "a schema of its own kind": {"tools": [{"functionDeclarations": [{"name": "weather", "parameters": OWN_SCHEMA}]}]},
    "calls and results": _after(_BOSTON, _returned({"output": "22 C"}, "c1")),
    "results without ids": _after(
        _model(_called(location="Boston"), _called(location="Paris")),
        _returned({"output": "22 C"}),
        _returned({"output": "9 C"}),
    ),
    "a result that is an object": _after(_BOSTON, _returned({"temperature": 22, "sky": ["clear"]}, "c1")),
    "a result that is an error": _after(_BOSTON, _returned({"error": "no such place"}, "c1")),
    "a result with an image": _after(_BOSTON, _returned({"output": "see"}, "c1", parts=[PICTURE])),
    "a signed call": _after(_model(_called("c1") | SIGNED), _returned({"output": "22 C"}, "c1")),
    "thoughts": {"contents": [HELLO, _model(_text("Hm.", thought=True), _text("Hi.")), _user(_text("Go on"))]},
    "mode AUTO": _mode("AUTO"),
    "mode ANY": _mode("ANY"),
    "mode ANY of one": _mode("ANY", "weather"),
    "mode NONE": _mode("NONE"),
    "mode VALIDATED": _mode("VALIDATED"),
    "any JSON": _config(responseMimeType="application/json"),
    "JSON by a schema": _config(responseMimeType="application/json", responseJsonSchema=SCHEMA),
    "JSON by a schema of its own kind": _config(responseMimeType="application/json", responseSchema=OWN_SCHEMA),
    "a word of an enumeration": _config(responseMimeType="text/x.enum", responseSchema={"enum": ["a", "b"]}),
    "thinkingLevel": _config(thinkingConfig={"thinkingLevel": "LOW"}),
    "thinkingBudget": _config(thinkingConfig={"thinkingBudget": 8192}),
    "thinkingBudget 0": _config(thinkingConfig={"thinkingBudget": 0}),
    "thinkingBudget -1": _config(thinkingConfig={"thinkingBudget": -1}),
    "includeThoughts": _config(thinkingConfig={"includeThoughts": True, "thinkingLevel": "HIGH"}),
    "sampling": _config(
        maxOutputTokens=100,
        temperature=1.5,
        topP=0.9,
        topK=40,
        frequencyPenalty=0.5,
        presencePenalty=0.5,
        seed=7,
        stopSequences=["END", "STOP"],
    ),
    "serviceTier": {"serviceTier": "flex"},
    "cachedContent": {"cachedContent": "cachedContents/a"},
    "candidateCount": _config(candidateCount=2),
    "pictures wanted": _config(responseModalities=["TEXT", "IMAGE"]),
    "googleSearch": {"tools": [{"googleSearch": {}}]},
    "code that ran": {"contents": [HELLO, _model({"executableCode": {"code": "1"}}), _user(_text("Go on"))]},
    "names in snake case": {
        "system_instruction": {"parts": [_text("Be brief.")]},
        "generation_config": {"max_output_tokens": "100", "stop_sequences": ["a"]},
    },
    "one object for a list": {"contents": _user(_text("Hello!")), "tools": {"functionDeclarations": DECLARED}},
    "a field that nobody knows": {"novelty": 1},
    "a field that nobody knows, deep down": _said(_text("Hello!", novelty=1)),
}
REQUESTS = [Vector(says, dumped({"contents": [HELLO]} | put), TARGET) for says, put in _REQUESTS.items()]

_USAGE = {"promptTokenCount": 19, "candidatesTokenCount": 10, "totalTokenCount": 29}


def _answer(*parts: Json, finish: str = "STOP", **more: Any) -> Json:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "finishReason": finish, "index": 0} | more
    names = {"modelVersion": "gemini-3.5-flash", "responseId": "tTCwacuEBMvnitYP06qsgQY"}
    return {"candidates": [candidate], "usageMetadata": _USAGE} | names


_REPLIES: dict[str, Json] = {
    "a text": _answer(_text("Hello! How can I help you today?")),
    "a signed text": _answer(_text("Hello!") | SIGNED),
    "parallel calls": _answer(_called("c1", location="Boston") | SIGNED, _called("c2", location="Paris")),
    "calls without ids": _answer(_called(location="Boston")),
    "thoughts and a signed call": _answer(_text("Hm.", thought=True), _called("c1") | SIGNED),
    "thoughts in pieces": _answer(_text("Hm. ", thought=True), _text("So.", thought=True) | SIGNED, _text("Hello!")),
    "the end of maxOutputTokens": _answer(_text("Hello"), finish="MAX_TOKENS"),
    "a filter": _answer(_text(""), finish="SAFETY"),
    "a prompt that is blocked": {"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {"promptTokenCount": 9}},
    "a call that went wrong": _answer(_text(""), finish="MALFORMED_FUNCTION_CALL"),
    "grounding": _answer(_text("Hello!"), groundingMetadata={"webSearchQueries": ["hello"]}),
    "a picture": _answer(PICTURE),
    "code that ran": _answer({"executableCode": {"code": "1"}}, _text("1")),
}
REPLIES = [Vector(says, dumped(body)) for says, body in _REPLIES.items()]


def _events(*events: Json, end: str = "\r\n") -> bytes:
    return "".join(f"data: {json.dumps(each)}{end}{end}" for each in events).encode()


def _chunk(*parts: Json, finish: str = "", usage: Json | None = None) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": list(parts)}}
    if finish:
        candidate["finishReason"] = finish
    names = {"modelVersion": "gemini-3.1-flash-lite-preview", "responseId": "tTCwacuEBMvnitYP06qsgQY"}
    return {"candidates": [candidate]} | ({"usageMetadata": usage} if usage else {}) | names


_DEMAND = {"trafficType": "ON_DEMAND"}
_LAST = {"promptTokenCount": 1, "candidatesTokenCount": 9, "totalTokenCount": 10}
_BLOCKED = {"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {"promptTokenCount": 1}}
_OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
_STREAMS: dict[str, bytes] = {
    "a text, as recorded": _events(
        _chunk(_text("Hello!"), usage=_DEMAND),
        _chunk(_text(" How can I help you today"), usage=_DEMAND),
        _chunk(_text("?"), usage=_DEMAND),
        _chunk(_text("") | SIGNED, finish="STOP", usage=_LAST | _DEMAND),
    ),
    "a running total": _events(
        _chunk(_text("One"), usage={"promptTokenCount": 1, "candidatesTokenCount": 3}),
        _chunk(_text(" two"), finish="STOP", usage=_LAST),
        end="\n",
    ),
    "parallel calls": _events(
        _chunk(_called("c1", location="Boston") | SIGNED, _called("c2", location="Paris")),
        _chunk(_text(""), finish="STOP", usage=_LAST),
    ),
    "calls without ids": _events(
        _chunk(_called(location="Boston")), _chunk(_called(location="Paris"), finish="STOP", usage=_LAST)
    ),
    "thoughts": _events(
        _chunk(_text("Hm. ", thought=True)),
        _chunk(_text("So.", thought=True)),
        _chunk(_text("Grüezi 😀"), finish="STOP", usage=_LAST),
    ),
    "signed thoughts and a call": _events(
        _chunk(_text("Hm.", thought=True), usage=_DEMAND),
        _chunk(_called("c1", location="Boston") | SIGNED, finish="STOP", usage=_LAST),
    ),
    "the end of maxOutputTokens": _events(_chunk(_text("Hello")), _chunk(finish="MAX_TOKENS", usage=_LAST)),
    "a filter": _events(_chunk(_text("Hello")), {"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": _LAST}),
    "a prompt that is blocked": _events(_BLOCKED),
    "no finishReason": _events(_chunk(_text("Hello"))),
    "an error in the middle": _events(_chunk(_text("Hello")), _OVERLOADED),
    "a bare error in the middle": _events(_chunk(_text("Hello"))) + json.dumps(_OVERLOADED, indent=2).encode(),
}
STREAMS = [Vector(says, text) for says, text in _STREAMS.items()]
