"""Does a drill ask every second route in its own dialect, and tell an answer from everything else?"""

from typing import Any

import msgspec
import pytest
from tests.engine.local_server import serving
from tests.traffic.builders import model, provider

from upshift.engine.drill import LEAST_TOKENS, PROMPT, failover, shadow
from upshift.simulated.provider import Options
from upshift.simulated.serving import serve_simulated
from upshift.traffic.drills import Second
from upshift.traffic.snapshot import Dialect, Model


def at(url: str, dialect: Dialect, name: str = "m", key_env: str = "") -> Second:
    base = url if dialect in (Dialect.ANTHROPIC, Dialect.GEMINI) else url + "/v1"
    where = msgspec.structs.replace(provider(f"p-{dialect}", dialect), base_url=base, key_env=key_env)
    return Second("big", msgspec.structs.replace(model(name), provider=where, upstream_id=name), ("support",))


CHAT = [Dialect.OPENAI, Dialect.ANTHROPIC, Dialect.RESPONSES, Dialect.GEMINI]


async def test_a_provider_that_serves_passes_in_every_dialect() -> None:
    running = await serve_simulated("127.0.0.1", 0, Options())
    try:
        sent = await failover([at(f"http://127.0.0.1:{running.port}", each) for each in CHAT], {}, 32)
    finally:
        await running.close()
    assert [each.problem for each in sent] == [""] * len(CHAT)
    for each in sent:
        assert each.usage.input > 0
        assert each.cost is not None
        assert each.cost > 0
        assert each.seconds > 0


@pytest.mark.parametrize(
    ("answer", "says", "status"),
    [
        ((500, {"error": "down"}), 'status 500: {"error": "down"}', 500),
        ((404, {}), "status 404", 404),
        (b"<html>", "not an answer: <html>", 200),
        ({}, "not an answer", 200),
    ],
)
async def test_what_is_no_answer_is_a_problem(answer: Any, says: str, status: int) -> None:
    with serving({"/v1/chat/completions": answer}) as server:
        (sent,) = await failover([at(server.url, Dialect.OPENAI)], {}, 32)
    assert sent.problem.startswith(says)
    assert sent.status == status


async def test_a_route_that_cannot_be_asked_is_a_problem() -> None:
    with serving({}) as server:
        gone = at(server.url, Dialect.OPENAI)
        (keyless,) = await failover([at(server.url, Dialect.OPENAI, key_env="NO_SUCH_KEY")], {}, 32)
        assert not server.asked
    assert "NO_SUCH_KEY" in keyless.problem
    (sent,) = await failover([gone], {}, 32)
    assert sent.problem.startswith("connect")
    assert sent.cost == 0


async def test_secrets_go_where_each_dialect_has_them() -> None:
    with serving({}) as server:
        await failover([at(server.url, each, key_env="KEY") for each in Dialect], {"KEY": "s3cret"}, 32)
        sent = {each.path.partition("?")[0]: each.headers for each in server.asked}
    assert sent["/v1/chat/completions"]["authorization"] == "Bearer s3cret"
    assert sent["/v1/embeddings"]["authorization"] == "Bearer s3cret"
    assert sent["/v1/messages"]["x-api-key"] == "s3cret"
    assert sent["/v1beta/models/m:generateContent"]["x-goog-api-key"] == "s3cret"


@pytest.mark.parametrize("dialect", list(Dialect))
def test_shadow_calls_are_small(dialect: Dialect) -> None:
    route: Model = at("http://127.0.0.1:9", dialect).route
    _, body = shadow(route, LEAST_TOKENS)
    assert PROMPT.encode() in body
    assert dialect is Dialect.EMBEDDINGS or str(LEAST_TOKENS).encode() in body
    assert len(body) < 400
