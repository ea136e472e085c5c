"""How do OpenAI's dialects list models?"""

from collections.abc import Sequence

import msgspec

from upshift.traffic.wire.ask import ModelEntry


def models(entries: Sequence[ModelEntry]) -> bytes:
    """The body of a list of models."""
    return msgspec.json.encode({"object": "list", "data": [_listed(entry) for entry in entries]})


def model(entry: ModelEntry) -> bytes:
    """The body that shows one model."""
    return msgspec.json.encode(_listed(entry))


def _listed(entry: ModelEntry) -> dict[str, object]:
    return {"id": entry.name, "object": "model", "created": entry.created, "owned_by": entry.owner}
