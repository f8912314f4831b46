"""What calls whose end nobody measured leave in doubt, in every counter store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from services.kernel.errors import Unavailable
from services.kernel.settlement import Most
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_link import RedisLink
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_doubts import SqliteDoubts
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.doubt import Doubt, Selection, all_of_it
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.ports.counters import Sum
from tests.contract.test_counter_store import (
    DAY_MS,
    NOW_MS,
    REQUESTS,
    SPEND,
    TOKENS,
    Store,
    always,
    nothing,
    reservation,
    settlement,
    store,
)
from tests.worlds.counter_store_notes import open_file
from tests.worlds.redis_process import RedisProcess
from tests.worlds.redis_stores import eventually

__all__ = ["store"]

INPUT = CounterKey("team", "input_tokens/day/UTC", "team=a", NOW_MS)
SOFT = CounterKey("team", "spend/day/UTC/soft", "team=a", NOW_MS)
UNBOUNDED = Most(-1, -1, -1)


def estimated(made: Reservation, cost: int, tokens: tuple[int, int] = (0, 0), most: Most = UNBOUNDED) -> Settlement:
    return replace(settlement(made, cost, tokens), most=most, reported=False)


def leave(store: Store, number: int, cost: int = 40) -> Reservation:
    """A call that held 70 and whose end nobody measured."""
    made = reservation(number, {SPEND: 70, REQUESTS: 1})
    store.reserve([], always(made))
    store.settle([estimated(made, cost)], nothing, NOW_MS)
    return made


def killed(*_: object, **_options: object) -> None:
    raise KeyboardInterrupt


def amounts(doubts: list[Doubt]) -> list[tuple[str, list[int]]]:
    return [(doubt.reservation.id, [hold.held for hold in doubt.reservation.holds]) for doubt in doubts]


def test_what_was_held_above_the_estimate_stays_reserved_as_doubt(store: Store) -> None:
    made = reservation(1, {SPEND: 70, TOKENS: 50, INPUT: 30, SOFT: 60, REQUESTS: 1})
    store.reserve([], always(made))
    store.settle([estimated(made, 40, (10, 20))], nothing, NOW_MS)

    assert store.levels([SPEND, TOKENS, INPUT]) == [Level(40, 0, 30), Level(30, 0, 20), Level(10, 0, 20)]
    assert store.levels([SOFT, REQUESTS]) == [Level(40, 0, 0), Level(1, 0, 0)]
    (doubt,) = store.doubts_after("", 9)
    assert doubt.since_ms == NOW_MS
    kept = {SPEND: 30, TOKENS: 20, INPUT: 20}
    assert doubt.reservation == replace(
        made, holds=tuple(Hold(counter, NOW_MS + DAY_MS, amount) for counter, amount in kept.items())
    )


@pytest.mark.parametrize(
    ("most", "spend", "tokens"),
    [
        (Most(-1, -1, -1), 30, 20),
        (Most(55, 25, 10), 15, 5),
        (Most(55, -1, 10), 15, 20),
        (Most(900, 900, 900), 30, 20),
        (Most(40, 10, 20), 0, 0),
        (Most(1, 1, 1), 0, 0),
    ],
)
def test_doubt_goes_up_to_the_most_that_the_call_can_have_taken_and_never_beyond_its_hold(
    store: Store, most: Most, spend: int, tokens: int
) -> None:
    made = reservation(1, {SPEND: 70, TOKENS: 50})
    store.reserve([], always(made))
    store.settle([estimated(made, 40, (10, 20), most)], nothing, NOW_MS)

    assert store.levels([SPEND, TOKENS]) == [Level(40, 0, spend), Level(30, 0, tokens)]
    assert len(store.doubts_after("", 9)) == (spend > 0)


def test_a_call_of_unknown_price_counts_as_what_it_held_and_leaves_no_doubt(store: Store) -> None:
    leave(store, 1, cost=-1)
    assert store.levels([SPEND]) == [Level(70, 0, 0)]


def test_a_settlement_that_comes_twice_leaves_doubt_once(store: Store) -> None:
    made = leave(store, 1)
    again = store.settle([estimated(made, 40), estimated(made, 10)], nothing, NOW_MS)

    assert again.already_ended == (made.id, made.id)
    assert store.levels([SPEND]) == [Level(40, 0, 30)]


def test_doubt_ends_when_what_the_call_took_becomes_known(store: Store) -> None:
    made, other = leave(store, 1), leave(store, 2)
    store.settle([settlement(made, 45)], nothing, NOW_MS)

    # What is settled follows the ledger's sums and nothing else.
    assert store.levels([SPEND]) == [Level(80, 0, 30)]
    assert [doubt.reservation.id for doubt in store.doubts_after("", 9)] == [other.id]


def test_nobody_is_let_into_the_room_that_is_in_doubt(store: Store) -> None:
    leave(store, 1)
    seen: list[Level] = []
    hold = Hold(SPEND, NOW_MS + DAY_MS, 31, ceiling=100)

    def choose(levels: object) -> tuple[Reservation | None, None]:
        seen.extend(levels)  # type: ignore[arg-type]  # levels, in their order
        fits = sum(seen[-1]) + hold.held <= 100
        return replace(reservation(2, {}), holds=(hold,)) if fits else None, None

    store.reserve([SPEND], choose)

    assert seen == [Level(40, 0, 30)]
    assert store.levels([SPEND]) == [Level(40, 0, 30)]


def test_doubts_are_listed_in_pages_oldest_first(store: Store) -> None:
    made = [leave(store, number) for number in (3, 1, 2)]
    ids = sorted(each.id for each in made)

    assert [each.reservation.id for each in store.doubts_after("", 2)] == ids[:2]
    assert [each.reservation.id for each in store.doubts_after(ids[1], 2)] == ids[2:]
    assert store.doubts_after(ids[2], 2) == []


def test_what_is_cleared_gives_back_its_room_once(store: Store) -> None:
    made, other = leave(store, 1), leave(store, 2)

    assert amounts(store.clear_doubts([made.id, "rsv_unknown"], all_of_it)) == [(made.id, [30])]
    assert store.clear_doubts([made.id], all_of_it) == []
    assert store.levels([SPEND]) == [Level(80, 0, 30)]
    assert amounts(store.doubts_after("", 9)) == [(other.id, [30])]


def test_only_what_is_meant_is_cleared(store: Store) -> None:
    wide = SPEND._replace(policy="wide")
    made = reservation(1, {SPEND: 70, wide: 70})
    store.reserve([], always(made))
    store.settle([estimated(made, 40)], nothing, NOW_MS)

    cleared = store.clear_doubts([made.id], Selection(policy="wide").has)

    assert [hold.counter for doubt in cleared for hold in doubt.reservation.holds] == [wide]
    assert store.levels([SPEND, wide]) == [Level(40, 0, 30), Level(40, 0, 0)]
    assert store.clear_doubts([made.id], Selection(policy="wide").has) == []
    assert store.clear_doubts([made.id], Selection(before_ms=NOW_MS).has) == []
    assert amounts(store.clear_doubts([made.id], Selection(before_ms=NOW_MS + 1).has)) == [(made.id, [30])]
    assert store.doubts_after("", 9) == []


def test_doubt_goes_with_the_counters_whose_windows_ended(store: Store) -> None:
    minute = CounterKey("team", "tokens/minute", "team=a", NOW_MS)
    holds = (Hold(SPEND, NOW_MS + DAY_MS, 70), Hold(minute, NOW_MS + 60_000, 50))
    made = replace(reservation(1, {}), holds=holds)
    store.reserve([], always(made))
    store.settle([estimated(made, 40, (10, 20))], nothing, NOW_MS)

    assert store.forget(NOW_MS + 59_999) == 0
    assert store.levels([SPEND, minute]) == [Level(40, 0, 30), Level(30, 0, 20)]
    assert store.forget(NOW_MS + 60_000) == 1
    assert store.levels([SPEND, minute]) == [Level(40, 0, 30), Level(0, 0, 0)]
    assert amounts(store.doubts_after("", 9)) == [(made.id, [30])]
    assert store.forget(NOW_MS + DAY_MS) == 1
    assert store.levels([SPEND]) == [Level(0, 0, 0)]
    assert store.doubts_after("", 9) == []


def test_doubt_of_a_run_that_goes_on_is_kept_as_long_as_the_run(store: Store) -> None:
    run = CounterKey("team", "spend/run", "team=a,run=x", 0)
    for number, end_ms in enumerate([NOW_MS + DAY_MS, NOW_MS + 5 * DAY_MS]):
        made = replace(reservation(number, {}), holds=(Hold(run, end_ms, 7),))
        store.reserve([], always(made))
        store.settle([estimated(made, 5)], nothing, NOW_MS)

    for _ in range(2):
        assert store.forget(NOW_MS + 2 * DAY_MS) == 0
        assert store.levels([run]) == [Level(10, 0, 4)]
    assert store.forget(NOW_MS + 5 * DAY_MS) == 1
    assert store.doubts_after("", 9) == []


def test_restoring_the_sums_leaves_what_is_in_doubt(store: Store) -> None:
    leave(store, 1)
    store.restore([Sum(SPEND, NOW_MS + DAY_MS, 55)])
    assert store.levels([SPEND]) == [Level(55, 0, 30)]


def test_a_store_that_is_opened_again_knows_what_is_in_doubt(tmp_path: Path) -> None:
    with open_file(tmp_path) as file:
        made = leave(SqliteCounters(file), 1)
        leave(SqliteCounters(file), 2)
    with open_file(tmp_path) as file:
        again = SqliteCounters(file)
        assert again.levels([SPEND]) == [Level(80, 0, 60)]
        again.clear_doubts([made.id], all_of_it)
        assert again.levels([SPEND]) == [Level(80, 0, 30)]


def test_an_emptied_redis_gets_back_what_is_in_doubt_and_not_what_was_cleared(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(own_redis, "a")
    kept, cleared, known = (leave(store, number) for number in range(3))
    store.clear_doubts([cleared.id], all_of_it)
    store.settle([settlement(known, 40)], nothing, NOW_MS)

    own_redis.client.flushall()
    with pytest.raises(Unavailable, match="rebuilt"):
        store.reserve([SPEND], always(replace(reservation(9, {}), holds=(Hold(SPEND, NOW_MS + DAY_MS, 1, 100),))))
    store.forget(NOW_MS)
    store.restore([Sum(SPEND, NOW_MS + DAY_MS, 120)])

    eventually(store.is_ready)
    assert store.levels([SPEND]) == [Level(120, 0, 30)]
    assert amounts(store.doubts_after("", 9)) == [(kept.id, [30])]
    store.restore([Sum(SPEND, NOW_MS + DAY_MS, 120)])
    assert store.levels([SPEND]) == [Level(120, 0, 30)]


def test_what_was_written_down_before_a_settlement_that_never_came_counts_once(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(own_redis, "a")
    made = reservation(1, {SPEND: 70})
    store.reserve([], always(made))

    with monkeypatch.context() as patched:
        patched.setattr(RedisLink, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            store.settle([estimated(made, 40)], nothing, NOW_MS)
    own_redis.client.flushall()
    store.restore([])
    eventually(store.is_ready)

    assert store.levels([SPEND]) == [Level(0, 70, 0)]
    store.settle([estimated(made, 40)], nothing, NOW_MS)
    assert store.levels([SPEND]) == [Level(40, 0, 30)]


def test_a_call_that_is_held_again_and_settled_again_leaves_its_doubt_once(store: Store) -> None:
    """As when a quota puts back what a lost store held, and the ledger has not heard that it was settled."""
    made = leave(store, 1)
    store.reserve([], always(made))
    store.settle([estimated(made, 40)], nothing, NOW_MS)

    assert [level.doubt for level in store.levels([SPEND])] == [30]
    assert amounts(store.doubts_after("", 9)) == [(made.id, [30])]


def test_a_quota_that_read_the_counters_before_doubt_was_left_lets_nobody_into_it(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    store = opened(own_redis, "a")
    leave(store, 1)
    late = replace(reservation(2, {}), holds=(Hold(SPEND, NOW_MS + DAY_MS, 31, ceiling=100),))
    with pytest.raises(Unavailable, match="too many calls at once"):
        store.reserve([SPEND], always(late))
    assert store.levels([SPEND]) == [Level(40, 0, 30)]


def test_what_was_cleared_by_a_quota_that_was_killed_does_not_come_back(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(own_redis, "a")
    made = leave(store, 1)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteDoubts, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            store.clear_doubts([made.id], all_of_it)
    assert store.levels([SPEND]) == [Level(40, 0, 0)]
    store.forget(NOW_MS + 1)
    own_redis.client.flushall()
    store.restore([Sum(SPEND, NOW_MS + DAY_MS, 40)])
    eventually(store.is_ready)

    assert store.levels([SPEND]) == [Level(40, 0, 0)]


def test_two_quotas_that_clear_the_same_doubt_give_back_its_room_once(
    own_redis: RedisProcess, opened: Callable[..., RedisCounters]
) -> None:
    one, other = (opened(own_redis, "a") for _ in range(2))
    made = leave(one, 1)
    seen: list[list[Doubt]] = []

    def clearing(_doubt: Doubt, _hold: Hold) -> bool:
        if not seen:
            seen.append([])
            seen[0] = other.clear_doubts([made.id], all_of_it)
        return True

    assert one.clear_doubts([made.id], clearing) == []
    assert amounts(seen[0]) == [(made.id, [30])]
    assert one.levels([SPEND]) == [Level(40, 0, 0)]
