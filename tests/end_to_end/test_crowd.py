"""Does a ceiling hold to the token when thousands call at once, and is nobody refused who has budget left?"""

import asyncio
import random
import resource
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.end_to_end.callers import Heard, Line
from tests.end_to_end.probe import balance, closed, key
from tests.end_to_end.stack import Stack, running

from upshift.model.metered import Metered, Outcome
from upshift.traffic.gate import LEAST_ANSWER

CALLERS = 2000
WORTH = 500
INPUT, OUTPUT = 60, 40
EACH = INPUT + OUTPUT
LIMIT = WORTH * EACH + INPUT + LEAST_ANSWER - 1
"""One token more, and the gate would offer one more caller a shorter answer than was asked for."""
TEXT = f"[[simulate: input_tokens={INPUT},output_tokens={OUTPUT}]] " + "please " * 40


@pytest.fixture(autouse=True)
def files() -> Iterator[None]:
    """Each call has four sockets in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 6 * CALLERS
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted if hard < 0 else min(wanted, hard)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def crowded(folder: Path) -> AsyncIterator[Stack]:
    async with running(folder, limit=str(LIMIT), extra=[("ask: ", "patience: 5m, ask: ")]) as stack:
        yield stack


async def one(stack: Stack, secret: str, number: int, *, stream: bool, leave_after: int | None = None) -> Heard:
    dialect = ("openai", "anthropic")[number // 2 % 2]
    async with Line(stack.gateway.port) as line:
        return await line.call(secret, TEXT, dialect=dialect, stream=stream, max_tokens=OUTPUT, leave_after=leave_after)


async def audited(stack: Stack) -> list[Metered]:
    """Every call's record, once books are closed and sound and the ceiling is seen to have held."""
    verified = await closed(stack)
    assert verified.calls == CALLERS
    records = await stack.records()
    settled = balance(stack).settled
    assert settled.tokens <= LIMIT
    assert settled.tokens == sum(record.counted_tokens for record in records)
    assert settled.nano == sum(record.counted for record in records)
    refused = [record for record in records if record.outcome is Outcome.REFUSED]
    assert {(record.status, record.reason) for record in refused} == {(402, "over_budget")}
    return records


@pytest.mark.parametrize("streams", ["none", "half", "all"])
async def test_exactly_as_many_are_served_as_the_ceiling_is_worth(tmp_path: Path, streams: str) -> None:
    async with crowded(tmp_path) as stack:
        secret = await key(stack)
        heard = await asyncio.gather(
            *[
                one(stack, secret, number, stream=streams == "all" or (streams == "half" and number % 2 == 0))
                for number in range(CALLERS)
            ]
        )
        assert all(each.ended for each in heard)
        assert Counter(each.status for each in heard) == {200: WORTH, 402: CALLERS - WORTH}
        records = await audited(stack)
        assert Counter(record.outcome for record in records) == {
            Outcome.SERVED: WORTH,
            Outcome.REFUSED: CALLERS - WORTH,
        }
        assert balance(stack).settled.tokens == WORTH * EACH
        bills = stack.provider.simulated.billed
        assert [bill.usage.total for bill in bills] == [EACH] * WORTH
        assert {bill.request_id for bill in bills} == {record.upstream_id for record in records if record.upstream_id}


async def test_nothing_stays_held_when_half_of_a_crowd_hangs_up_in_mid_answer(tmp_path: Path) -> None:
    draw = random.Random(2000)
    async with crowded(tmp_path) as stack:
        secret = await key(stack)
        heard = await asyncio.gather(
            *[
                one(stack, secret, number, stream=True, leave_after=draw.randint(1, 8) if number % 2 else None)
                for number in range(CALLERS)
            ]
        )
        stayed = [each for number, each in enumerate(heard) if number % 2 == 0]
        assert all(each.ended for each in stayed)
        outcomes = Counter(record.outcome for record in await audited(stack))
        assert outcomes[Outcome.SERVED] >= sum(each.status == 200 for each in stayed)
        assert outcomes[Outcome.CLIENT_LEFT] > 0
        assert outcomes[Outcome.CUT] == outcomes[Outcome.UPSTREAM_ERROR] == 0
        # What is left at the end is too little for one more answer, so nobody was refused too early.
        assert LIMIT - balance(stack).settled.tokens < INPUT + LEAST_ANSWER
