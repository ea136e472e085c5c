"""Does the peak that is sized from the first part of a trace cover the whole of it, and at which cost?

python -m bench.capacity [--trace FILE] [--first 0.5] [--json]
"""

import argparse
import csv
import gzip
import io
import sys
from pathlib import Path

import msgspec
import numpy as np

from upshift.planning.arrivals import Service, peak_of, size
from upshift.planning.draws import Array

ROOT = Path(__file__).parents[1]
TRACES = (
    ROOT / "src/upshift/simulated/traces/azure2023_conv.csv.gz",
    ROOT / "bench/data/mooncake_conversation.csv.gz",
)
MOST_OVER = 1.6
FIRST = (1 / 2, 2 / 3)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One trace, sized from its first part. Ratios are over the true peak of the whole trace."""

    trace: str
    requests: int
    seconds: float
    first: float
    sized: float
    true: float
    ratio: float
    observed_in_first: float
    little: float
    little_short_by: float
    dispersion: float
    covers: bool


def read(path: Path) -> tuple[Array, Array, Array]:
    """Seconds since the first request, input and output tokens of a CSV with t_s, in_tok and out_tok; maybe gzipped."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))
    missing = [each for each in ("t_s", "in_tok", "out_tok") if not rows or each not in rows[0]]
    if missing:
        raise SystemExit(f"{path}: no column {', '.join(missing)}; needed are t_s, in_tok and out_tok")
    starts, read_, wrote = (np.array([float(row[each]) for row in rows]) for each in ("t_s", "in_tok", "out_tok"))
    return starts - starts.min(), read_, wrote


def judge(path: Path, first: float, service: Service) -> Judged:
    """Sizes by the first part of a trace, and compares with all of it."""
    starts, input_tokens, output_tokens = read(path)
    held = service.seconds(input_tokens, output_tokens)
    whole = float(starts.max())
    seen = starts < first * whole
    sized = size(starts[seen], held[seen], seconds=first * whole, horizon=whole)
    true, little = peak_of(starts, held), float(held.sum()) / whole
    return Judged(
        trace=path.name.partition(".")[0],
        requests=len(starts),
        seconds=whole,
        first=first,
        sized=sized.peak,
        true=true,
        ratio=sized.peak / true,
        observed_in_first=sized.observed,
        little=little,
        little_short_by=true / little,
        dispersion=sized.dispersion,
        covers=sized.peak >= true,
    )


def main() -> int:
    """Prints a line for each trace and part; 1 where a peak is not covered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, action="append", help="a CSV with t_s, in_tok, out_tok; may be repeated")
    parser.add_argument("--first", type=float, action="append", help="the part that is seen, 0 to 1")
    parser.add_argument("--start", type=float, default=Service().start, help="seconds before anything is read")
    parser.add_argument("--read", type=float, default=Service().read, help="input tokens per second")
    parser.add_argument("--write", type=float, default=Service().write, help="output tokens per second")
    parser.add_argument("--json", action="store_true")
    said = parser.parse_args()
    service = Service(start=said.start, read=said.read, write=said.write)
    judged = [judge(path, first, service) for path in said.trace or TRACES for first in said.first or FIRST]
    if said.json:
        print(msgspec.json.format(msgspec.json.encode({"service": service, "traces": judged})).decode())
    else:
        print(f"a request takes {service.start:g} s + input / {service.read:g} + output / {service.write:g} tokens/s")
        print("trace                     seen  sized   true  ratio   average by Little, too low by   dispersion")
        for each in judged:
            print(
                f"{each.trace:<24} {each.first:>4.0%} {each.sized:>7.0f} {each.true:>6.0f} {each.ratio:>6.2f} "
                f"{each.little:>19.1f} {each.little_short_by:>12.1f}x {each.dispersion:>11.1f}"
                + ("" if each.covers else "   NOT COVERED")
            )
    return 0 if all(each.covers for each in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
