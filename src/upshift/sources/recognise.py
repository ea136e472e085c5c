"""Which export is this file?"""

from upshift.model.bill import Export
from upshift.sources import anthropic_costs, anthropic_usage, openai_costs, openai_usage, per_request, table
from upshift.sources.fields import BadExportError, Fault, Faults, Fields
from upshift.sources.pages import document, pages

KNOWN = "the usage or cost report of OpenAI or Anthropic (JSON pages or CSV), or a bill by request (CSV or JSON)"


def read(name: str, data: bytes) -> Export:
    """A file's lines; `name` is what it is called in places. Raises BadExportError with every fault."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadExportError((Fault(f"{name}: byte {error.start}", repr(data[error.start]), "UTF-8"),)) from None
    if text.lstrip()[:1] in {"{", "["}:
        return _json(name, text)
    names = set(table.columns(text))
    if {"usage_input_tokens_no_cache", "usage_date_utc"} <= names:
        return anthropic_usage.from_csv(name, text)
    if {"cost_usd", "usage_date_utc"} <= names:
        return anthropic_costs.from_csv(name, text)
    if {"amount_value", "start_time"} <= names:
        return openai_costs.from_csv(name, text)
    if {"start_time", "end_time"} <= names and not per_request.is_bill(names):
        return openai_usage.from_csv(name, text)
    if per_request.is_bill(names):
        return per_request.from_csv(name, text)
    raise _unknown(name, f"a file with the columns {table.named(sorted(names - {''}))}" if names else "this file")


def _json(name: str, text: str) -> Export:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and all(line.lstrip().startswith("{") and line.rstrip().endswith("}") for line in lines):
        return per_request.from_json_lines(name, text)
    faults, found = Faults(), document(name, text)
    paged = pages(name, found, faults)
    if paged:
        return _paged(name, paged)
    listed = found if isinstance(found, list) else [found]
    first = listed[0] if listed else {}
    if not listed or (isinstance(first, dict) and per_request.is_bill(first)):
        return per_request.from_json(name, listed)
    raise _unknown(name, "this JSON")


def _paged(name: str, paged: list[Fields]) -> Export:
    """OpenAI's buckets have `start_time`, Anthropic's `starting_at`; costs have an `amount`."""
    found = [bucket for page in paged for bucket in _listed(page.get("data"))]
    results = [result for bucket in found for result in _listed(bucket.get("results"))]
    costs = any("amount" in each for each in results)
    if any("start_time" in bucket for bucket in found) or any("object" in page.values for page in paged):
        return openai_costs.from_pages(name, paged) if costs else openai_usage.from_pages(name, paged)
    return anthropic_costs.from_pages(name, paged) if costs else anthropic_usage.from_pages(name, paged)


def _listed(found: object) -> list[dict[str, object]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _unknown(name: str, what: str) -> BadExportError:
    return BadExportError((Fault(name, what, KNOWN),))
