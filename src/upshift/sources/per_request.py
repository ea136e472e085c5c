"""What does a bill by request say: CSV, JSON or lines of JSON with an id, tokens and cost, as many gateways export?

The first of several names for the same thing is read. Input contains cached input and cache writes; where only
`uncached_input_tokens` is given, the three are added up. The simulated provider's `/simulated/bills` is such a bill.
"""

import json
from collections.abc import Iterable
from typing import Any

from upshift.model.bill import Export, RequestLine, Shape
from upshift.model.tokens import Usage
from upshift.sources import table
from upshift.sources.fields import Faults, Fields
from upshift.sources.pages import document

IDS = ("upstream_id", "provider_request_id", "x_request_id", "request_id", "call_id", "id")

_AT = ("at", "time", "timestamp", "created_at", "created", "started_at", "start_time", "date")
_MODEL = ("upstream_model", "model", "model_id", "model_name")
_INPUT = ("input_tokens", "prompt_tokens", "input")
_UNCACHED = ("uncached_input_tokens",)
_CACHED = ("cached_input_tokens", "input_cached_tokens", "cached_tokens", "cached", "cache_read_input_tokens")
_APART = "cache_read_input_tokens"
_SHORT = ("cache_write_5m_tokens", "ephemeral_5m_input_tokens", "cache_write_5m")
_LONG = ("cache_write_1h_tokens", "ephemeral_1h_input_tokens", "cache_write_1h")
_OUTPUT = ("output_tokens", "completion_tokens", "output")
_REASONING = ("reasoning_tokens", "reasoning")
_COST = ("cost_usd", "cost", "amount_usd", "amount", "spend", "total_cost")
_OTHERS = (("currency",), ("service_tier", "tier"), ("api_key_id", "api_key"), ("project_id", "workspace_id"))
_KNOWN = {
    name
    for names in (IDS, _AT, _MODEL, _INPUT, _UNCACHED, _CACHED, _SHORT, _LONG, _OUTPUT, _REASONING, _COST, *_OTHERS)
    for name in names
} | {"usage"}


def is_bill(names: Iterable[str]) -> bool:
    """Whether these are the names of a bill by request: an id, and tokens or money."""
    found = set(names)
    says = {*_INPUT, *_UNCACHED, *_OUTPUT, *_COST, "usage"}
    return bool(found & set(IDS)) and bool(found & says)


def from_csv(name: str, text: str) -> Export:
    """A CSV with a header. Raises BadExportError."""
    faults = Faults()
    return _export(name, list(table.lines(name, text, faults)), faults)


def from_json(name: str, found: list[Any]) -> Export:
    """A list of objects. Raises BadExportError."""
    faults, made = Faults(), list[Fields]()
    for at, each in enumerate(found):
        if isinstance(each, dict):
            made.append(_flat(each, f"{name}:[{at}]", faults))
        else:
            faults.add(f"{name}:[{at}]", each, "an object")
    return _export(name, made, faults)


def from_json_lines(name: str, text: str) -> Export:
    """One JSON object in each line. Raises BadExportError."""
    faults, made = Faults(), list[Fields]()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            each = document(f"{name}:{number}", line)
            if isinstance(each, dict):
                made.append(_flat(each, f"{name}:{number}", faults))
            else:
                faults.add(f"{name}:{number}", json.dumps(each, default=str), "an object")
    return _export(name, made, faults)


def _flat(each: dict[str, object], where: str, faults: Faults) -> Fields:
    """With the fields of `usage` beside the others."""
    usage = each.get("usage")
    return Fields({**usage, **each} if isinstance(usage, dict) else each, where, faults)


def _export(name: str, found: list[Fields], faults: Faults) -> Export:
    lines = tuple(_line(each) for each in found)
    faults.check()
    names = {field for each in found for field in each.values}
    warnings = table.unknown(name, names, _KNOWN)
    return Export(name, Shape.PER_REQUEST, lines, (), False, warnings)


def _line(each: Fields) -> RequestLine:
    ids = tuple(dict.fromkeys(each.text(name) for name in IDS if each.get(name) is not None))
    if not any(ids):
        each.refuse(each.first(IDS), "the id of a request")
    at, cost, currency = each.first(_AT), each.first(_COST), each.get("currency")
    if currency is not None and str(currency).lower() != "usd":
        each.refuse("currency", "usd, the only currency that is read")
    usage, stated = _usage(each)
    nano, step = (None, 0) if each.get(cost) is None else each.dollars(cost)
    if not stated and nano is None:
        each.refuse(each.first(_INPUT), "a number of tokens, and no cost is said either")
    return RequestLine(
        where=each.where,
        ids=ids,
        at=None if each.get(at) is None else each.moment(at),
        model=each.text(each.first(_MODEL)),
        tier=each.text(each.first(("service_tier", "tier"))),
        key=each.text(each.first(("api_key_id", "api_key"))),
        project=each.text(each.first(("project_id", "workspace_id"))),
        usage=usage if stated else None,
        stated=stated,
        nano=nano,
        step=step,
    )


def _usage(each: Fields) -> tuple[Usage, tuple[str, ...]]:
    said = {
        field: each.count(each.first(names))
        for field, names in (
            ("cached", _CACHED), ("cache_write_5m", _SHORT), ("cache_write_1h", _LONG), ("output", _OUTPUT),
            ("reasoning", _REASONING),
        )
    }  # fmt: skip
    parts = sum(said[field] or 0 for field in ("cached", "cache_write_5m", "cache_write_1h"))
    read, plain = each.count(each.first(_INPUT)), each.count(_UNCACHED[0])
    if read is None and plain is not None:
        read = plain + parts
    elif each.count(_APART):
        # Whoever says it in these words leaves it out of the input; whether this export does cannot be seen.
        each.refuse(_APART, "a name that says whether input contains it: cached_input_tokens if it does")
    if read is not None and parts > read:
        each.refuse(each.first(_INPUT), f"an input that contains its {parts} cached tokens; say uncached_input_tokens")
    said["input"] = read
    known = {field: count for field, count in said.items() if count is not None}
    return Usage(**known), tuple(known)
