"""Duties of a shared store alone: races, losses, and a Redis that hangs."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from services.chassis.settings import SettingsError
from services.kernel.errors import InvalidInput, Unavailable
from services.kernel.settlement import CrossingKind
from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_session import LocalRecords
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.reservation import Reservation
from services.quota.ports.counters import Sum
from tests.worlds.counter_store_load import ENDS_MS, HELD, NOW_MS, SPEND, bounded, of_round, settlement_of
from tests.worlds.counter_store_notes import MemorySnapshots, open_doubts
from tests.worlds.redis_process import PASSWORD, RedisProcess
from tests.worlds.redis_stores import BOUND, always, eventually, find_rule, nothing

ROOT = Path(__file__).parents[2]


def test_processes_that_share_one_redis_never_overspend_and_lose_nothing(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    tag, processes, rounds, bound = uuid.uuid4().hex, 3, 60, 5 * HELD
    command = (sys.executable, "-m", "tests.worlds.counter_store_load", redis_process.url, tag)
    running = [
        subprocess.Popen(
            [*command, str(number * 10_000_000), str(rounds), str(bound)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for number in range(processes)
    ]
    went = sum(int(process.communicate(timeout=60)[0]) for process in running)

    store = opened(redis_process, tag)
    levels = store.levels([of_round(number) for number in range(rounds)])
    assert set(levels) == {Level(bound, 0)}
    assert went * HELD == rounds * bound
    assert store.open_count() == 0


def test_of_two_that_saw_the_same_room_one_is_asked_again(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    tag = uuid.uuid4().hex
    store, other = opened(redis_process, tag), opened(redis_process, tag)
    seen: list[Level] = []

    def choose(levels: Sequence[Level]) -> tuple[Reservation | None, str]:
        seen.append(levels[0])
        if len(seen) == 1:
            other.reserve([SPEND], always(bounded(1, BOUND, 60)))
        return (bounded(2, BOUND, 50), "let") if sum(levels[0]) + 50 <= BOUND else (None, "refused")

    assert store.reserve([SPEND], choose) == "refused"
    assert seen == [Level(0, 0), Level(0, 60)]
    assert store.levels([SPEND]) == [Level(0, 60)]


def test_a_counter_whose_room_others_always_take_counts_as_full_in_the_end(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = uuid.uuid4().hex
    store, other = opened(redis_process, tag), opened(redis_process, tag)
    faster = bounded(1, None, BOUND)
    read = store.levels

    def levels(counters: Sequence[CounterKey]) -> list[Level]:
        other.release(reservation_ids=[faster.id])
        return read(counters)

    def choose(levels: Sequence[Level]) -> tuple[Reservation | None, Level]:
        other.reserve([], always(faster))
        return (bounded(2, BOUND) if sum(levels[0]) + HELD <= BOUND else None), levels[0]

    monkeypatch.setattr(store, "levels", levels)

    assert store.reserve([SPEND], choose) == Level(0, BOUND)


def test_reserving_twice_under_one_id_holds_once(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(redis_process, uuid.uuid4().hex)
    store.reserve([SPEND], always(bounded(1, BOUND, 60)))
    store.reserve([SPEND], always(bounded(1, BOUND, 60)))

    assert store.levels([SPEND]) == [Level(0, 60)]
    assert store.open_count() == 1


def test_a_threshold_is_reported_once_whoever_settles(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    tag = uuid.uuid4().hex
    stores = [opened(redis_process, tag) for _ in range(3)]
    made = [bounded(number, None) for number in range(60)]
    for reservation in made:
        stores[0].reserve([], always(reservation))

    def settle(store: RedisCounters, mine: Sequence[Reservation]) -> None:
        for reservation in mine:
            store.settle([settlement_of(reservation, 3)], find_rule(5_000, 8_000, 10_000), NOW_MS)

    threads = [
        threading.Thread(target=settle, args=(store, made if number == 0 else made[number::3]))
        for number, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    told = stores[1].crossings_after(0, 100)
    assert [each.basis_points for each in told] == [5_000, 8_000, 10_000]
    assert [each.sequence for each in told] == sorted({each.sequence for each in told})
    assert stores[2].levels([SPEND]) == [Level(180, 0)]


def test_an_overrun_is_reported_once_whoever_settles(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    tag = uuid.uuid4().hex
    stores = [opened(redis_process, tag) for _ in range(2)]
    made = [bounded(number, None) for number in range(2)]
    for store, reservation in zip(stores, made, strict=True):
        store.reserve([], always(reservation))
        store.settle([settlement_of(reservation, HELD + 3)], find_rule(), NOW_MS)

    (told,) = stores[1].crossings_after(0, 10)
    assert (told.kind, told.excess, told.settled) == (CrossingKind.OVERRUN, 3, HELD + 3)


@pytest.mark.parametrize("amount", [-1, 2**53 + 1])
def test_amounts_that_a_double_does_not_hold_are_refused_and_nothing_is_written(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters], amount: int
) -> None:
    store = opened(redis_process, uuid.uuid4().hex)
    with pytest.raises(InvalidInput, match="exactly"):
        store.reserve([], always(bounded(1, None, amount)))
    made = bounded(2, None)
    store.reserve([], always(made))
    with pytest.raises(InvalidInput, match="exactly"):
        store.settle([settlement_of(made, 2**53 + 1)], nothing, NOW_MS)

    assert store.levels([SPEND]) == [Level(0, HELD)]


def test_the_largest_budget_is_counted_to_the_last_nano_dollar(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(redis_process, uuid.uuid4().hex)
    bound = 9_000_000_000_000_000
    store.restore([Sum(SPEND, ENDS_MS, bound - 1)])
    refused: list[Sequence[Level]] = []

    def choose(levels: Sequence[Level]) -> tuple[Reservation | None, bool]:
        refused.append(levels)
        return (bounded(2, bound, 1) if len(refused) == 1 else None), False

    store.reserve([SPEND], always(bounded(1, bound, 1)))
    store.reserve([SPEND], choose)

    assert refused == [[Level(bound - 1, 1)], [Level(bound - 1, 1)]]


def test_while_redis_hangs_the_first_calls_wait_a_moment_and_the_others_not_at_all(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(own_redis, "a")
    store.reserve([SPEND], always(bounded(1, BOUND)))
    own_redis.pause()

    def waited_s(number: int) -> float:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="does not answer"):
            store.reserve([SPEND], always(bounded(number, BOUND)))
        return time.monotonic() - began

    first_s = waited_s(2)
    others_s = [waited_s(number) for number in range(3, 200)]
    own_redis.resume()
    back_s = eventually(lambda: store.reserve([SPEND], always(bounded(500, BOUND))) != "")

    assert first_s < 0.15
    assert max(others_s) < 0.05
    assert back_s < 2


def test_what_redis_was_asked_to_hold_before_it_hung_is_released_when_it_is_back(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(own_redis, "a")
    store.reserve([SPEND], always(bounded(1, BOUND)))

    def holds_made() -> int:
        return int(own_redis.client.info("commandstats")["cmdstat_hincrby"]["calls"])

    before = holds_made()

    def choose(_: Sequence[Level]) -> tuple[Reservation, None]:
        # The levels are read. What is sent next lies in the socket until Redis goes on, and is executed then.
        own_redis.pause()
        return bounded(2, BOUND), None

    with pytest.raises(Unavailable):
        store.reserve([SPEND], choose)
    own_redis.resume()

    eventually(lambda: holds_made() > before)
    eventually(lambda: store.open_count() == 1)
    assert store.levels([SPEND]) == [Level(0, HELD)]


def test_a_redis_that_drops_keys_when_it_is_full_is_not_used(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    notes = MemorySnapshots()
    opened(own_redis, "a", notes).close()
    own_redis.client.config_set("maxmemory", "100mb")
    own_redis.client.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(SettingsError, match="noeviction"):
        opened(own_redis, "b")
    store = opened(own_redis, "a", notes)
    with pytest.raises(Unavailable, match="noeviction"):
        store.reserve([SPEND], always(bounded(1, BOUND)))
    own_redis.client.config_set("maxmemory-policy", "noeviction")
    eventually(lambda: store.reserve([SPEND], always(bounded(1, BOUND))) != "")


def test_the_password_is_in_no_message(
    own_redis: RedisProcess, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = own_redis.url.replace(PASSWORD, f"{PASSWORD}-wrong")
    nowhere = own_redis.url.replace(f":{own_redis.port}", ":1")
    said: list[str] = []
    for url in (wrong, nowhere, f"http://:{PASSWORD}@127.0.0.1"):
        with (
            contextlib.closing(HeldJournal(tmp_path)) as journal,
            open_doubts(tmp_path) as doubts,
            pytest.raises(SettingsError) as refused,
        ):
            RedisCounters(url, "a", LocalRecords(MemorySnapshots(), journal, doubts, fresh=True))
        said.append(str(refused.value))

    assert len(set(said)) == 3
    assert PASSWORD not in f"{said} {caplog.text}"


def test_what_was_released_before_a_quota_came_to_hold_it_is_not_held(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    tag = uuid.uuid4().hex
    hung, other = opened(redis_process, tag), opened(redis_process, tag)
    made = bounded(1, None)
    assert other.release(request_ids=[made.request_id]) == 0

    with pytest.raises(Unavailable, match="released before"):
        hung.reserve([SPEND], lambda _: (made, made.id))
    assert other.levels([SPEND]) == [Level(0, 0)]
