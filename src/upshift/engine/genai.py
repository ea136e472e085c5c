"""Which span of the GenAI conventions of OpenTelemetry is a call, by what the ledger keeps of it?

Names as of semantic conventions 1.41 (opentelemetry.io/docs/specs/semconv/gen-ai); what is ours begins with upshift.
The contents of calls are not in the ledger, so they are in no span.
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

import msgspec

from upshift.model.contract import A2A
from upshift.model.metered import Metered, Outcome
from upshift.model.money import NANO_PER_DOLLAR
from upshift.model.tokens import Certainty
from upshift.traffic.snapshot import Dialect, Snapshot

Value = str | int | float | bool

_OPERATIONS: Mapping[str, str] = MappingProxyType(
    {Dialect.EMBEDDINGS.value: "embeddings", Dialect.GEMINI.value: "generate_content", A2A: "invoke_agent"}
)
_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        "api.openai.com": "openai",
        "api.anthropic.com": "anthropic",
        "generativelanguage.googleapis.com": "gcp.gemini",
        "api.mistral.ai": "mistral_ai",
        "api.groq.com": "groq",
        "api.deepseek.com": "deepseek",
        "api.x.ai": "x_ai",
        "api.perplexity.ai": "perplexity",
    }
)
"""The names that the conventions have for who is at these addresses."""
_OF_AZURE, _OF_BEDROCK = ".openai.azure.com", ".amazonaws.com"


class Place(msgspec.Struct, frozen=True):
    """Where a provider is reached, and what the conventions call it."""

    name: str
    host: str
    port: int


class CallSpan(msgspec.Struct, frozen=True):
    """One call. Times are nanoseconds since the epoch; `error` is empty where there was none."""

    trace: bytes
    id: bytes
    name: str
    start: int
    end: int
    error: str
    attributes: Mapping[str, Value]


def places(snapshot: Snapshot | None) -> dict[str, Place]:
    """The providers of the plan in force."""
    found: dict[str, Place] = {}
    for provider in () if snapshot is None else snapshot.providers.values():
        parts = urlsplit(provider.base_url)
        host = parts.hostname or ""
        name = _KNOWN.get(host, provider.id)
        if host.endswith(_OF_AZURE):
            name = "azure.ai.openai"
        elif host.endswith(_OF_BEDROCK):
            name = "aws.bedrock"
        found[provider.id] = Place(name, host, parts.port or (443 if parts.scheme == "https" else 80))
    return found


def span_of(record: Metered, known: Mapping[str, Place]) -> CallSpan:
    """The span of a call: always the same, so that one which is sent twice can be told to be one."""
    digest = hashlib.sha256(record.request.encode()).digest()
    start = record.started * 1000
    operation = operation_of(record)
    return CallSpan(
        trace=digest[:16],
        id=digest[16:24],
        name=f"{operation} {record.requested_model}".rstrip(),
        start=start,
        end=start + record.latency_us * 1000,
        error=error_of(record),
        attributes={key: value for key, value in _attributes(record, operation, known).items() if value is not None},
    )


def operation_of(record: Metered) -> str:
    """gen_ai.operation.name"""
    return _OPERATIONS.get(record.dialect, "chat")


def provider_of(record: Metered, known: Mapping[str, Place]) -> str:
    """gen_ai.provider.name: of whoever the call was sent to; ours where it was sent to nobody."""
    place = known.get(record.provider)
    return place.name if place is not None else record.provider or "upshift"


def error_of(record: Metered) -> str:
    """error.type; empty where the call ended as it should, or its client left."""
    if record.outcome in (Outcome.SERVED, Outcome.CLIENT_LEFT):
        return ""
    if record.outcome is Outcome.LOST:
        return Outcome.LOST.value
    return record.reason or str(record.status)


def _attributes(record: Metered, operation: str, known: Mapping[str, Place]) -> dict[str, Value | None]:
    place, usage, sure = known.get(record.provider), record.usage, record.certainty is not Certainty.UNKNOWN
    sent = bool(record.provider)
    first = record.first_byte_us / 1e6 if record.streamed and record.first_byte_us else None
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider_of(record, known),
        "gen_ai.request.model": record.requested_model or None,
        "gen_ai.request.stream": record.streamed or None,
        "gen_ai.response.model": record.served_model or None,
        "gen_ai.response.time_to_first_chunk": first,
        "gen_ai.conversation.id": record.session or None,
        "gen_ai.agent.name": record.agent or None,
        "gen_ai.usage.input_tokens": usage.input if sent and sure else None,
        "gen_ai.usage.output_tokens": usage.output if sent and sure else None,
        "gen_ai.usage.cache_read.input_tokens": usage.cached or None,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_5m + usage.cache_write_1h or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning or None,
        "server.address": place.host if place is not None else None,
        "server.port": place.port if place is not None else None,
        "error.type": error_of(record) or None,
        "http.response.status_code": record.status or None,
        "upshift.request": record.request,
        "upshift.tenant": record.tenant or None,
        "upshift.workload": record.workload or None,
        "upshift.pod": record.pod or None,
        "upshift.project": record.project or None,
        "upshift.provider": record.provider or None,
        "upshift.upstream.id": record.upstream_id or None,
        "upshift.outcome": record.outcome.value,
        "upshift.bucket": record.bucket.value,
        "upshift.reason": record.reason or None,
        "upshift.certainty": record.certainty.value,
        "upshift.cost.usd": None if record.cost is None else record.cost / NANO_PER_DOLLAR,
        "upshift.counted.usd": record.counted / NANO_PER_DOLLAR,
        "upshift.plan": record.plan,
    }
