"""Does any parser of a dialect fail on bytes that nobody should send, or take longer than their length deserves?

    python -m bench.fuzz [--seconds N] [--parser NAME]... [--seed N] [--json]

Each parser (of requests, answers and streams; as passed on and as translated into every other dialect) is fed recorded
bodies with changed values and damaged bytes for N seconds of CPU time, so that a busy machine fuzzes as much. It may
refuse a request (Refused) and an answer that it is to translate (ValueError); anything else is a finding. Afterwards it
is fed bodies of growing length: eight times the bytes may not take more than 24 times the time.
"""

import argparse
import contextlib
import json
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

from rich.console import Console
from rich.table import Table
from tests.traffic.translate.vectors import replies, requests, streams

from bench import mutate
from upshift.model.refusal import Refused
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.foreign import without_foreign
from upshift.traffic.translate.translate import TRANSLATORS, Stream, Translation, understand
from upshift.traffic.translate.words import Asked
from upshift.traffic.wire.ask import StreamMeter
from upshift.traffic.wire.wires import WIRES

_MOST_SHOWN = 5
_TIMES, _MOST_SLOWER = 8, 24.0
_LEAST_SECONDS = 0.05
"""What takes less than this is not judged: the clock and the machine say more than the parser."""
_STEADY = next(seed for seed in range(100) if random.Random(seed).choice(mutate.SIZES) == 17)
_EMBEDDINGS = (
    [b'{"model":"m","input":"one"}', b'{"model":"m","input":["one",[1,2]],"dimensions":8,"encoding_format":"base64"}'],
    [b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m",'
     b'"usage":{"prompt_tokens":3,"total_tokens":3}}'],
)  # fmt: skip


@dataclass
class Parser:
    """`feed` reads one input; `make` draws one; `long` makes one of so many repeated parts."""

    name: str
    feed: Callable[[random.Random, bytes], None]
    make: Callable[[random.Random], bytes]
    long: Sequence[tuple[str, Callable[[int], bytes]]]


@dataclass
class Found:
    """What came of one parser."""

    parser: str
    cases: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest_ms: float = 0.0
    findings: list[str] = field(default_factory=list)


