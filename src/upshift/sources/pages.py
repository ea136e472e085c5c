"""How are the saved pages of a vendor's reporting API taken apart into buckets and results?"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NoReturn

from upshift.sources.fields import Faults, Fields


def document(name: str, text: str) -> Any:
    """The JSON of a file, its fractions exact. Raises BadExportError."""
    faults = Faults()
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_not_json)
    except json.JSONDecodeError as error:
        faults.add(f"{name}:{error.lineno}", text[error.pos : error.pos + 20], f"JSON ({error.msg})")
    except (ValueError, RecursionError) as error:
        faults.add(name, str(error), "JSON")
    faults.check()
    raise AssertionError("a fault was added")


def _not_json(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def pages(name: str, found: Any, faults: Faults) -> list[Fields]:
    """The pages of a document, which is one page or a list of them; empty where it is something else."""
    listed = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) and isinstance(each.get("data"), list) for each in listed):
        return []
    places = [f"{name}:[{at}]." for at in range(len(listed))] if isinstance(found, list) else [f"{name}:"]
    return [Fields(page, place, faults) for page, place in zip(listed, places, strict=True)]


def more(page: Fields, faults: Faults) -> bool:
    """Whether the provider says that there is another page after this one."""
    found = page.values.get("has_more", False)
    if not isinstance(found, bool):
        faults.add(f"{page.where}has_more", found, "true or false")
    return found is True


def buckets(page: Fields, faults: Faults) -> Iterator[tuple[Fields, list[Fields]]]:
    """The buckets of a page and the results of each. `where` is 'file:data[0].results[1]'."""
    for at, bucket in enumerate(_objects(page.get("data"), f"{page.where}data", faults)):
        where = f"{page.where}data[{at}]"
        results = _objects(bucket.get("results"), f"{where}.results", faults)
        fields = [Fields(each, f"{where}.results[{number}]", faults) for number, each in enumerate(results)]
        yield Fields(bucket, where, faults), fields


def _objects(found: object, where: str, faults: Faults) -> list[dict[str, object]]:
    if not isinstance(found, list):
        faults.add(where, found, "a list")
        return []
    for at, each in enumerate(found):
        if not isinstance(each, dict):
            faults.add(f"{where}[{at}]", each, "an object")
    return [each for each in found if isinstance(each, dict)]
