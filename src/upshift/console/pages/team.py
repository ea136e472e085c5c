"""How large should a team of agents be, and when has a machine of one's own paid for itself?"""

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Depends, Form, Request, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from upshift.console import planning_charts
from upshift.console.door import Seat, allowed, genuine
from upshift.console.frame import InFrame
from upshift.console.roles import May
from upshift.model.money import parse_money
from upshift.model.share import parse_share
from upshift.planning.coordination import Coordination, breaking_at, coordination, elasticity
from upshift.planning.hardware import Displaced, Machine, Payback, payback
from upshift.planning.measurements import BadSheetError, read_measured
from upshift.planning.next_agent import Advice, advise
from upshift.planning.team import Place, breaking, parameters, sizes, study
from upshift.planning.usl import Shape

router = APIRouter(dependencies=[Depends(allowed(May.SEE_PLAN))])

V = TypeVar("V")

_LONGEST = 400_000
_MOST_MEASURED = 20_000
_LARGEST_TEAM = 1_000
_SEED = 1
_TONES = {Advice.ADD: "good", Advice.STOP: "bad", Advice.MEASURE: "warn"}
_LOADS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
_EXAMPLE = """agents,tasks,hours
1,41,8
1,38,8
2,74,8
2,70,8
4,128,8
4,133,8
6,166,8
6,171,8
8,182,8
8,190,8
12,186,8
12,179,8
16,161,8
16,168,8
"""
_NAMES = {"gamma": "one agent", "alpha": "contention", "beta": "coherency"}


@router.get("/capacity/team")
def team(
    request: Request, seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))], frame: InFrame, example: bool = False
) -> Response:
    """A form for what was measured of teams of different sizes."""
    return frame.page(
        request, seat, "team.html", {"shapes": [each.value for each in Shape], "sheet": _EXAMPLE if example else ""}
    )


