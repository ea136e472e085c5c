"""How long does a forecast of a thousand workloads take, with every figure in doubt?"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

from upshift.model.ids import ModelName, PlanHash, WorkloadId
from upshift.model.quarter import Month
from upshift.model.rates import RateCard, Rates
from upshift.planning.forecast import DRAWS, forecast
from upshift.planning.outline import Audience, Estimate, Outline, Row, Share, Spread, Status, Turns, exactly

_RATES = Rates(input=3 * 10**9, output=15 * 10**9, cached=3 * 10**8, cache_write_5m=4 * 10**9, cache_write_1h=6 * 10**9)


def outline_of(rows: int, *, growth: bool) -> Outline:
    """A plan whose figures are all ranges; growth is one too, or 3 % a month."""
    card = RateCard((_RATES,), "bench")
    estimate = Estimate(
        sessions=_doubt(18),
        turns=Turns(
            turns=_doubt(4), input=_doubt(2100), output=_doubt(300), multiplier=_doubt(1.4), tool_calls=_doubt(1.8)
        ),
        cached=Spread(0.4, 0.6, 0.7),
        growth=Spread(0.01, 0.03, 0.05) if growth else exactly(0.03),
        minutes=_doubt(12),
        busy=_doubt(3),
        burst=_doubt(2),
        ops_hours=_doubt(6),
    )
    return Outline(
        plan=PlanHash("bench"),
        name="bench",
        rows=tuple(
            Row(
                id=WorkloadId(f"w{at}"),
                status=Status.COMMITTED,
                audiences=(Audience(None, _doubt(400 + at)),),
                estimate=estimate,
                mix=(Share(ModelName("m"), 1.0, card),),
                shape="chat",
                stakeholder="a department",
            )
            for at in range(rows)
        ),
    )


def _doubt(middle: float) -> Spread:
    return Spread(middle * 0.6, middle, middle * 1.6)


def measure(rows: int, months: int, draws: int, *, growth: bool) -> dict[str, Any]:
    """Seconds of wall and of CPU, and the most memory of the process so far."""
    outline = outline_of(rows, growth=growth)
    began, worked = time.perf_counter(), time.process_time()
    forecast(outline, start=Month(2027, 1), months=months, draws=draws)
    return {
        "rows": rows,
        "months": months,
        "draws": draws,
        "growth": "in doubt" if growth else "exact",
        "wall_s": round(time.perf_counter() - began, 2),
        "cpu_s": round(time.process_time() - worked, 2),
        "most_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--json", type=Path, help="Write the figures to this file as well.")
    asked = parser.parse_args()
    found = [measure(asked.rows, asked.months, asked.draws, growth=growth) for growth in (False, True)]
    for each in found:
        print(json.dumps(each))
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
