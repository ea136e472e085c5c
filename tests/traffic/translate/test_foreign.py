"""Does a conversation that other providers answered before go to a provider of the client's own dialect unharmed?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.translate.fidelity_table import DIALECTS
from tests.traffic.translate.vectors import dumped, requests

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.foreign import without_foreign
from upshift.traffic.translate.gemini_thoughts import FOREIGN
from upshift.traffic.translate.translate import TRANSLATORS
from upshift.traffic.translate.words import Part, Reply, Signature, StopReason, Text, Thinking, ToolCall

USER: dict[Dialect, dict[str, Any]] = {
    Dialect.OPENAI: {"role": "user", "content": "Hello!"},
    Dialect.ANTHROPIC: {"role": "user", "content": "Hello!"},
    Dialect.RESPONSES: {"type": "message", "role": "user", "content": "Hello!"},
    Dialect.GEMINI: {"role": "user", "parts": [{"text": "Hello!"}]},
}
FIELDS = {Dialect.RESPONSES: "input", Dialect.GEMINI: "contents"}


def turns(dialect: Dialect, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """An answer as a client puts it into the history."""
    match dialect:
        case Dialect.OPENAI:
            return [answer["choices"][0]["message"]]
        case Dialect.ANTHROPIC:
            return [{"role": "assistant", "content": answer["content"]}]
        case Dialect.RESPONSES:
            return list(answer["output"])
        case _:
            return [answer["candidates"][0]["content"]]


def history(dialect: Dialect, of: Dialect) -> bytes:
    """A request after an answer that a provider of dialect `of` gave."""
    thought = Thinking("Hm.", Signature(of, "c2ln"))
    parts: list[Part] = [thought, Text("Hi."), ToolCall("call_1", "f", "{}")]
    reply = Reply(id="x", model="m", parts=parts, stop=StopReason.TOOLS)
    said = json.loads(TRANSLATORS[dialect].reply_out(reply, "m"))
    field = FIELDS.get(dialect, "messages")
    body = {"temperature": 0.50, field: [USER[dialect], *turns(dialect, said), USER[dialect]]}
    return dumped(body if dialect is Dialect.GEMINI else {"model": "m", "max_tokens": 10, **body})


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("of", DIALECTS)
def test_only_thoughts_of_others_are_taken_out(dialect: Dialect, of: Dialect) -> None:
    body = history(dialect, of)
    assert b"c2ln" in body or dialect is Dialect.GEMINI
    cleaned = without_foreign(dialect, body)
    if of is dialect:
        assert cleaned is body
        return
    assert b"c2ln" not in cleaned
    assert b"upshift" not in cleaned
    assert without_foreign(dialect, cleaned) is cleaned
    assert b"Hi." in cleaned
    assert b'"f"' in cleaned
    assert cleaned.startswith(b'{"temperature":0.5,' if dialect is Dialect.GEMINI else b'{"model":"m",')


def test_a_call_to_gemini_keeps_a_signature() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    reply = Reply(
        id="x",
        model="m",
        parts=[Thinking("Hm.", Signature(Dialect.ANTHROPIC, "c2ln")), ToolCall("", "f", "{}")],
        stop=StopReason.TOOLS,
    )
    said = json.loads(TRANSLATORS[Dialect.GEMINI].reply_out(reply, "m"))["candidates"][0]["content"]
    cleaned = json.loads(without_foreign(Dialect.GEMINI, dumped({"contents": [said]})))
    (signed,) = [part for part in cleaned["contents"][0]["parts"] if "functionCall" in part]
    assert signed["functionCall"]["name"] == call["functionCall"]["name"]
    assert signed["thoughtSignature"] == FOREIGN


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
def test_no_history_raises(dialect: Dialect, data: st.DataObject) -> None:
    value = st.recursive(
        st.none()
        | st.sampled_from(["upshift.openai.x", "dXBzaGlmdDpbxx", "anthropic-claude-v1", "thinking", "reasoning"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["type", "signature", "content", "parts", "reasoning_details", "format", "thoughtSignature"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
    body = json.loads(requests(dialect)[0].body)
    body[FIELDS.get(dialect, "messages")] = data.draw(value)
    json.loads(without_foreign(dialect, dumped(body)))
