"""Do the vendors' own clients accept what we add to a stream, our errors and our lists?"""

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletionChunk
from tests.traffic.wire.vectors import CLAUDE_TEXT, OPENAI_PARALLEL_TOOLS, OPENAI_TEXT, chunk, data, delta

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire.ask import ModelEntry
from upshift.traffic.wire.wires import WIRES

NOTE = {"reason": "budget-reached:answer-ended", "request": "r1"}
USED = Usage(input=50, cached=10, output=7)


def _transport(body: bytes, status: int = 200, kind: str = "text/event-stream") -> httpx2.MockTransport:
    headers = {"content-type": kind, "x-should-retry": "false"}
    return httpx2.MockTransport(lambda _: httpx2.Response(status, headers=headers, content=body))


def _openai(transport: httpx2.MockTransport) -> openai.OpenAI:
    return openai.OpenAI(
        api_key="k", base_url="http://127.0.0.1/v1", http_client=httpx2.Client(transport=transport), max_retries=0
    )


def _anthropic(transport: httpx2.MockTransport) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        api_key="k", base_url="http://127.0.0.1", http_client=httpx2.Client(transport=transport), max_retries=0
    )


def _chat(stream: bytes) -> list[ChatCompletionChunk]:
    with _openai(_transport(stream)) as client:
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
        return list(answer)


def _message(stream: bytes) -> Message:
    with (
        _anthropic(_transport(stream)) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]) as answer,
    ):
        return answer.get_final_message()


def test_openai_takes_a_length_stop_after_any_byte() -> None:
    for stream in (OPENAI_TEXT, OPENAI_PARALLEL_TOOLS):
        for at in range(0, len(stream), 7):
            meter = WIRES[Dialect.OPENAI].stream(keep_usage=True)
            chunks = _chat(meter.feed(stream[:at]) + meter.length_stop(NOTE, USED))
            finished = [each for each in chunks if each.choices and each.choices[0].finish_reason]
            assert len(finished) == 1
            assert chunks[-1].usage is not None
            if not meter.output_events:
                continue
            assert {each.id for each in chunks} == {"chatcmpl-Bx1"}
            if finished[0].choices[0].finish_reason == "length":
                assert finished[0].model_extra is not None
                assert finished[0].model_extra["upshift"] == NOTE


def test_openai_takes_a_failure() -> None:
    meter = WIRES[Dialect.OPENAI].stream(keep_usage=False)
    stream = meter.feed(data(chunk(delta(content="a"))) + b"data: {") + meter.failure("gone", "provider_failed")
    with pytest.raises(openai.APIError, match="gone") as caught:
        _chat(stream)
    assert caught.value.code == "provider_failed"


def test_anthropic_takes_a_length_stop_after_any_byte() -> None:
    for at in range(0, CLAUDE_TEXT.index(b"event: message_stop"), 7):
        meter = WIRES[Dialect.ANTHROPIC].stream(keep_usage=True)
        ended = b'"stop_reason":"tool_use"' in (sent := meter.feed(CLAUDE_TEXT[:at]))
        message = _message(sent + meter.length_stop(NOTE, USED))
        assert message.stop_reason == ("tool_use" if ended else "max_tokens")
        assert message.usage.output_tokens == (89 if ended else 7)


def test_anthropic_takes_a_failure() -> None:
    meter = WIRES[Dialect.ANTHROPIC].stream(keep_usage=True)
    stream = meter.feed(CLAUDE_TEXT[:900]) + meter.failure("gone", "provider_failed")
    with pytest.raises(anthropic.APIStatusError, match="gone"):
        _message(stream)


def test_refusals_arrive_with_their_text() -> None:
    body = WIRES[Dialect.OPENAI].refusal(402, "over_budget", "Budget reached", "r1")
    with _openai(_transport(body, 402, "application/json")) as chat, pytest.raises(openai.APIStatusError) as one:
        chat.chat.completions.create(model="m", messages=[])
    assert (one.value.code, one.value.type) == ("insufficient_quota", "insufficient_quota")
    assert "Budget reached" in one.value.message
    body = WIRES[Dialect.ANTHROPIC].refusal(402, "over_budget", "Budget reached", "r1")
    with (
        _anthropic(_transport(body, 402, "application/json")) as claude,
        pytest.raises(anthropic.APIStatusError, match="Budget reached"),
    ):
        claude.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "Hi"}])


def test_lists_of_models_are_read() -> None:
    entries = [ModelEntry("a", "one"), ModelEntry("b", "two")]
    with _openai(_transport(WIRES[Dialect.OPENAI].models(entries), kind="application/json")) as chat:
        assert [each.id for each in chat.models.list()] == ["a", "b"]
    with _openai(_transport(WIRES[Dialect.OPENAI].model(entries[0]), kind="application/json")) as chat:
        assert chat.models.retrieve("a").owned_by == "one"
    with _anthropic(_transport(WIRES[Dialect.ANTHROPIC].models(entries), kind="application/json")) as claude:
        assert [each.display_name for each in claude.models.list()] == ["a", "b"]
