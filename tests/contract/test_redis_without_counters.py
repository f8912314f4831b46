"""What calls that were let through while Redis was away hold of its counters once it is back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.errors import Unavailable
from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_session import LocalRecords
from services.quota.adapters.sqlite_allowances import SqliteAllowances
from services.quota.adapters.sqlite_doubts import SqliteDoubts
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.counters.allowance import Allowance, day_at
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.ports.counters import HoldAgain, StoreUnreachable, Sum
from tests.worlds.counter_store_load import ENDS_MS, HELD, NOW_MS, SPEND, TAKEN, bounded, settlement_of
from tests.worlds.counter_store_notes import MemorySnapshots, open_doubts
from tests.worlds.redis_process import RedisProcess

BOUND = 10 * HELD
DAY = day_at(NOW_MS)
ALLOWANCE = Allowance("team", BOUND).counter(DAY)
BACK_WITHIN_S = 5.0

Quota = tuple[RedisCounters, SqliteAllowances]


@pytest.fixture
def own_redis() -> Iterator[RedisProcess]:
    """A Redis that the test may hurt."""
    with RedisProcess() as process:
        yield process


@pytest.fixture
def opened(tmp_path: Path, own_redis: RedisProcess) -> Iterator[Callable[[int], Quota]]:
    """Opens the counters and allowances of quotas that share a Redis and a file."""
    path = tmp_path / "quota.sqlite"
    engine = open_engine(path)
    migrate(engine, "services.quota")
    engine.dispose()
    with contextlib.ExitStack() as stack:

        def open_quota(number: int) -> Quota:
            file = SqliteFile(path)
            stack.callback(file.close)
            allowances = SqliteAllowances(file, number)
            journal = HeldJournal(tmp_path, number)
            doubts = SqliteDoubts(file)
            local = LocalRecords(MemorySnapshots(), journal, doubts, allowances.put_back, fresh=True)
            counters = RedisCounters(own_redis.url, "a", local)
            return stack.enter_context(contextlib.closing(counters)), allowances

        yield open_quota


def nothing(_: CounterKey) -> None:
    return None


def reserve(counters: RedisCounters, number: int) -> Reservation:
    made = bounded(number, BOUND)
    return counters.reserve([SPEND], lambda _: (made, made))


def let_through(allowances: SqliteAllowances, number: int) -> Reservation:
    """A call that takes from the allowance what it holds of its counter."""
    made = bounded(number, BOUND)
    taking = replace(made, holds=(*made.holds, Hold(ALLOWANCE, DAY.end_ms, HELD)))
    return allowances.take([ALLOWANCE], lambda _: (taking, made))


def away(counters: RedisCounters) -> None:
    """Waits until this quota knows that Redis is away."""
    with pytest.raises(StoreUnreachable):
        reserve(counters, 900_000)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BACK_WITHIN_S
    while True:
        with contextlib.suppress(Unavailable):
            if holds():
                return
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


def test_what_was_kept_is_held_when_redis_is_found_again_and_is_settled_as_any_other(
    own_redis: RedisProcess, opened: Callable[[int], Quota]
) -> None:
    counters, allowances = opened(1)
    before = reserve(counters, 1)
    own_redis.pause()
    away(counters)
    kept = [let_through(allowances, number) for number in range(2, 5)]
    own_redis.resume()

    eventually(lambda: counters.levels([SPEND]) == [Level(0, 4 * HELD)])

    done = counters.settle([settlement_of(each) for each in (before, *kept)], nothing, NOW_MS)
    assert [each.id for each in done.settled] == [each.id for each in (before, *kept)]
    assert counters.levels([SPEND]) == [Level(4 * TAKEN, 0)]
    assert counters.open_count() == 0


def test_bounds_do_not_keep_out_what_is_under_way_already(
    own_redis: RedisProcess, opened: Callable[[int], Quota]
) -> None:
    counters, allowances = opened(1)
    for number in range(10):
        reserve(counters, number)
    own_redis.pause()
    away(counters)
    let_through(allowances, 20)
    own_redis.resume()
    eventually(lambda: counters.levels([SPEND]) == [Level(0, BOUND + HELD)])


def test_another_quota_puts_back_what_a_killed_one_kept(
    own_redis: RedisProcess, opened: Callable[[int], Quota]
) -> None:
    counters, _ = opened(1)
    other, allowances = opened(2)
    own_redis.pause()
    away(counters)
    let_through(allowances, 1)
    other.close()
    own_redis.resume()
    eventually(lambda: counters.levels([SPEND]) == [Level(0, HELD)])


def test_a_settlement_that_comes_before_it_was_put_back_counts_at_once_and_once(
    opened: Callable[[int], Quota],
) -> None:
    counters, _ = opened(1)
    _, allowances = opened(2)
    for number in range(30):
        made = let_through(allowances, number)
        (done,) = counters.settle([settlement_of(made)], nothing, NOW_MS).settled
        assert done.id == made.id
    time.sleep(0.6)
    assert counters.levels([SPEND]) == [Level(30 * TAKEN, 0)]
    assert counters.open_count() == 0


def test_redis_that_lost_everything_gets_it_when_it_is_restored(
    own_redis: RedisProcess, opened: Callable[[int], Quota]
) -> None:
    counters, allowances = opened(1)
    settled = reserve(counters, 1)
    counters.settle([settlement_of(settled)], nothing, NOW_MS)
    own_redis.kill()
    away(counters)
    early = let_through(allowances, 2)
    own_redis.start()
    eventually(lambda: not counters.is_ready())
    with pytest.raises(StoreUnreachable, match="rebuilt from the ledger"):
        reserve(counters, 3)
    late = let_through(allowances, 4)

    counters.restore([Sum(SPEND, ENDS_MS, TAKEN)])

    eventually(counters.is_ready)
    assert counters.levels([SPEND]) == [Level(TAKEN, 2 * HELD)]
    counters.settle([settlement_of(each) for each in (early, late)], nothing, NOW_MS)
    assert counters.levels([SPEND]) == [Level(3 * TAKEN, 0)]


def test_what_was_put_back_is_put_back_again_when_redis_loses_it(
    own_redis: RedisProcess, opened: Callable[[int], Quota]
) -> None:
    counters, allowances = opened(1)
    let_through(allowances, 1)
    eventually(lambda: counters.levels([SPEND]) == [Level(0, HELD)])
    own_redis.client.flushall()
    eventually(lambda: not counters.is_ready())
    counters.restore([])
    eventually(counters.is_ready)
    assert counters.levels([SPEND]) == [Level(0, HELD)]


def test_a_call_that_was_cancelled_while_redis_was_away_holds_nothing_in_the_end(
    own_redis: RedisProcess, opened: Callable[[int], Quota]
) -> None:
    counters, allowances = opened(1)
    own_redis.pause()
    away(counters)
    made, other = (let_through(allowances, number) for number in (1, 2))
    with pytest.raises(Unavailable):
        counters.release(reservation_ids=[made.id])
    own_redis.resume()
    eventually(lambda: counters.levels([SPEND]) == [Level(0, HELD)])
    assert counters.settle([settlement_of(other)], nothing, NOW_MS).settled
    assert counters.open_count() == 0


def test_a_request_that_the_ledger_released_is_not_held_later(opened: Callable[[int], Quota]) -> None:
    counters, allowances = opened(1)
    made = bounded(1, BOUND)
    assert counters.release(request_ids=[made.request_id]) == 0
    let_through(allowances, 1)
    time.sleep(0.6)
    assert counters.levels([SPEND]) == [Level(0, 0)]
    assert counters.open_count() == 0


def test_what_calls_hold_that_redis_never_knew_is_restored_with_what_it_lost(
    own_redis: RedisProcess, opened: Callable[[int], Quota]
) -> None:
    counters, allowances = opened(1)
    known = reserve(counters, 1)
    own_redis.client.flushall()
    kept = let_through(allowances, 2)

    assert counters.lost() == [known.id, kept.id]
    counters.restore([])

    assert counters.levels([SPEND]) == [Level(0, 2 * HELD)]


def test_a_settlement_finds_a_call_that_another_thread_has_just_put_back(
    own_redis: RedisProcess, opened: Callable[[int], Quota], tmp_path: Path
) -> None:
    other, _ = opened(1)
    made = bounded(1, BOUND)

    def put_back_by_another(_hold: HoldAgain, names: Collection[str] | None) -> int:
        if names and not other.open_count():
            other.reserve([SPEND], lambda _: (made, made))
        return 0

    with open_doubts(tmp_path) as doubts:
        local = LocalRecords(MemorySnapshots(), HeldJournal(tmp_path, 2), doubts, put_back_by_another, fresh=True)
        with contextlib.closing(RedisCounters(own_redis.url, "a", local)) as counters:
            done = counters.settle([settlement_of(made)], nothing, NOW_MS)

    assert [each.id for each in done.settled] == [made.id]
    assert other.levels([SPEND]) == [Level(TAKEN, 0)]
