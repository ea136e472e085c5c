"""Is a counter forgotten only when the disk has it as it is, and a closed request only after many others?"""

from tests.conformance.ledger import ALICE, tokens

from upshift.model.budget import EMPTY, Balance, BudgetKey
from upshift.model.ids import RequestId
from upshift.store.counter import Balances, Seen

RESTING = Balance(settled=tokens(7))


class Disk:
    """What is read, and how often that happened."""

    def __init__(self) -> None:
        self.found: dict[BudgetKey, Balance] = {}
        self.reads = 0

    def read(self, key: BudgetKey) -> Balance:
        self.reads += 1
        return self.found.get(key, EMPTY)


def key(period: int) -> BudgetKey:
    return BudgetKey(ALICE.tenant, ALICE.user, ALICE.workload, ALICE.bucket, ALICE.window, str(period))


def filled(disk: Disk, count: int) -> Balances:
    balances = Balances(disk.read, kept=2)
    balances.update((key(number), RESTING) for number in range(count))
    return balances


def test_one_that_is_not_in_memory_is_read_once() -> None:
    disk = Disk()
    disk.found[ALICE] = RESTING
    balances = Balances(disk.read)
    assert balances[ALICE] == balances[ALICE] == RESTING
    assert disk.reads == 1


def test_a_few_are_never_forgotten() -> None:
    balances = filled(Disk(), 2)
    assert not balances.forget(mark=5, written=5, needed=())
    assert not balances.forget(mark=5, written=5, needed=())
    assert len(balances) == 2


def test_what_rests_is_forgotten_once_it_is_on_disk() -> None:
    balances = filled(Disk(), 5)
    balances[key(0)] = Balance(held=tokens(1))
    assert not balances.forget(mark=9, written=4, needed=())
    assert not balances.forget(mark=11, written=8, needed=())
    assert len(balances) == 5
    # Meanwhile one of them is changed, if only to what it was, and somebody waits for another.
    balances[key(1)] = Balance(settled=tokens(7))
    assert balances.forget(mark=12, written=9, needed={key(2)})
    assert set(balances) == {key(0), key(1), key(2)}


def test_it_goes_on_with_those_that_come_later() -> None:
    balances = filled(Disk(), 5)
    for begin in (5, 10):
        assert not balances.forget(mark=begin, written=begin, needed=())
        assert balances.forget(mark=begin, written=begin, needed=())
        assert not balances
        balances.update((key(begin + number), RESTING) for number in range(5))


def test_open_requests_and_those_closed_last_are_remembered() -> None:
    seen = Seen(kept=3)
    names = [RequestId(f"r{number}") for number in range(20)]
    for number, name in enumerate(names):
        seen.lately.add(name)
        # The first is open all the time, and every other one only for a moment.
        seen.forget({names[0]})
        kept = seen.lately | seen.before
        assert names[0] in kept
        assert kept >= set(names[max(0, number - 2) : number + 1])
    assert len(seen.lately | seen.before) <= 8
