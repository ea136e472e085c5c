"""Are Embeddings read and metered as their clients and vendors do?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.wire.vectors import dumps

from upshift.model.refusal import Refused
from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire.ask import Answer, Ask, ModelEntry
from upshift.traffic.wire.openai_embeddings import OpenAIEmbeddings

WIRE = OpenAIEmbeddings()
BODY: dict[str, Any] = {
    "model": "text-embedding-3-small",
    "input": ["Grüezi", "b"],
    "encoding_format": "base64",
    "dimensions": 256,
    "user": "alice",
}


def test_a_request_has_no_output() -> None:
    body = dumps(BODY)
    assert WIRE.read(body) == Ask(
        dialect=Dialect.EMBEDDINGS,
        model="text-embedding-3-small",
        max_output=0,
        text_bytes=len(body),
        user_hint="alice",
    )


@pytest.mark.parametrize("tokens", [[7] * 1000, [[7] * 400, [7] * 600]], ids=["one", "two"])
def test_tokens_are_held_as_at_least_one_token_each(tokens: list[Any]) -> None:
    assert WIRE.read(dumps(BODY | {"input": tokens})).text_bytes >= 3000


@pytest.mark.parametrize("change", [{"input": ""}, {"input": []}, {"input": {}}, {"input": [1.5]}, {"model": ""}])
def test_what_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        WIRE.read(dumps(BODY | change))


@given(st.binary() | st.text().map(lambda text: dumps(BODY | {"input": text})))
def test_a_body_is_understood_or_refused(body: bytes) -> None:
    try:
        assert WIRE.read(body).max_output == 0
    except Refused:
        assert not WIRE.answer(body).complete


def test_rewriting_touches_the_model_alone() -> None:
    body = dumps(BODY)
    assert WIRE.rewrite(body, max_output=5, limit_field="max_tokens", include_usage=True) is body
    assert WIRE.rewrite(body, model="b", max_output=5) == dumps(BODY | {"model": "b"})


def test_an_answer() -> None:
    data = [{"object": "embedding", "index": 0, "embedding": "AAAA"}]
    body = {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    assert WIRE.answer(dumps(body)) == Answer(usage=Usage(input=7), model="m", complete=True)
    assert WIRE.answer(dumps(body | {"usage": {"prompt_tokens": 7}})).usage == Usage(input=7)
    assert WIRE.answer(dumps(body | {"usage": {"prompt_tokens": 7, "total_tokens": 9}})).usage == Usage(input=9)
    for usage in (None, {"prompt_tokens": -1}, {"prompt_tokens": 10**10}, 5):
        assert WIRE.answer(dumps(body | {"usage": usage})).usage is None
    assert WIRE.answer(b"<html>") == Answer()


def test_a_refusal_and_the_models_are_those_of_openai() -> None:
    assert json.loads(WIRE.refusal(402, "over_budget", "no", "r1"))["error"]["code"] == "insufficient_quota"
    assert json.loads(WIRE.model(ModelEntry("m", "o")))["id"] == "m"
    assert json.loads(WIRE.models([ModelEntry("m", "o")]))["object"] == "list"
    assert WIRE.stream(keep_usage=True).feed(b"data: {}\n\n") == b"data: {}\n\n"
