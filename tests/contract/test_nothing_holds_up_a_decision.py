"""However many rows a piece of work touches, a decision waits for few of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from services.kernel.dialect import Dialect
from services.kernel.names import reservation_id
from services.kernel.settlement import AdjustmentReason, Most
from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_session import LocalRecords
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_expectations import SqliteExpectations
from services.quota.adapters.sqlite_key_rates import SqliteKeyRates
from services.quota.domain.admission.learning import UsageSample
from services.quota.domain.admission.request_facts import Tokens
from services.quota.domain.counters.adjustment import Adjustment
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.crossing import ThresholdRule
from services.quota.domain.counters.doubt import all_of_it
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.policies.policy import Threshold
from services.quota.ports.counters import Sum
from tests.worlds.counter_store_notes import MemorySnapshots, open_doubts, open_file
from tests.worlds.holdings import WatchedLock, rows_of_transactions, steps_of_redis
from tests.worlds.quota import ADA, World, spend
from tests.worlds.redis_process import RedisProcess
from tests.worlds.redis_stores import eventually

Store = SqliteCounters | RedisCounters
Job = Callable[[Store, int], Callable[[], object]]
"""Prepares work on so many rows, and returns the work."""

NOW_MS = 1_800_000_000_000
ENDS_MS = NOW_MS + 86_400_000
FEW, MANY = 200, 1_000
# The most rows of a transaction.
ROWS = 128
# The most lines of Python while a call waits for its decision, at 50 to 100 ns each.
LINES = 12_000
# The most commands of one script, and elements of one answer, at about 1 us each.
STEPS = 700
RULE = ThresholdRule(1_000, (Threshold(5_000, ("lead",)), Threshold(9_000, ("lead",))), "spend per day")


def counter(number: int) -> CounterKey:
    return CounterKey("users", "spend/day/UTC", f"user={number}", NOW_MS)


def shared(limit_id: str) -> CounterKey:
    return CounterKey("all", limit_id, "organization", NOW_MS)


def call(number: int) -> Reservation:
    counters = (shared("spend/day/UTC"), shared("tokens/day/UTC"), counter(number))
    return Reservation(
        id=reservation_id(NOW_MS, number.to_bytes(8, "big")),
        request_id=f"request-{number}",
        epoch="local-1",
        created_at_ms=NOW_MS,
        attribution=ADA,
        model="dear",
        chain=("lab/dear",),
        dialect=Dialect.OPENAI,
        expected_input_tokens=1,
        expected_output_tokens=1,
        holds=tuple(Hold(each, ENDS_MS, 7) for each in counters),
        most=Most(7, 7, 7),
    )


def admitted(store: Store, count: int) -> list[Reservation]:
    calls = [call(number) for number in range(count)]
    for each in calls:
        # A Redis on a busy machine may not answer within the tenth of a second that a Check waits.
        eventually(partial(reserved, store, each))
    return calls


def reserved(store: Store, made: Reservation) -> bool:
    return store.reserve([], lambda _: (made, True))


def settlement(made: Reservation, most: Most | None = None) -> Settlement:
    return Settlement(made.id, 5, 1, 1, NOW_MS, reported=True, most=most)


def settling(store: Store, count: int) -> Callable[[], object]:
    calls = admitted(store, count)
    return lambda: store.settle([settlement(each) for each in calls], lambda _: RULE, NOW_MS)


def settling_what_nobody_measured(store: Store, count: int) -> Callable[[], object]:
    calls = admitted(store, count)
    return lambda: store.settle([settlement(each, Most(-1, -1, -1)) for each in calls], lambda _: RULE, NOW_MS)


def releasing(store: Store, count: int) -> Callable[[], object]:
    calls = admitted(store, count)
    return lambda: store.release(reservation_ids=[each.id for each in calls])


def releasing_by_request(store: Store, count: int) -> Callable[[], object]:
    calls = admitted(store, count)
    return lambda: store.release(request_ids=[each.request_id for each in calls])


def doubted(store: Store, count: int) -> list[str]:
    calls = admitted(store, count)
    store.settle([settlement(each, Most(-1, -1, -1)) for each in calls], lambda _: None, NOW_MS)
    return [each.id for each in calls]


def clearing_doubts(store: Store, count: int) -> Callable[[], object]:
    names = doubted(store, count)
    return lambda: store.clear_doubts(names, all_of_it)


def learning_what_unmeasured_calls_took(store: Store, count: int) -> Callable[[], object]:
    names = doubted(store, count)
    known = [settlement(replace(call(0), id=name)) for name in names]
    return lambda: store.settle(known, lambda _: RULE, NOW_MS)


def forgetting_counters(store: Store, count: int) -> Callable[[], object]:
    store.restore([Sum(counter(number), ENDS_MS, 5) for number in range(count)])
    return lambda: store.forget(ENDS_MS)


def forgetting_doubts(store: Store, count: int) -> Callable[[], object]:
    doubted(store, count)
    return lambda: store.forget(ENDS_MS)


def adjusting(store: Store, count: int) -> Callable[[], object]:
    asked = [Adjustment(counter(number), ENDS_MS, 0, 9, AdjustmentReason.DRIFT) for number in range(count)]
    return lambda: store.adjust(asked, lambda _: RULE, NOW_MS)


def restoring(store: Store, count: int) -> Callable[[], object]:
    calls = admitted(store, count)
    sums = [Sum(counter(number), ENDS_MS, 5) for number in range(count)]
    return lambda: store.restore(sums, [each.id for each in calls])


def listing(store: Store, count: int) -> Callable[[], object]:
    admitted(store, count)
    return lambda: list(store.counters_at(NOW_MS))


def changing_policies(store: Store, count: int) -> Callable[[], object]:
    world = World((spend("old", 1),), counters=store)
    world.change_policies((spend("old", 1),))
    admitted(store, count)
    return lambda: world.change_policies((spend("old", 1), spend("added", 1)))


def renaming_a_policy(store: Store, count: int) -> Callable[[], object]:
    world = World((spend("old", 1),), counters=store)
    world.change_policies((spend("old", 1),))
    admitted(store, count)
    return lambda: world.change_policies((spend("new", 1),))


def changing_policies_of_doubted_calls(store: Store, count: int) -> Callable[[], object]:
    world = World((spend("old", 1),), counters=store)
    doubted(store, count)
    return lambda: world.change_policies((spend("old", 1), spend("added", 1)))


JOBS: dict[str, Job] = {
    each.__name__: each
    for each in (
        settling,
        settling_what_nobody_measured,
        releasing,
        releasing_by_request,
        clearing_doubts,
        learning_what_unmeasured_calls_took,
        forgetting_counters,
        forgetting_doubts,
        adjusting,
        restoring,
        listing,
        changing_policies,
        renaming_a_policy,
        changing_policies_of_doubted_calls,
    )
}


def done_in_sqlite(job: Job, count: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[WatchedLock, int]:
    lock = WatchedLock()
    folder.mkdir()
    with open_file(folder) as file:
        work = job(SqliteCounters(file, lock), count)
        lock.is_watched = True
        with rows_of_transactions(monkeypatch) as rows:
            work()
    return lock, max(rows, default=0)


@pytest.mark.parametrize("name", JOBS)
def test_sqlite_is_held_for_a_few_rows_at_a_time(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, _ = done_in_sqlite(JOBS[name], FEW, tmp_path / "few", monkeypatch)
    many, rows = done_in_sqlite(JOBS[name], MANY, tmp_path / "many", monkeypatch)

    assert rows <= ROWS
    assert many.most_lines <= LINES
    assert many.most_lines <= 1.2 * few.most_lines + 100


def test_calls_of_an_earlier_process_settle_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_file(tmp_path) as file:
        calls = admitted(SqliteCounters(file), MANY)
    lock = WatchedLock()
    lock.is_watched = True
    with open_file(tmp_path) as file, rows_of_transactions(monkeypatch) as rows:
        done = SqliteCounters(file, lock).settle([settlement(each) for each in calls], lambda _: RULE, NOW_MS)

    assert len(done.settled) == MANY
    assert max(rows) <= ROWS
    assert lock.most_lines <= LINES


def test_what_calls_usually_take_is_written_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_file(tmp_path) as file:
        expectations, rates = SqliteExpectations(file), SqliteKeyRates(file)
        minutes = [[(f"key_{number}", 5, NOW_MS + at * 60_000) for number in range(MANY)] for at in range(3)]
        with rows_of_transactions(monkeypatch) as rows:
            expectations.learn([UsageSample(f"key_{number}", "dear", Tokens(1, 1)) for number in range(MANY)])
            for spent in minutes:
                rates.add(spent)

    assert sum(rows) > MANY
    assert max(rows) <= ROWS


@contextlib.contextmanager
def redis_store(redis: RedisProcess, folder: Path) -> Iterator[RedisCounters]:
    folder.mkdir()
    redis.client.flushall()
    with open_doubts(folder) as doubts:
        local = LocalRecords(MemorySnapshots(), HeldJournal(folder), doubts, fresh=True)
        with contextlib.closing(RedisCounters(redis.url, "a", local)) as store:
            yield store


@pytest.mark.parametrize("name", JOBS)
def test_redis_is_held_for_a_few_rows_at_a_time(
    name: str, own_redis: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_store(own_redis, tmp_path / "a") as store:
        work = JOBS[name](store, MANY)
        with steps_of_redis(monkeypatch, own_redis.client) as steps:
            work()

    assert max(steps) <= STEPS
