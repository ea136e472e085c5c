"""What does OpenAI say was used: `/v1/organization/usage/completions` (as of September 2026) and its CSV export?

Buckets of 1 minute, hour or day, of UTC. `input_tokens` contains `input_cached_tokens` and `input_cache_write_tokens`.
The console's export has the same names as columns, begins each line with its bucket, and leaves the rest empty in a
bucket without use.
"""

from collections.abc import Sequence

from upshift.model.bill import Export, Shape, UsageLine
from upshift.model.span import Instant
from upshift.model.tokens import Usage
from upshift.sources import table
from upshift.sources.fields import Faults, Fields
from upshift.sources.pages import buckets, more

RESULT = "organization.usage.completions.result"

_READ = {
    "object", "input_tokens", "input_cached_tokens", "input_cache_write_tokens", "output_tokens", "num_model_requests",
    "model", "service_tier", "batch", "project_id", "api_key_id",
}  # fmt: skip
_DETAIL = {
    "input_uncached_tokens", "input_text_tokens", "output_text_tokens", "input_cached_text_tokens",
    "input_audio_tokens", "input_cached_audio_tokens", "output_audio_tokens", "input_image_tokens",
    "input_cached_image_tokens", "output_image_tokens", "user_id", "user_email", "project_name", "organization_id",
    "organization_name", "api_key_name", "api_source",
}  # fmt: skip
"""Known, and not needed: parts of what is read, and names beside ids."""
_TIMES = {"start_time", "end_time", "start_time_iso", "end_time_iso"}


def from_pages(name: str, found: Sequence[Fields]) -> Export:
    """Saved pages of the API. Raises BadExportError."""
    faults, lines, covers, names = found[0].faults, list[UsageLine](), list[tuple[Instant, Instant]](), set[str]()
    ended = False
    for page in found:
        ended = not more(page, faults)
        for bucket, results in buckets(page, faults):
            span = bucket.epoch("start_time"), bucket.epoch("end_time")
            covers.append(span)
            for each in results:
                names |= each.values.keys()
                if each.get("object") not in (None, RESULT):
                    each.refuse("object", f"{RESULT!r}: other reports are not read")
                lines.append(_line(each, span))
    faults.check()
    warnings = table.unknown(name, names, _READ | _DETAIL)
    return Export(name, Shape.OPENAI_USAGE, tuple(lines), tuple(covers), not ended, warnings)


def from_csv(name: str, text: str) -> Export:
    """The console's export. Raises BadExportError."""
    faults, lines, covers = Faults(), list[UsageLine](), list[tuple[Instant, Instant]]()
    for each in table.lines(name, text, faults):
        span = each.epoch("start_time"), each.epoch("end_time")
        covers.append(span)
        if any(each.get(field) is not None for field in ("input_tokens", "output_tokens", "num_model_requests")):
            lines.append(_line(each, span))
    faults.check()
    warnings = table.unknown(name, table.columns(text), _READ | _DETAIL | _TIMES)
    return Export(name, Shape.OPENAI_USAGE, tuple(lines), tuple(dict.fromkeys(covers)), False, warnings)


def _line(each: Fields, span: tuple[Instant, Instant]) -> UsageLine:
    read, written = each.need_count("input_tokens"), each.count("input_cache_write_tokens")
    cached = each.count("input_cached_tokens")
    if (cached or 0) + (written or 0) > read:
        each.refuse("input_cached_tokens", f"a part of the {read} input tokens")
    told = (("cached", cached), ("cache_write_5m", written))
    batch = each.get("batch") in (True, "true", "True")
    return UsageLine(
        where=each.where,
        start=span[0],
        end=span[1],
        model=each.text("model"),
        tier="batch" if batch else each.text("service_tier"),
        key=each.text("api_key_id"),
        project=each.text("project_id"),
        usage=Usage(
            input=read, cached=cached or 0, cache_write_5m=written or 0, output=each.need_count("output_tokens")
        ),
        stated=("input", "output", *(field for field, said in told if said is not None)),
        calls=each.count("num_model_requests"),
    )
