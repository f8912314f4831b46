"""A long batch of settlements lets calls in between, and settles like many short ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from services.kernel.dialect import Dialect
from services.kernel.names import reservation_id
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.identity.attribution import Attribution
from tests.worlds.counter_store_notes import open_file

NOW_MS = 1_800_000_000_000
SPEND = CounterKey("team", "spend/day/UTC", "team=a", NOW_MS)
WHO = Attribution("key_1", "ci", "a", "p", "prod", "ada@example.com")
BATCH = 1_000
# A decision of its own holds the lock for a fraction of a millisecond, and a slice for about one.
LET_IN = 10


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[SqliteCounters]:
    with open_file(tmp_path) as file:
        yield SqliteCounters(file)


def reservation(number: int, held: int = 7) -> Reservation:
    return Reservation(
        id=reservation_id(NOW_MS, number.to_bytes(8, "big")),
        request_id=f"request-{number}",
        epoch="local-1",
        created_at_ms=NOW_MS,
        attribution=WHO,
        model="tiny",
        chain=("lab/tiny",),
        dialect=Dialect.OPENAI,
        expected_input_tokens=1,
        expected_output_tokens=1,
        holds=(Hold(SPEND, NOW_MS + 86_400_000, held),),
    )


def reserve(counters: SqliteCounters, made: Reservation) -> None:
    def choose(_: Sequence[Level]) -> tuple[Reservation, None]:
        return made, None

    counters.reserve([SPEND], choose)


def settlement(made: Reservation, cost: int = 5) -> Settlement:
    return Settlement(made.id, cost, 1, 1, NOW_MS, reported=True)


def test_calls_are_decided_while_a_thousand_are_settled(counters: SqliteCounters) -> None:
    calls = [reservation(number) for number in range(BATCH)]
    for call in calls:
        reserve(counters, call)
    began, done = threading.Event(), threading.Event()

    def settle() -> None:
        began.set()
        counters.settle([settlement(call) for call in calls], lambda _: None, NOW_MS)
        done.set()

    settling = threading.Thread(target=settle)
    settling.start()
    began.wait()
    let_in = 0
    while not done.is_set():
        reserve(counters, reservation(BATCH + let_in))
        let_in += 1
    settling.join()

    assert let_in > LET_IN
    assert counters.levels([SPEND]) == [Level(5 * BATCH, 7 * let_in)]


def test_a_call_that_occurs_twice_settles_once_wherever_in_the_batch_it_is(counters: SqliteCounters) -> None:
    calls = [reservation(number) for number in range(100)]
    for call in calls:
        reserve(counters, call)
    first, *_ = calls

    done = counters.settle([settlement(each) for each in (first, first, *calls, first)], lambda _: None, NOW_MS)

    assert [each.id for each in done.settled] == [each.id for each in calls]
    assert done.already_ended == (first.id,) * 3
    assert counters.levels([SPEND]) == [Level(500, 0)]


def test_calls_of_this_process_and_of_an_earlier_one_settle_in_one_batch(tmp_path: Path) -> None:
    earlier, own = [reservation(number) for number in range(50)], [reservation(number) for number in range(50, 100)]
    with open_file(tmp_path) as file:
        before = SqliteCounters(file)
        for call in earlier:
            reserve(before, call)
    with open_file(tmp_path) as file:
        counters = SqliteCounters(file)
        for call in own:
            reserve(counters, call)

        done = counters.settle([settlement(each) for each in (*own, *earlier)], lambda _: None, NOW_MS)

        assert done.settled == (*own, *earlier)
        assert counters.levels([SPEND]) == [Level(500, 0)]
        assert counters.open_count() == 0


def test_a_call_that_the_file_no_longer_has_is_not_settled_from_memory(tmp_path: Path) -> None:
    with open_file(tmp_path) as file:
        counters, other = SqliteCounters(file), SqliteCounters(file)
        call = reservation(1)
        reserve(counters, call)
        other.release([call.id])

        done = counters.settle([settlement(call)], lambda _: None, NOW_MS)

        assert (done.settled, done.already_ended) == ((), (call.id,))