@router.post("/capacity/team")
async def fit(
    request: Request,
    seat: Annotated[Seat, Depends(genuine)],
    frame: InFrame,
    sheet: Annotated[str, Form(max_length=_LONGEST)] = "",
    file: UploadFile | None = None,
    topology: Annotated[Shape, Form()] = Shape.MESH,
    now: Annotated[str, Form(max_length=10)] = "",
    target: Annotated[str, Form(max_length=10)] = "",
    independence: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """The law that fits, where the team breaks, and whether the next agent pays. Nothing of it is kept."""
    text = sheet
    try:
        if file is not None and file.filename:
            text = (await file.read()).decode("utf-8-sig")
        found = await run_in_threadpool(_studied, text, topology, _whole(now), _whole(target), independence.strip())
    except UnicodeDecodeError:
        problems: tuple[str, ...] = ("the file is not UTF-8 text; save the sheet as CSV in UTF-8",)
    except BadSheetError as error:
        problems = error.problems
    except ValueError as error:
        problems = (str(error),)
    else:
        return frame.page(request, seat, "_team.html", found)
    return frame.page(request, seat, "_team.html", {"problems": problems}, 422)


def _whole(text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdecimal() or not 1 <= int(text) <= _LARGEST_TEAM:
        raise ValueError(f"{text!r} is not a number of agents from 1 to {_LARGEST_TEAM:,}")
    return int(text)


def _studied(text: str, topology: Shape, now: int | None, target: int | None, independence: str) -> dict[str, Any]:
    """Everything that the page shows. Raises ValueError."""
    measured = read_measured(text)
    if len(measured) > _MOST_MEASURED:
        raise ValueError(f"{len(measured):,} measurements are more than a page takes; fit them with: upshift team fit")
    if max(each.agents for each in measured) > _LARGEST_TEAM:
        raise ValueError(f"a page takes teams of at most {_LARGEST_TEAM:,} agents; fit them with: upshift team fit")
    found = study(measured, topology, np.random.default_rng(_SEED))
    today = int(found.agents[0]) if now is None else now
    verdict = advise(found, today, max(found.largest, today + 1) if target is None else target)
    broken = breaking(found)
    costs: Coordination | None = None
    if found.law is not None and found.fits:
        costs = coordination(found.law, today)
    return {
        "problems": (),
        "infinity": math.inf,
        "verdict": verdict,
        "tone": _TONES[verdict.advice],
        "broken": broken,
        "known": broken.peak is not None and broken.place is not Place.UNKNOWN,
        "costs": costs,
        "sizes": sizes(found),
        "varies": found.seen is not None,
        "parameters": [(_NAMES[name], each) for name, each in parameters(found).items()],
        "fits": found.fits,
        "chart": planning_charts.team(found, verdict.known_to),
        "independent": _independent(independence, broken.peak.mid if broken.peak is not None else None),
    }


def _independent(said: str, peak: float | None) -> list[tuple[float, float]] | None:
    """Where the team would break at other shares of independent work; None where the share or the peak is not known."""
    if not said:
        return None
    share = parse_share(said)
    elasticity(share)
    if peak is None or not np.isfinite(peak):
        return None
    steps = (share + each for each in (-0.1, -0.05, 0.0, 0.05, 0.1))
    return [(each, breaking_at(each, (share, peak))) for each in steps if 0 < each < 1]


# hardware ---------------------------------------------------------------------------------------------------------


@router.get("/capacity/hardware")
def hardware(
    request: Request,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
) -> Response:
    """When a machine has paid for itself; the figures are in the URL, so that it can be passed on."""
    given = {name: request.query_params.get(name, "").strip()[:40] for name, _, _ in FIELDS}
    found: dict[str, Any] = {"fields": FIELDS, "given": given, "at": None, "problems": []}
    if any(given.values()):
        try:
            found |= _paid(given)
        except _BadFiguresError as error:
            found["problems"] = error.problems
    status = 422 if found["problems"] else 200
    return frame.page(request, seat, "hardware.html", found, status)


FIELDS = (
    ("price", "Price of the machine", "$2,600"),
    ("displaces", "API spend a month", "$1,200"),
    ("share", "Share it takes over", "30%"),
    ("utilisation", "Busy at full load", "20%"),
    ("watts", "Watts under load", "180"),
    ("idle_watts", "Watts when idle", "30"),
    ("kwh", "Price of a kWh", "$0.30"),
    ("upkeep", "Upkeep a month", "$0"),
    ("tokens_per_second", "Tokens a second", "90"),
    ("api_price", "API price of 1M tokens", "$1.50"),
    ("life", "Months of life", "36"),
)
"""Name, label and an example of each figure."""


class _BadFiguresError(ValueError):
    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Reader:
    """Reads figures and keeps what is wrong with them, to be told all at once."""

    def __init__(self, given: dict[str, str]) -> None:
        self._given = given
        self.problems: list[str] = []

    def money(self, name: str) -> int | None:
        return self._read(name, lambda text: parse_money(text.replace(",", "")))

    def share(self, name: str) -> float | None:
        return self._read(name, parse_share)

    def number(self, name: str) -> float | None:
        return self._read(name, _number)

    def _read(self, name: str, parse: Callable[[str], V]) -> V | None:
        text = self._given[name]
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.problems.append(f"{next(label for key, label, _ in FIELDS if key == name)}: {error}")
            return None


def _number(text: str) -> float:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e12:
        raise ValueError(f"{text!r} is not a number of 0 or more")
    return value


def _paid(given: dict[str, str]) -> dict[str, Any]:
    """Payback at the utilisation that is said, and at others. Raises _BadFiguresError with all that is wrong."""
    read = _Reader(given)
    life = read.number("life")
    machine = Machine(
        price=read.money("price"),
        watts=read.number("watts"),
        idle_watts=read.number("idle_watts") or 0.0,
        kwh=read.money("kwh"),
        upkeep=read.money("upkeep") or 0,
        tokens_per_second=read.number("tokens_per_second") or None,
        life_months=36 if life is None else round(life),
    )
    share = read.share("share")
    displaced = Displaced(
        spend=read.money("displaces"),
        share=1.0 if share is None else share,
        price_per_million=read.money("api_price"),
    )
    load = read.share("utilisation")
    if load is None and not given["utilisation"]:
        read.problems.append("Busy at full load: say which share of all hours it serves; nothing matters more")
    elif load is not None and not 0 < load <= 1:
        read.problems.append("Busy at full load: an idle machine saves nothing, and none is busier than always")
    if not 1 <= machine.life_months <= 240:
        read.problems.append("Months of life: 1 to 240")
    if read.problems or load is None:
        raise _BadFiguresError(read.problems)
    at = payback(machine, displaced, load)
    bounded = machine.tokens_per_second is not None and displaced.price_per_million is not None
    others: list[Payback] = [payback(machine, displaced, each) for each in sorted({*_LOADS, load})] if bounded else []
    drawn = at.net is not None and machine.price is not None
    chart = planning_charts.paid_back(at, machine.price or 0, machine.life_months) if drawn else ""
    return {"at": at, "others": others, "chart": chart, "life": machine.life_months}
