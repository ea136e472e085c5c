"""What does Anthropic say was used: `/v1/organizations/usage_report/messages` (2023-06-01) and its CSV export?

Buckets of 1 minute, hour or day, of UTC. Uncached input, cache reads and cache writes are apart; their sum is the
input. Calls are not counted. The console's export has one line per day or hour, model, key and so on.
"""

from collections.abc import Mapping, Sequence

from upshift.model.bill import Export, Shape, UsageLine
from upshift.model.span import Instant
from upshift.model.tokens import Usage
from upshift.sources import table
from upshift.sources.fields import Faults, Fields
from upshift.sources.pages import buckets, more

_STATED = ("input", "cached", "cache_write_5m", "cache_write_1h", "output")
_READ = {
    "uncached_input_tokens", "cache_creation", "cache_read_input_tokens", "output_tokens", "model", "service_tier",
    "api_key_id", "workspace_id",
}  # fmt: skip
_DETAIL = {"context_window", "server_tool_use", "inference_geo", "speed", "account_id", "service_account_id"}
_CSV = {
    "usage_date_utc", "model_version", "api_key", "workspace", "usage_type", "context_window",
    "usage_input_tokens_no_cache", "usage_input_tokens_cache_write_5m", "usage_input_tokens_cache_write_1h",
    "usage_input_tokens_cache_read", "usage_output_tokens", "web_search_count", "inference_geo", "speed",
    "api_key_id", "api_key_status", "workspace_id",
}  # fmt: skip

_NAMES = {
    "plain": "uncached_input_tokens",
    "read": "cache_read_input_tokens",
    "output": "output_tokens",
    "model": "model",
    "tier": "service_tier",
    "key": "api_key_id",
    "project": "workspace_id",
}
_CSV_NAMES = {
    "plain": "usage_input_tokens_no_cache",
    "read": "usage_input_tokens_cache_read",
    "output": "usage_output_tokens",
    "model": "model_version",
    "tier": "usage_type",
    "key": "api_key",
    "project": "workspace",
}


def from_pages(name: str, found: Sequence[Fields]) -> Export:
    """Saved pages of the API. Raises BadExportError."""
    faults, lines, covers, names = found[0].faults, list[UsageLine](), list[tuple[Instant, Instant]](), set[str]()
    ended = False
    for page in found:
        ended = not more(page, faults)
        for bucket, results in buckets(page, faults):
            span = bucket.moment("starting_at"), bucket.moment("ending_at")
            covers.append(span)
            for each in results:
                names |= each.values.keys()
                writes = each.inner("cache_creation")
                short = writes.count("ephemeral_5m_input_tokens") or 0
                long = writes.count("ephemeral_1h_input_tokens") or 0
                lines.append(_line(each, span, _NAMES, short, long))
    faults.check()
    warnings = table.unknown(name, names, _READ | _DETAIL)
    return Export(name, Shape.ANTHROPIC_USAGE, tuple(lines), tuple(covers), not ended, warnings)


def from_csv(name: str, text: str) -> Export:
    """The console's export. Raises BadExportError."""
    faults, lines = Faults(), list[UsageLine]()
    for each in table.lines(name, text, faults):
        short = each.count("usage_input_tokens_cache_write_5m") or 0
        long = each.count("usage_input_tokens_cache_write_1h") or 0
        lines.append(_line(each, each.day_or_hour("usage_date_utc"), _CSV_NAMES, short, long))
    faults.check()
    covers = tuple(dict.fromkeys((each.start, each.end) for each in lines))
    return Export(
        name, Shape.ANTHROPIC_USAGE, tuple(lines), covers, False, table.unknown(name, table.columns(text), _CSV)
    )


def _line(each: Fields, span: tuple[Instant, Instant], names: Mapping[str, str], short: int, long: int) -> UsageLine:
    plain, read = each.need_count(names["plain"]), each.count(names["read"]) or 0
    return UsageLine(
        where=each.where,
        start=span[0],
        end=span[1],
        model=each.text(names["model"]),
        tier=each.text(names["tier"]),
        key=each.text(names["key"]),
        project=each.text(names["project"]),
        usage=Usage(
            input=plain + read + short + long,
            cached=read,
            cache_write_5m=short,
            cache_write_1h=long,
            output=each.need_count(names["output"]),
        ),
        stated=_STATED,
    )
