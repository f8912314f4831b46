"""What only a store that others share must do: races, losses, and a Redis that hangs."""

from __future__ import annotations

import contextlib
import itertools
import logging
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.chassis.settings import SettingsError
from services.kernel.errors import InvalidInput, Unavailable
from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.domain.policy import Threshold
from services.quota.domain.reservation import CounterKey, CrossingKind, Hold, Level, Reservation, Watch
from services.quota.ports import Choose, Sum
from tests.contract.counter_store_load import ENDS_MS, HELD, NOW_MS, SPEND, bounded, of_round, settlement_of
from tests.contract.counter_store_notes import MemorySnapshots
from tests.redis_process import PASSWORD, RedisProcess

ROOT = Path(__file__).parents[2]
REQUESTS = CounterKey("team", "requests/day/UTC", "team=a", NOW_MS)
BOUND = 100


@pytest.fixture
def own_redis() -> Iterator[RedisProcess]:
    """A Redis that the test may hurt."""
    with RedisProcess() as process:
        yield process


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., RedisCounters]]:
    """Opens stores that are closed after the test. Those with one tag share their counters."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as stack:

        def folder_of(tag: str) -> Path:
            folder = tmp_path / tag
            folder.mkdir(exist_ok=True)
            return folder

        def open_store(
            redis: RedisProcess, tag: str, notes: MemorySnapshots | None = None, *, fresh: bool = True
        ) -> RedisCounters:
            journal = HeldJournal(folder_of(tag), next(numbers))
            store = RedisCounters(redis.url, tag, notes or MemorySnapshots(), journal, fresh=fresh)
            return stack.enter_context(contextlib.closing(store))

        yield open_store


def always(made: Reservation) -> Choose[str]:
    return lambda _: (made, made.id)


def nothing(_: CounterKey) -> None:
    return None


def watching(*basis_points: int) -> Callable[[CounterKey], Watch]:
    return lambda _: Watch(BOUND, tuple(Threshold(each, ("lead",)) for each in basis_points), "spend per day")


def eventually(holds: Callable[[], bool], within_s: float = 5.0) -> float:
    """Waits until something holds; returns how long that took."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(Unavailable):
            if holds():
                return time.monotonic() - began
        assert time.monotonic() - began < within_s, "it never came to hold"
        time.sleep(0.01)


