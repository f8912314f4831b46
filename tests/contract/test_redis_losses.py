"""A running quota restores what Redis forgot, once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.settings import SettingsError
from services.kernel.errors import Unavailable
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_link import RedisLink
from services.quota.domain.counters.counter import Level
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.ports.counters import Sum
from tests.worlds.counter_store_load import ENDS_MS, HELD, NOW_MS, SPEND, bounded, settlement_of
from tests.worlds.counter_store_notes import MemorySnapshots
from tests.worlds.redis_process import RedisProcess
from tests.worlds.redis_stores import BOUND, REQUESTS, always, eventually, find_rule, nothing


def test_an_emptied_redis_admits_nothing_under_a_limit_until_it_is_restored(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    stores = [opened(own_redis, "a") for _ in range(2)]
    held = [bounded(number, BOUND) for number in range(2)]
    settled = bounded(2, BOUND, 60)
    for store, reservation in zip(stores, held, strict=True):
        store.reserve([SPEND], always(reservation))
    stores[0].reserve([SPEND], always(settled))
    stores[0].settle([settlement_of(settled, 60)], find_rule(5_000), NOW_MS)
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
    assert stores[0].levels([SPEND, REQUESTS]) == [Level(60, 2 * HELD), Level(0, 1)]
    done = stores[0].settle([settlement_of(each) for each in held], find_rule(5_000, 7_000), NOW_MS)
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
    assert store.levels([SPEND]) == [Level(0, 0)]


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

    assert restoring.levels([SPEND]) == [Level(20, 70)]
    done = restoring.settle([settlement_of(each, 5) for each in (of_dead, of_hanging)], nothing, NOW_MS)
    assert len(done.settled) == 2
    assert restoring.levels([SPEND]) == [Level(30, 0)]


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

    assert ended_by.levels([SPEND]) == [Level(7, 10)]
    assert ended_by.lost() == []


def test_what_was_asked_for_while_the_counters_were_restored_is_released_when_it_was_refused(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, restoring = opened(own_redis, "a"), opened(own_redis, "a")
    made = bounded(1, BOUND)

    def restored_meanwhile(*asked: Any, **options: Any) -> Any:
        monkeypatch.undo()
        own_redis.client.flushall()
        restoring.restore([])
        return RedisLink.run(*asked, **options)

    monkeypatch.setattr(RedisLink, "run", restored_meanwhile)
    with pytest.raises(Unavailable, match="rebuilt"):
        asking.reserve([SPEND], always(made))

    eventually(lambda: restoring.open_count() == 0)


def test_a_loss_is_not_taken_for_the_end_of_what_calls_hold(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(own_redis, "a")
    store.reserve([SPEND], always(bounded(1, BOUND)))
    own_redis.client.flushall()
    # Reservations that others ended are forgotten once a second.
    time.sleep(1.5)

    store.restore([])

    assert store.levels([SPEND]) == [Level(0, HELD)]


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
    assert store.levels([SPEND]) == [Level(0, BOUND)]
