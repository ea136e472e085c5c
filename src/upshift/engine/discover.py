"""Which models does a local server have, and how would they be written into the plan?"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from upshift.engine.reach import Answered, Reach
from upshift.http.client import Trouble
from upshift.traffic.snapshot import Ability, Local, Provider, Snapshot

SECONDS = 10.0
MOST = 200
"""Models of one server that are looked at."""

_NOT_A_NAME = re.compile(r"[^a-z0-9._/:-]+")
_ABILITIES = {"tools": Ability.TOOLS, "vision": Ability.IMAGES}


class Found(msgspec.Struct, frozen=True):
    """A model that a server has. `context` and `can` are None where it does not say."""

    id: str
    context: int | None = None
    can: tuple[Ability, ...] | None = None


async def models(provider: Provider, environment: Mapping[str, str], seconds: float = SECONDS) -> list[Found]:
    """The models of a local server, by name. Raises ValueError, saying why, when it does not tell."""
    base = provider.base_url
    ollama = provider.local is Local.OLLAMA
    reach = Reach(provider, environment, seconds, base.removesuffix("/v1") if ollama else base)
    try:
        return await (_of_ollama(reach) if ollama else _of_openai(reach))
    finally:
        await reach.close()


def new(snapshot: Snapshot, provider: Provider, found: Sequence[Found]) -> list[Found]:
    """Those that the plan does not have at this provider yet."""
    known = {
        route.upstream_id
        for model in snapshot.models.values()
        for route in model.routes
        if route.provider.id == provider.id
    }
    return [each for each in found if each.id not in known]


def as_yaml(snapshot: Snapshot, found: Mapping[str, Sequence[Found]]) -> str:
    """The models as an addition to the plan, by provider."""
    taken = {*snapshot.models, *snapshot.model_tiers, *snapshot.workloads}
    lines = ["models:"]
    for provider, models_ in found.items():
        for each in models_:
            name = _name(each.id, provider, taken)
            taken.add(name)
            said = [f"provider: {provider}"]
            if name != each.id:
                said.append(f"id: {_quoted(each.id)}")
            said.append(f"context: {each.context or '8k'}")
            if each.can is not None:
                said.append(f"can: [{', '.join(each.can)}]")
            said.append("price: {input: $0, output: $0}")
            unsure = "" if each.context else "  # its context is not known: look it up"
            lines.append(f"  {_quoted(name)}: {{{', '.join(said)}}}{unsure}")
    return "\n".join(lines) + "\n"


async def _of_ollama(reach: Reach) -> list[Found]:
    listed = _json(await reach.get(b"/api/tags"), "/api/tags")
    names = [str(each.get("model") or each.get("name")) for each in _items(listed, "models")]
    found = []
    for name in sorted(set(names))[:MOST]:
        shown = await reach.post(b"/api/show", msgspec.json.encode({"model": name}))
        found.append(_shown(name, shown))
    return found


def _shown(name: str, answered: Answered | Trouble) -> Found:
    """A model with what Ollama says of it; versions before 0.6 do not say what it can."""
    try:
        said = _json(answered, "/api/show")
    except ValueError:
        return Found(name)
    info = said.get("model_info")
    lengths = (
        [value for key, value in info.items() if key.endswith(".context_length")] if isinstance(info, dict) else []
    )
    can = said.get("capabilities")
    abilities = (
        tuple(sorted({Ability.JSON, *(_ABILITIES[each] for each in can if each in _ABILITIES)}))
        if isinstance(can, list)
        else None
    )
    return Found(name, _count(lengths[0]) if lengths else None, abilities)


async def _of_openai(reach: Reach) -> list[Found]:
    listed = _json(await reach.get(b"/models"), "/models")
    found = {}
    for each in _items(listed, "data")[:MOST]:
        name = each.get("id")
        if isinstance(name, str) and name:
            meta = each.get("meta")
            # vLLM says max_model_len; llama.cpp what the model was trained with.
            context = _count(each.get("max_model_len")) or _count(
                meta.get("n_ctx_train") if isinstance(meta, dict) else 0
            )
            found[name] = Found(name, context)
    return [found[name] for name in sorted(found)]


def _json(answered: Answered | Trouble, target: str) -> dict[str, Any]:
    if isinstance(answered, Trouble):
        raise ValueError(f"{answered.kind}: {answered.detail}")
    if answered.status != 200:
        raise ValueError(f"{target} answers with status {answered.status}")
    try:
        found = msgspec.json.decode(answered.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{target} answers with something that is not a list of models")
    return found


def _items(listed: dict[str, Any], field: str) -> list[dict[str, Any]]:
    found = listed.get(field)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _name(id_: str, provider: str, taken: set[str]) -> str:
    name = _NOT_A_NAME.sub("-", id_.lower()).strip("-")[:64] or "model"
    if name not in taken:
        return name
    name, count = f"{provider}/{name}"[:60], 2
    found = name
    while found in taken:
        found, count = f"{name}-{count}", count + 1
    return found


def _quoted(text: str) -> str:
    """A name as YAML takes it for one."""
    return text if re.fullmatch(r"[a-zA-Z][a-zA-Z0-9._/-]*", text) else msgspec.json.encode(text).decode()
