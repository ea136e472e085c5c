"""Do local servers of every kind tell which models they have, and does it read as an addition to the plan?"""

from datetime import date

import msgspec
import pytest
import yaml
from tests.admin.installation import PLAN
from tests.engine.local_server import serving
from tests.traffic.builders import BIG, SMALL, model, provider, snapshot

from upshift.engine.discover import Found, as_yaml, models, new
from upshift.plan_file import loads
from upshift.traffic.snapshot import Ability, Local, Provider

OLLAMA = {
    "/api/tags": {"models": [{"name": "llama3.3:70b", "model": "llama3.3:70b"}, {"name": "tiny"}, {"name": "old"}]},
    "/api/show": lambda asked: {
        "llama3.3:70b": {
            "model_info": {"general.architecture": "llama", "llama.context_length": 131072},
            "capabilities": ["completion", "tools", "vision"],
        },
        "tiny": {"model_info": {}, "capabilities": ["completion"]},
    }.get(asked["model"], (500, b"no")),
}


def local(kind: Local, url: str, key_env: str = "") -> Provider:
    return msgspec.structs.replace(provider("box"), base_url=url, local=kind, key_env=key_env)


async def test_ollama_says_what_each_model_can() -> None:
    with serving(OLLAMA) as server:
        found = await models(local(Local.OLLAMA, server.url + "/v1"), {})
    assert found == [
        Found("llama3.3:70b", 131072, (Ability.IMAGES, Ability.JSON, Ability.TOOLS)),
        Found("old"),
        Found("tiny", None, (Ability.JSON,)),
    ]


@pytest.mark.parametrize(
    ("kind", "entry", "context"),
    [
        (Local.VLLM, {"id": "qwen", "max_model_len": 40960}, 40960),
        (Local.LLAMACPP, {"id": "qwen", "meta": {"n_ctx_train": 8192}}, 8192),
        (Local.OPENAI, {"id": "qwen"}, None),
        (Local.OPENAI, {"id": "qwen", "max_model_len": True, "meta": 3}, None),
    ],
)
async def test_other_servers_list_their_models(kind: Local, entry: dict[str, object], context: int | None) -> None:
    listed = {"object": "list", "data": [entry, {"id": 3}, "x", {"object": "model"}]}
    with serving({"/v1/models": listed}) as server:
        found = await models(local(kind, server.url + "/v1", "BOX_KEY"), {"BOX_KEY": "s3cret"})
        assert server.asked[0].headers["authorization"] == "Bearer s3cret"
    assert found == [Found("qwen", context)]


@pytest.mark.parametrize(
    ("answer", "says"),
    [((503, {}), "/models answers with status 503"), (b"<html>", "not a list of models"), ([], "not a list of models")],
)
async def test_a_server_that_does_not_tell_says_why(answer: object, says: str) -> None:
    with serving({"/v1/models": answer}) as server:
        with pytest.raises(ValueError, match=says):
            await models(local(Local.VLLM, server.url + "/v1"), {})
        with pytest.raises(ValueError, match="BOX_KEY of provider box is not set"):
            await models(local(Local.VLLM, server.url + "/v1", "BOX_KEY"), {})
    with pytest.raises(ValueError, match="connect"):
        await models(local(Local.VLLM, server.url + "/v1"), {})


def test_only_what_the_plan_does_not_have_is_new() -> None:
    home = provider("home")
    plan = snapshot(
        models=[BIG, msgspec.structs.replace(SMALL, offers=(msgspec.structs.replace(SMALL, provider=home),))]
    )
    assert new(plan, home, [Found(SMALL.upstream_id), Found("fresh")]) == [Found("fresh")]


def test_it_reads_as_an_addition_to_the_plan() -> None:
    base = PLAN.read_text()
    plan = loads(base, today=date(2026, 11, 21)).snapshot
    found = [
        Found("big", 4096),
        Found("Llama 3.3:70B", 131072, (Ability.JSON,)),
        Found("mystery"),
        Found("on", 4096),
        Found("chat", 4096),
    ]
    text = as_yaml(plan, {"local": found})
    assert "mystery: {provider: local, context: 8k" in text
    assert "its context is not known" in text
    whole = yaml.load(base, Loader=yaml.BaseLoader)
    whole["models"] |= yaml.load(text, Loader=yaml.BaseLoader)["models"]
    added = loads(yaml.safe_dump(whole), today=date(2026, 11, 21)).snapshot.models
    assert added["local/big"].upstream_id == "big"
    assert (added["llama-3.3:70b"].upstream_id, added["llama-3.3:70b"].context) == ("Llama 3.3:70B", 131072)
    assert added["llama-3.3:70b"].abilities == {Ability.JSON}
    assert {"on", "local/chat"} <= set(added)
    assert model("x").card is not None
