"""Do results of tools follow their calls at once in dialects that refuse anything else, and is nothing lost by it?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import steady

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.results_first import results_first
from upshift.traffic.translate.translate import Translation, understand
from upshift.traffic.translate.words import Message, Role, Text, ToolCall, ToolResult

NOTE = Message(Role.SYSTEM, [Text("note")])
ASKED = Message(Role.USER, [Text("Hi")])


def call(*ids: str) -> Message:
    return Message(Role.ASSISTANT, [ToolCall(each, "f", "{}") for each in ids])


def result(*ids: str) -> Message:
    return Message(Role.USER, [ToolResult(each, [Text("r")]) for each in ids])


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ([ASKED, call("a"), result("a"), NOTE], [ASKED, call("a"), result("a"), NOTE]),
        ([ASKED, call("a"), NOTE, result("a"), ASKED], [ASKED, call("a"), result("a"), NOTE, ASKED]),
        (
            [call("a", "b"), NOTE, result("a"), ASKED, result("b")],
            [call("a", "b"), result("a"), result("b"), NOTE, ASKED],
        ),
        ([call("a"), NOTE, call("b"), result("b")], [call("a"), NOTE, call("b"), result("b")]),
        ([call("a"), NOTE, ASKED], [call("a"), NOTE, ASKED]),
        ([result("a"), NOTE], [result("a"), NOTE]),
        ([], []),
    ],
)
def test_what_is_said_in_between_comes_behind(said: list[Message], sent: list[Message]) -> None:
    assert results_first(said) == sent


messages = st.lists(
    st.one_of(
        st.just(NOTE),
        st.just(ASKED),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=2).map(lambda ids: call(*ids)),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=2).map(lambda ids: result(*ids)),
    ),
    max_size=8,
)


@steady
@given(messages)
def test_nothing_is_lost_and_each_kind_keeps_its_order(said: list[Message]) -> None:
    found = results_first(said)
    assert len(found) == len(said)
    for kind in (Role.SYSTEM, Role.USER, Role.ASSISTANT):
        for results in (False, True):
            mine = [
                [m for m in each if m.role is kind and isinstance(m.parts[0], ToolResult) is results]
                for each in (said, found)
            ]
            assert mine[0] == mine[1]
    assert results_first(found) == found


def translated(client: Dialect, provider: Dialect, body: dict[str, Any]) -> tuple[Any, list[str]]:
    sent = Translation(client, provider).request(understand(client, json.dumps(body).encode()), "m", 100)
    return json.loads(sent.body), [loss.field for loss in sent.losses]


CODEX = {
    "model": "m",
    "input": [
        {"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"role": "developer", "content": "note"},
        {"type": "function_call_output", "call_id": "c1", "output": "r"},
    ],
}


def test_a_note_of_codex_does_not_part_a_call_from_its_result() -> None:
    chat, _ = translated(Dialect.RESPONSES, Dialect.OPENAI, CODEX)
    assert [each["role"] for each in chat["messages"]] == ["user", "assistant", "tool", "system"]
    gemini, lost = translated(Dialect.RESPONSES, Dialect.GEMINI, CODEX)
    kinds = [min(part.keys() - {"thoughtSignature"}) for each in gemini["contents"] for part in each["parts"]]
    assert kinds == ["text", "functionCall", "functionResponse", "text"]
    assert lost == ["messages[].role"]


def test_what_claude_code_says_of_its_surroundings_is_no_turn_of_its_own() -> None:
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Do it."}, {"role": "system", "content": "# Environment"}],
    }
    gemini, _ = translated(Dialect.ANTHROPIC, Dialect.GEMINI, body)
    assert gemini["contents"] == [{"role": "user", "parts": [{"text": "Do it."}, {"text": "# Environment"}]}]


@pytest.mark.parametrize("provider", [Dialect.OPENAI, Dialect.RESPONSES, Dialect.GEMINI])
def test_an_answer_that_is_begun_is_not_silently_given_anew(provider: Dialect) -> None:
    begun = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "{"}]
    _, lost = translated(Dialect.ANTHROPIC, provider, {"model": "m", "max_tokens": 99, "messages": begun})
    assert lost == ["messages[-1].content"]
    _, lost = translated(Dialect.ANTHROPIC, provider, {"model": "m", "max_tokens": 99, "messages": begun[:1]})
    assert lost == []