class _Said(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """The input was refused as documented."""


def _request(dialect: Dialect, target: bytes, draw: random.Random, data: bytes) -> None:
    wire = WIRES[dialect]
    try:
        ask = wire.read(data, target)
    except Refused:
        raise _Said from None
    wire.rewrite(without_foreign(dialect, data), model="other", max_output=7, include_usage=ask.stream)
    if dialect not in TRANSLATORS:
        return
    try:
        understood = understand(dialect, data, target)
    except Refused:
        raise _Said from None
    said = False
    for provider in TRANSLATORS:
        try:
            sent = Translation(dialect, provider, draw.choice(("max_tokens", "max_completion_tokens"))).request(
                understood, "m", draw.choice((None, 100)), created=1
            )
        except Refused:
            said = True
        else:
            json.loads(sent.body)
    if said:
        raise _Said


def _answer(dialect: Dialect, draw: random.Random, data: bytes) -> None:
    WIRES[dialect].answer(data)
    said = False
    for client in TRANSLATORS if dialect in TRANSLATORS else ():
        translation = Translation(client, dialect)
        json.loads(translation.error(draw.choice((400, 429, 500)), data, "r"))
        try:
            body, _ = translation.reply(data, "m", Asked())
        except ValueError:
            said = True
        else:
            json.loads(body)
    if said:
        raise _Said


def _stream(dialect: Dialect, draw: random.Random, data: bytes) -> None:
    """A stream is ended in each of the ways that the gateway has: by itself, by a budget, by a failure."""
    chunks, end = mutate.pieces(draw, data), draw.randrange(3)
    meter = WIRES[dialect].stream(keep_usage=draw.random() < 0.5)
    translated = [Translation(client, dialect).stream("m", Asked(True)) for client in TRANSLATORS]
    for chunk in chunks:
        out = meter.feed(chunk)
        for each in translated:
            each.feed(out)
    if end == 0:
        last = meter.finish()
        for each in translated:
            each.feed(last)
            each.finish()
    speakers: list[StreamMeter | Stream] = [meter, *translated]
    for speaker in speakers:
        if end == 1:
            speaker.length_stop({"reason": "x"}, meter.partial)
        elif end == 2:
            speaker.failure("broken", "provider_failed")


def _parsers() -> Iterable[Parser]:
    for dialect in WIRES:
        if dialect in TRANSLATORS:
            asked, told = requests(dialect), [each.body for each in replies(dialect)]
            bodies, target = [each.body for each in asked], asked[0].target
            flowing = [each.body for each in streams(dialect)]
        else:
            (bodies, told), target, flowing = _EMBEDDINGS, b"", []
        yield Parser(
            f"{dialect}-request", partial(_request, dialect, target), partial(mutate.body, seeds=bodies),
            list(_long_bodies(bodies)),
        )  # fmt: skip
        yield Parser(
            f"{dialect}-answer", partial(_answer, dialect), partial(mutate.body, seeds=told), list(_long_bodies(told))
        )
        if flowing:
            yield Parser(
                f"{dialect}-stream", partial(_stream, dialect), partial(mutate.stream, seeds=flowing),
                list(_long_streams(flowing)),
            )  # fmt: skip


def _long_bodies(seeds: list[bytes]) -> Iterable[tuple[str, Callable[[int], bytes]]]:
    """Every list with its last item repeated, once for each kind of item; and what is long in other ways."""
    seen = set()
    for number, seed in enumerate(seeds):
        for name, each in json.loads(seed).items():
            if isinstance(each, list) and each and (kind := (name, _kind(each[-1]))) not in seen:
                seen.add(kind)
                yield f"body {number}, many {name}", partial(_repeated, seed, name)
    yield "white space", lambda times: seeds[0][:-1] + b" " * (50 * times) + b"}"
    yield "strangers", lambda times: seeds[0][:-1] + b"".join(b',"s%d":1' % each for each in range(times)) + b"}"
    yield "cut off", lambda times: seeds[0][:-1] + b',"x":"' + b"\\u00e9" * (10 * times)
    yield "depth", lambda times: b'{"a":' * times + b"1" + b"}" * times
    yield "open lists", lambda times: b"[" * (20 * times)


def _kind(value: object) -> str:
    """What a value looks like, down to two levels."""
    if not isinstance(value, dict):
        return type(value).__name__
    inner = (
        f"{name}:{sorted(each) if isinstance(each, dict) else type(each).__name__}" for name, each in value.items()
    )
    return f"{value.get('type')} {sorted(inner)}"


def _repeated(seed: bytes, name: str, times: int) -> bytes:
    value = json.loads(seed)
    value[name] = value[name] + value[name][-1:] * times
    return json.dumps(value).encode()


def _long_streams(seeds: list[bytes]) -> Iterable[tuple[str, Callable[[int], bytes]]]:
    """Each kind of event repeated where it stands; and what is long in other ways."""
    seen = set()
    for number, seed in enumerate(seeds):
        events = seed.split(b"\n\n")
        for at, event in enumerate(events):
            try:
                kind = _kind(json.loads(event.partition(b"data: ")[2]))
            except ValueError:
                continue
            if kind in seen:
                continue
            seen.add(kind)
            yield f"stream {number}, many of event {at}", partial(_events, events, at)
    yield "one endless line", lambda times: b"data: " + b"x" * (50 * times)
    yield "empty lines", lambda times: b"\n" * (50 * times)
    yield "comments", lambda times: b": keep-alive\n\n" * times
    yield "many data lines", lambda times: b"data: 1\n" * times + b"\n"


def _events(events: list[bytes], at: int, times: int) -> bytes:
    return b"\n\n".join([*events[: at + 1], *[events[at]] * times, *events[at + 1 :]])


def fuzz(parser: Parser, seconds: float, seed: int) -> Found:
    """Feed a parser for so long; the same seed gives the same inputs."""
    draw, found = random.Random(f"{seed}/{parser.name}"), Found(parser.name)
    until = time.process_time() + seconds
    while time.process_time() < until and len(found.findings) < _MOST_SHOWN:
        data = parser.make(draw)
        found.cases += 1
        began = time.process_time()
        try:
            parser.feed(draw, data)
        except _Said:
            found.refused += 1
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            found.findings.append(f"case {found.cases}: {traceback.format_exc(limit=-4)}\non {data[:2000]!r}")
        found.slowest_ms = max(found.slowest_ms, (time.process_time() - began) * 1000)
    found.seconds = seconds
    found.findings += _too_slow(parser)
    return found


def _too_slow(parser: Parser) -> Iterable[str]:
    for what, long in parser.long:
        times = 50
        short = _seconds(parser, long(times))
        while short < _LEAST_SECONDS / _TIMES and times < 4_000:
            times *= 2
            short = _seconds(parser, long(times))
        took = _seconds(parser, long(times * _TIMES))
        if took > _MOST_SLOWER * short and took > _LEAST_SECONDS:
            # Once more, for a busy machine is no finding.
            short, took = _seconds(parser, long(times)), _seconds(parser, long(times * _TIMES))
            if took > _MOST_SLOWER * short:
                yield f"{what}: {times:,} parts take {short:.4f} s, {times * _TIMES:,} take {took:.4f} s"


def _seconds(parser: Parser, data: bytes) -> float:
    """How much CPU time one input takes, always in the same chunks."""
    began = time.process_time()
    with contextlib.suppress(_Said):
        parser.feed(random.Random(_STEADY), data)
    return time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, show, and return 1 if anything was found."""
    known = {parser.name: parser for parser in _parsers()}
    reader = argparse.ArgumentParser(prog="python -m bench.fuzz", description=(__doc__ or "").partition("\n")[0])
    reader.add_argument("--seconds", type=float, default=10.0, help="of CPU time for each parser (default: 10)")
    reader.add_argument("--parser", action="append", choices=sorted(known), help="only this one; may be repeated")
    reader.add_argument("--seed", type=int, default=1)
    reader.add_argument("--json", action="store_true")
    given = reader.parse_args(arguments)
    found = [fuzz(known[name], given.seconds, given.seed) for name in given.parser or known]
    if given.json:
        print(json.dumps([asdict(each) for each in found], indent=1))
    else:
        _show(found)
    return 1 if any(each.findings for each in found) else 0


def _show(found: Sequence[Found]) -> None:
    table = Table("parser", "cases", "refused", "seconds", "slowest case", "findings")
    for each in found:
        table.add_row(
            each.parser, f"{each.cases:,}", f"{each.refused:,}", f"{each.seconds:g}", f"{each.slowest_ms:.1f} ms",
            str(len(each.findings)),
        )  # fmt: skip
    console = Console()
    console.print(table)
    for each in found:
        for finding in each.findings:
            console.print(f"\n{each.parser}: {finding}", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
