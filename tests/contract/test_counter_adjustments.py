"""One suite for every counter store: how what is settled is moved to what the ledger says."""

from __future__ import annotations

import pytest

from services.kernel.errors import InvalidInput
from services.kernel.settlement import AdjustmentReason as Reason
from services.quota.domain.counters.adjustment import Adjustment
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.ports.counters import Sum
from tests.contract import test_counter_store as suite
from tests.contract.test_counter_store import (
    ENDS_MS,
    NOW_MS,
    REQUESTS,
    SPEND,
    TOKENS,
    Store,
    always,
    find_rule,
    nothing,
    reservation,
    settlement,
)

store = suite.store
_ADAPTERS = "services.quota.adapters"


def adjustment(counter: CounterKey, before: int, after: int, reason: Reason = Reason.DRIFT) -> Adjustment:
    return Adjustment(counter, ENDS_MS[counter], before, after, reason)


def test_a_counter_is_moved_to_what_the_ledger_says_and_what_it_holds_stays(store: Store) -> None:
    done, held = reservation(1, {SPEND: 50, TOKENS: 9}), reservation(2, {SPEND: 30})
    store.reserve([], always(done))
    store.reserve([], always(held))
    store.settle([settlement(done, 40, (4, 5))], nothing, NOW_MS)

    moved = store.adjust([adjustment(SPEND, 40, 55), adjustment(TOKENS, 9, 0)], nothing, NOW_MS)

    assert moved == 2
    assert store.levels([SPEND, TOKENS]) == [Level(55, 30), Level(0, 0)]


def test_a_counter_that_nobody_used_yet_can_be_moved(store: Store) -> None:
    assert store.adjust([adjustment(SPEND, 0, 7, Reason.BACKFILL)], nothing, NOW_MS) == 1

    assert store.levels([SPEND]) == [Level(7, 0)]
    assert [each.key for each in store.counters_at(NOW_MS)] == [SPEND]


def test_adjusting_twice_changes_nothing_nor_does_it_when_the_counter_has_moved_since(store: Store) -> None:
    asked = adjustment(SPEND, 0, 7)
    assert store.adjust([asked, asked], nothing, NOW_MS) == 1
    assert store.adjust([asked], nothing, NOW_MS) == 0
    made = reservation(1, {SPEND: 1})
    store.reserve([], always(made))
    store.settle([settlement(made, 1)], nothing, NOW_MS)

    assert store.adjust([adjustment(SPEND, 7, 9)], nothing, NOW_MS) == 0
    assert store.levels([SPEND]) == [Level(8, 0)]
    assert len(store.adjustments_before(None, 10)) == 1


def test_adjustments_are_listed_newest_first(store: Store) -> None:
    store.adjust([adjustment(SPEND, 0, 7, Reason.BACKFILL)], nothing, NOW_MS)
    store.adjust([adjustment(SPEND, 7, 9), adjustment(TOKENS, 0, 3, Reason.REBUILD)], nothing, NOW_MS + 1)

    listed = store.adjustments_before(None, 10)

    assert [(each.adjustment.counter, each.adjustment.before, each.adjustment.after) for each in listed] == [
        (TOKENS, 0, 3),
        (SPEND, 7, 9),
        (SPEND, 0, 7),
    ]
    assert [each.adjustment.reason for each in listed] == [Reason.REBUILD, Reason.DRIFT, Reason.BACKFILL]
    assert [each.at_ms for each in listed] == [NOW_MS + 1, NOW_MS + 1, NOW_MS]
    assert store.adjustments_before(listed[0].sequence, 1) == listed[1:2]


def test_only_the_last_adjustments_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tests.worlds.memory_counters", f"{_ADAPTERS}.sqlite_adjustments", f"{_ADAPTERS}.redis_wire"):
        monkeypatch.setattr(f"{module}.MAX_KEPT", 2)
    for amount in range(4):
        store.adjust([adjustment(SPEND, amount, amount + 1)], nothing, NOW_MS)

    assert [each.adjustment.after for each in store.adjustments_before(None, 10)] == [4, 3]


def test_a_threshold_that_an_adjustment_passes_is_reported_like_any_other(store: Store) -> None:
    store.adjust([adjustment(SPEND, 0, 85)], find_rule(100, 8_000, 9_000), NOW_MS)
    store.adjust([adjustment(SPEND, 85, 10)], find_rule(100, 8_000, 9_000), NOW_MS)
    store.adjust([adjustment(SPEND, 10, 90)], find_rule(100, 8_000, 9_000), NOW_MS)

    assert [(each.basis_points, each.settled) for each in store.crossings_after(0, 9)] == [(8_000, 85), (9_000, 90)]


@pytest.mark.parametrize("after", [-1, 2**53 + 1])
def test_an_adjustment_that_cannot_be_held_exactly_is_refused_and_none_is_made(store: Store, after: int) -> None:
    with pytest.raises(InvalidInput, match=r"adjustments\[1\].after"):
        store.adjust([adjustment(TOKENS, 0, 1), adjustment(SPEND, 0, after)], nothing, NOW_MS)

    assert store.levels([TOKENS, SPEND]) == [Level(0, 0), Level(0, 0)]


def test_what_is_settled_is_set_from_the_ledger_and_what_is_held_stays(store: Store) -> None:
    done, held = reservation(1, {SPEND: 50}), reservation(2, {SPEND: 30, REQUESTS: 1})
    store.reserve([], always(done))
    store.reserve([], always(held))
    store.settle([settlement(done, 40)], nothing, NOW_MS)
    assert store.is_ready()

    store.restore([Sum(SPEND, ENDS_MS[SPEND], 45), Sum(TOKENS, ENDS_MS[TOKENS], 7)])

    assert store.is_ready()
    assert store.levels([SPEND, TOKENS, REQUESTS]) == [Level(45, 30), Level(7, 0), Level(0, 1)]
    assert {each.key for each in store.counters_at(NOW_MS)} == {REQUESTS, SPEND, TOKENS}


def test_what_had_ended_before_the_counters_were_set_holds_nothing(store: Store) -> None:
    ended, held = reservation(1, {SPEND: 50}), reservation(2, {SPEND: 30})
    for each in (ended, held):
        store.reserve([], always(each))

    store.restore([Sum(SPEND, ENDS_MS[SPEND], 45)], ended=[ended.id, "rsv_unknown"])

    assert store.levels([SPEND]) == [Level(45, 30)]
    assert store.open_count() == 1


@pytest.mark.parametrize("sum_", [-1, 2**53 + 1])
def test_a_sum_that_cannot_be_held_exactly_is_refused_and_nothing_is_set(store: Store, sum_: int) -> None:
    with pytest.raises(InvalidInput, match=r"sums\[1\]"):
        store.restore([Sum(TOKENS, ENDS_MS[TOKENS], 7), Sum(SPEND, ENDS_MS[SPEND], sum_)])

    assert store.levels([TOKENS, SPEND]) == [Level(0, 0), Level(0, 0)]
