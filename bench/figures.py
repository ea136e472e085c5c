"""Which figures follow from the rounds of a run, and do they keep the promise?"""

import math
import statistics
from collections.abc import Mapping, Sequence

import msgspec

from bench.load import Load

LEAST_OF_NGINX = 0.20
LEAST_OF_LITELLM = 150.0
MOST_ADDED_P50_MS = 1.0
MOST_ADDED_P99_MS = 5.0


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Work per second of CPU time over several rounds: median, least and most.

    `per_second` is what came out by the clock, `cores_busy` the share of one core that it took. `errors` are not
    counted as work; with any of them the figure is not to be trusted.
    """

    median: float
    least: float
    most: float
    per_second: float
    cores_busy: float
    p50_ms: float
    p99_ms: float
    errors: int
    error_samples: list[str]


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds at a low, steady rate: through the gateway, from the upstream asked directly, and in between."""

    p50_ms: float
    p99_ms: float
    direct_p50_ms: float
    direct_p99_ms: float
    p50_added_ms: float
    p99_added_ms: float
    requests: int
    errors: int
    error_samples: list[str]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway in the summary; None is what was not measured."""

    name: str
    requests_per_core_second: float | None
    ratio_to_nginx: float | None
    p50_ms: float | None
    p99_ms: float | None
    rss_mib: float
    ratio_to_litellm: float | None
    least: float | None
    most: float | None
    requests_per_second: float | None
    cores_busy: float | None
    p50_added_ms: float | None
    p99_added_ms: float | None
    errors: int
    error_samples: list[str]


class StreamRow(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway in the table of streams."""

    name: str
    chunks_per_core_second: float
    ratio_to_nginx: float | None
    least: float
    most: float
    chunks_per_second: float
    cores_busy: float
    errors: int
    error_samples: list[str]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A target of performance and whether it was met; None where this run cannot tell."""

    what: str
    wanted: float
    measured: float | None
    met: bool | None


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest-rank quantile: a value that really occurred. NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def tidy(value: float) -> float:
    """Four significant digits: more would only look exact."""
    return 0.0 if value == 0 or not math.isfinite(value) else float(f"{value:.4g}")


def ratio(value: float | None, base: float | None) -> float | None:
    """`value` / `base`, None where either is missing or the base is 0."""
    return tidy(value / base) if value is not None and base else None


def _samples(loads: Sequence[Load]) -> list[str]:
    return [text for load in loads for text in load.error_samples][:3]


def rate(loads: Sequence[Load], *, chunks: bool = False) -> Rate:
    """The figure over the rounds of one gateway; 0 for a round that did no work or took no CPU time."""
    done = [load.chunks if chunks else load.answers for load in loads]
    per_core = [work / load.cpu_seconds if load.cpu_seconds else 0.0 for work, load in zip(done, loads, strict=True)]
    by_clock = [work / load.seconds if load.seconds else 0.0 for work, load in zip(done, loads, strict=True)]
    busy = [load.cpu_seconds / load.seconds if load.seconds else 0.0 for load in loads]
    latencies = [value for load in loads for value in load.latencies]
    return Rate(
        median=tidy(statistics.median(per_core)),
        least=tidy(min(per_core)),
        most=tidy(max(per_core)),
        per_second=tidy(statistics.median(by_clock)),
        cores_busy=tidy(statistics.median(busy)),
        p50_ms=tidy(quantile(latencies, 0.5) * 1000),
        p99_ms=tidy(quantile(latencies, 0.99) * 1000),
        errors=sum(load.errors for load in loads),
        error_samples=_samples(loads),
    )


def latency(gateway: Sequence[Load], direct: Sequence[Load]) -> Latency:
    """Quantiles over all rounds together, since a 99th percentile wants many samples, and their differences."""
    through = [value * 1000 for load in gateway for value in load.latencies]
    beside = [value * 1000 for load in direct for value in load.latencies]
    p50, p99 = quantile(through, 0.5), quantile(through, 0.99)
    direct_p50, direct_p99 = quantile(beside, 0.5), quantile(beside, 0.99)
    return Latency(
        p50_ms=tidy(p50),
        p99_ms=tidy(p99),
        direct_p50_ms=tidy(direct_p50),
        direct_p99_ms=tidy(direct_p99),
        p50_added_ms=tidy(p50 - direct_p50),
        p99_added_ms=tidy(p99 - direct_p99),
        requests=len(through),
        errors=sum(load.errors for load in (*gateway, *direct)),
        error_samples=_samples([*gateway, *direct]),
    )


def _median(rates: Mapping[str, Rate], name: str) -> float | None:
    found = rates.get(name)
    return found.median if found else None


def summary(rates: Mapping[str, Rate], latencies: Mapping[str, Latency], resident: Mapping[str, float]) -> list[Row]:
    """The rows, fastest first. `p50_ms` and `p99_ms` are those at the low rate, where the gateway is not saturated."""
    rows = []
    for name, mib in resident.items():
        speed, delay = rates.get(name), latencies.get(name)
        median = speed.median if speed else None
        rows.append(
            Row(
                name=name,
                requests_per_core_second=median,
                ratio_to_nginx=ratio(median, _median(rates, "nginx")),
                ratio_to_litellm=ratio(median, _median(rates, "litellm")),
                p50_ms=delay.p50_ms if delay else None,
                p99_ms=delay.p99_ms if delay else None,
                p50_added_ms=delay.p50_added_ms if delay else None,
                p99_added_ms=delay.p99_added_ms if delay else None,
                rss_mib=tidy(mib),
                least=speed.least if speed else None,
                most=speed.most if speed else None,
                requests_per_second=speed.per_second if speed else None,
                cores_busy=speed.cores_busy if speed else None,
                errors=(speed.errors if speed else 0) + (delay.errors if delay else 0),
                error_samples=[
                    *(speed.error_samples if speed else []),
                    *(delay.error_samples if delay else []),
                ],
            )
        )
    return sorted(rows, key=lambda row: -(row.requests_per_core_second or 0))


def stream_rows(rates: Mapping[str, Rate]) -> list[StreamRow]:
    """The rows of the table of streams, fastest first."""
    rows = [
        StreamRow(
            name=name,
            chunks_per_core_second=rate.median,
            ratio_to_nginx=ratio(rate.median, _median(rates, "nginx")),
            least=rate.least,
            most=rate.most,
            chunks_per_second=rate.per_second,
            cores_busy=rate.cores_busy,
            errors=rate.errors,
            error_samples=rate.error_samples,
        )
        for name, rate in rates.items()
    ]
    return sorted(rows, key=lambda row: -row.chunks_per_core_second)


def _promise(what: str, wanted: float, measured: float | None, *, at_least: bool) -> Promise:
    met = None if measured is None else measured >= wanted if at_least else measured <= wanted
    return Promise(what=what, wanted=wanted, measured=measured, met=met)


def promises(rows: Sequence[Row]) -> list[Promise]:
    """What is promised of Upshift, beside what this run measured. A row with errors proves nothing."""
    ours = next((row for row in rows if row.name == "upshift" and not row.errors), None)
    nginx, litellm = (ours.ratio_to_nginx, ours.ratio_to_litellm) if ours else (None, None)
    p50, p99 = (ours.p50_added_ms, ours.p99_added_ms) if ours else (None, None)
    return [
        _promise("× nginx, at least", LEAST_OF_NGINX, nginx, at_least=True),
        _promise("× LiteLLM, at least", LEAST_OF_LITELLM, litellm, at_least=True),
        _promise("added p50 ms, at most", MOST_ADDED_P50_MS, p50, at_least=False),
        _promise("added p99 ms, at most", MOST_ADDED_P99_MS, p99, at_least=False),
    ]