def test_processes_that_share_one_redis_never_overspend_and_lose_nothing(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    tag, processes, rounds, bound = uuid.uuid4().hex, 3, 60, 5 * HELD
    command = (sys.executable, "-m", "tests.contract.counter_store_load", redis_process.url, tag)
    running = [
        subprocess.Popen(
            [*command, str(number * 10_000_000), str(rounds), str(bound)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for number in range(processes)
    ]
    went = sum(int(process.communicate(timeout=60)[0]) for process in running)

    store = opened(redis_process, tag)
    levels = store.levels([of_round(number) for number in range(rounds)])
    assert set(levels) == {(bound, 0)}
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
    assert seen == [(0, 0), (0, 60)]
    assert store.levels([SPEND]) == [(0, 60)]


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

    assert store.reserve([SPEND], choose) == (0, BOUND)


def test_reserving_twice_under_one_id_holds_once(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(redis_process, uuid.uuid4().hex)
    store.reserve([SPEND], always(bounded(1, BOUND, 60)))
    store.reserve([SPEND], always(bounded(1, BOUND, 60)))

    assert store.levels([SPEND]) == [(0, 60)]
    assert store.open_count() == 1


def test_a_threshold_is_told_once_whoever_settles(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    tag = uuid.uuid4().hex
    stores = [opened(redis_process, tag) for _ in range(3)]
    made = [bounded(number, None) for number in range(60)]
    for reservation in made:
        stores[0].reserve([], always(reservation))

    def settle(store: RedisCounters, mine: Sequence[Reservation]) -> None:
        for reservation in mine:
            store.settle([settlement_of(reservation, 3)], watching(5_000, 8_000, 10_000), NOW_MS)

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
    assert stores[2].levels([SPEND]) == [(180, 0)]


def test_an_overrun_is_told_once_whoever_settles(
    redis_process: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    tag = uuid.uuid4().hex
    stores = [opened(redis_process, tag) for _ in range(2)]
    made = [bounded(number, None) for number in range(2)]
    for store, reservation in zip(stores, made, strict=True):
        store.reserve([], always(reservation))
        store.settle([settlement_of(reservation, HELD + 3)], watching(), NOW_MS)

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

    assert store.levels([SPEND]) == [(0, HELD)]


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

    assert refused == [[(bound - 1, 1)], [(bound - 1, 1)]]


def test_an_emptied_redis_admits_nothing_under_a_limit_until_it_is_restored(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    stores = [opened(own_redis, "a") for _ in range(2)]
    held = [bounded(number, BOUND) for number in range(2)]
    settled = bounded(2, BOUND, 60)
    for store, reservation in zip(stores, held, strict=True):
        store.reserve([SPEND], always(reservation))
    stores[0].reserve([SPEND], always(settled))
    stores[0].settle([settlement_of(settled, 60)], watching(5_000), NOW_MS)
    (before,) = stores[0].crossings_after(0, 10)

    own_redis.client.flushall()

    assert not stores[0].is_ready()
    with pytest.raises(Unavailable, match="rebuilt from the ledger"):
        stores[0].reserve([SPEND], always(bounded(3, BOUND)))
    with pytest.raises(Unavailable, match="rebuilt from the ledger"):
        stores[0].settle([settlement_of(held[0])], nothing, NOW_MS)
    watched = replace(bounded(4, None), holds=(Hold(REQUESTS, ENDS_MS, 1),))
    assert stores[1].reserve([REQUESTS], always(watched)) == watched.id

    stores[0].restore([Sum(SPEND, ENDS_MS, 60)])

    eventually(lambda: all(store.is_ready() for store in stores))
    assert stores[0].levels([SPEND, REQUESTS]) == [(60, 2 * HELD), (0, 1)]
    done = stores[0].settle([settlement_of(each) for each in held], watching(5_000, 7_000), NOW_MS)
    assert [each.id for each in done.settled] == [each.id for each in held]
    (again,) = stores[0].crossings_after(before.sequence, 10)
    assert again.basis_points == 7_000


def test_a_redis_that_was_started_again_has_lost_the_counters_even_if_it_kept_some(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(own_redis, "a")
    store.reserve([SPEND], always(bounded(1, BOUND)))
    kept = {key: own_redis.client.dump(key) for key in own_redis.client.keys("*")}
    own_redis.kill()
    own_redis.start()
    for key, value in kept.items():
        own_redis.client.restore(key, 0, value)

    def refuses() -> bool:
        try:
            store.reserve([SPEND], always(bounded(2, BOUND)))
        except Unavailable as error:
            return "rebuilt from the ledger" in str(error)
        raise AssertionError("it was let through")

    eventually(refuses)
    assert store.levels([SPEND]) == [(0, 0)]


def test_a_quota_that_knew_counters_does_not_begin_anew_on_an_empty_redis(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    notes = MemorySnapshots()
    first = opened(own_redis, "a", notes)
    assert first.is_ready()
    first.close()
    own_redis.client.flushall()

    assert not opened(own_redis, "a", notes).is_ready()
    assert not opened(own_redis, "b", fresh=False).is_ready()
    assert opened(own_redis, "c").is_ready()


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
    assert store.levels([SPEND]) == [(0, HELD)]


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


def test_a_quota_that_knew_counters_starts_without_their_redis_and_waits_for_it(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    notes = MemorySnapshots()
    opened(own_redis, "a", notes).close()
    own_redis.kill()

    with pytest.raises(SettingsError, match="cannot be used"):
        opened(own_redis, "b")
    store = opened(own_redis, "a", notes)
    own_redis.start()
    eventually(lambda: not store.is_ready())


def test_the_password_is_in_no_message(
    own_redis: RedisProcess, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = own_redis.url.replace(PASSWORD, f"{PASSWORD}-wrong")
    nowhere = own_redis.url.replace(f":{own_redis.port}", ":1")
    said: list[str] = []
    for url in (wrong, nowhere, f"http://:{PASSWORD}@127.0.0.1"):
        with contextlib.closing(HeldJournal(tmp_path)) as journal, pytest.raises(SettingsError) as refused:
            RedisCounters(url, "a", MemorySnapshots(), journal, fresh=True)
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
    assert other.levels([SPEND]) == [(0, 0)]


def test_a_redis_that_is_restored_gets_back_what_a_quota_holds_that_died_and_one_that_hangs(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    died, hangs, restoring = (opened(own_redis, "a") for _ in range(3))
    of_dead, of_hanging = bounded(1, BOUND, 30), bounded(2, BOUND, 40)
    died.reserve([SPEND], always(of_dead))
    hangs.reserve([SPEND], always(of_hanging))
    for store in (died, hangs):
        store.close()
    own_redis.client.flushall()

    restoring.restore([Sum(SPEND, ENDS_MS, 20)])

    assert restoring.levels([SPEND]) == [(20, 70)]
    done = restoring.settle([settlement_of(each, 5) for each in (of_dead, of_hanging)], nothing, NOW_MS)
    assert len(done.settled) == 2
    assert restoring.levels([SPEND]) == [(30, 0)]


def test_what_another_quota_had_ended_before_the_loss_is_not_put_back(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    made_by, ended_by = opened(own_redis, "a"), opened(own_redis, "a")
    settled, released, told, held = (bounded(number, BOUND, 10) for number in range(4))
    for each in (settled, released, told, held):
        made_by.reserve([SPEND], always(each))
    ended_by.settle([settlement_of(settled, 7)], nothing, NOW_MS)
    ended_by.release(request_ids=[released.request_id])
    own_redis.client.flushall()

    assert ended_by.lost() == [told.id, held.id]
    ended_by.restore([Sum(SPEND, ENDS_MS, 7)], ended=[told.id])

    assert ended_by.levels([SPEND]) == [(7, 10)]
    assert ended_by.lost() == []


def test_what_was_asked_for_while_the_counters_were_restored_is_released_when_it_was_refused(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, restoring = opened(own_redis, "a"), opened(own_redis, "a")
    made = bounded(1, BOUND)
    ask = asking._link.run

    def restored_meanwhile(*asked: Any, **options: Any) -> Any:
        monkeypatch.setattr(asking._link, "run", ask)
        own_redis.client.flushall()
        restoring.restore([])
        return ask(*asked, **options)

    monkeypatch.setattr(asking._link, "run", restored_meanwhile)
    with pytest.raises(Unavailable, match="rebuilt"):
        asking.reserve([SPEND], always(made))

    eventually(lambda: restoring.open_count() == 0)


def test_a_loss_is_not_taken_for_the_end_of_what_calls_hold(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(own_redis, "a")
    store.reserve([SPEND], always(bounded(1, BOUND)))
    own_redis.client.flushall()
    # The look that forgets what others have ended comes once a second.
    time.sleep(1.5)

    store.restore([])

    assert store.levels([SPEND]) == [(0, HELD)]


def test_what_was_not_made_is_not_put_back(own_redis: RedisProcess, opened: Callable[..., RedisCounters]) -> None:
    store, other = opened(own_redis, "a"), opened(own_redis, "a")
    tried: list[Sequence[Level]] = []

    def choose(levels: Sequence[Level]) -> tuple[Reservation | None, None]:
        tried.append(levels)
        if len(tried) == 1:
            other.reserve([SPEND], always(bounded(1, BOUND, BOUND)))
        return (bounded(2, BOUND) if len(tried) == 1 else None), None

    store.reserve([SPEND], choose)
    own_redis.client.flushall()
    store.restore([])

    assert len(tried) == 2
    assert store.levels([SPEND]) == [(0, BOUND)]
