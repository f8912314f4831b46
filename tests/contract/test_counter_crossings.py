"""One suite for every counter store: which events of a counter are reported, and how often."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

from services.chassis.database import open_engine
from services.chassis.migrations import migrate
from services.kernel.settlement import CrossingKind
from services.quota.adapters.sqlite_counters import SqliteCounters
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.crossing import ThresholdRule
from tests.contract import test_counter_store as suite
from tests.contract.test_counter_store import (
    NOW_MS,
    SPEND,
    TOKENS,
    Store,
    always,
    find_rule,
    reservation,
    settlement,
)

store = suite.store


def test_a_threshold_is_reported_once_when_it_is_passed(store: Store) -> None:
    made = [reservation(number, {SPEND: 80}) for number in range(4)]
    for each in made:
        store.reserve([], always(each))

    for each, cost in zip(made, (79, 1, 10, 20), strict=True):
        store.settle([settlement(each, cost)], find_rule(100, 8_000, 10_000), NOW_MS)

    told = store.crossings_after(0, 10)
    assert [(each.basis_points, each.settled) for each in told] == [(8_000, 80), (10_000, 110)]
    assert 0 < told[0].sequence < told[1].sequence
    assert (told[0].counter, told[0].limit, told[0].notify, told[0].bound) == (SPEND, "spend per day", ("lead",), 100)
    assert store.crossings_after(told[0].sequence, 10) == told[1:]
    assert store.crossings_after(0, 1) == told[:1]


def test_the_first_overrun_of_a_window_is_reported_besides_the_thresholds(store: Store) -> None:
    for number, (held, cost) in enumerate([(40, 40), (10, 50), (1, 30)]):
        made = reservation(number, {SPEND: held})
        store.reserve([], always(made))
        store.settle([settlement(made, cost)], find_rule(100, 8_000, 10_000), NOW_MS)

    told = store.crossings_after(0, 10)
    assert [(each.kind, each.basis_points, each.settled, each.excess) for each in told] == [
        (CrossingKind.THRESHOLD, 8_000, 90, 0),
        (CrossingKind.OVERRUN, 0, 90, 40),
        (CrossingKind.THRESHOLD, 10_000, 120, 0),
    ]
    assert (told[1].counter, told[1].notify) == (SPEND, ("lead",))


def test_an_overrun_of_a_window_that_rolls_is_reported_once_for_all_its_parts(store: Store) -> None:
    earlier = SPEND._replace(window_start_ms=SPEND.window_start_ms - 60_000)

    def rolling(counter: CounterKey) -> ThresholdRule:
        return ThresholdRule(1_000, (), "spend in 24 hours", (earlier,) if counter == SPEND else ())

    for number, counter in enumerate([earlier, SPEND]):
        made = reservation(number, {counter: 1})
        store.reserve([], always(made))
        store.settle([settlement(made, 3)], rolling, NOW_MS)

    assert [(told.counter, told.excess) for told in store.crossings_after(0, 9)] == [(earlier, 2)]


def test_the_first_call_of_a_window_without_a_price_is_reported_once_and_only_of_limits_on_money(store: Store) -> None:
    made = [reservation(number, {SPEND: 1, TOKENS: 9}) for number in range(4)]
    for each in made:
        store.reserve([], always(each))
    first, *later = [settlement(each, cost) for each, cost in zip(made, (5, -1, -1, -1), strict=True)]
    store.settle([first, *later[:2]], find_rule(100), NOW_MS)
    store.settle(later[2:], find_rule(100), NOW_MS)

    overrun, unpriced = store.crossings_after(0, 9)
    assert (overrun.kind, overrun.counter, overrun.reservation) == (CrossingKind.OVERRUN, SPEND, made[2].id)
    assert (unpriced.kind, unpriced.counter, unpriced.reservation) == (CrossingKind.UNPRICED, SPEND, made[1].id)
    assert (unpriced.basis_points, unpriced.excess, unpriced.settled) == (0, 0, 7)


def test_the_first_call_of_a_window_with_unknown_members_is_reported_once_and_only_of_limits_on_money(
    store: Store,
) -> None:
    known, *unknown = [
        replace(reservation(number, {SPEND: 9, TOKENS: 9}), unknown_members=number > 0) for number in range(4)
    ]
    for each in (known, *unknown):
        store.reserve([], always(each))
    store.release(reservation_ids=[unknown.pop(0).id])
    assert store.crossings_after(0, 9) == []
    for each in (known, *unknown):
        store.settle([settlement(each, 1)], find_rule(100), NOW_MS)

    (told,) = store.crossings_after(0, 9)

    assert (told.kind, told.counter, told.reservation) == (CrossingKind.UNKNOWN_MEMBERS, SPEND, unknown[0].id)
    assert (told.basis_points, told.excess, told.settled, told.notify) == (0, 0, 2, ())


def test_an_unknown_price_and_unknown_members_of_one_call_are_told_apart(store: Store) -> None:
    made = replace(reservation(1, {SPEND: 9}), unknown_members=True)
    store.reserve([], always(made))
    store.settle([settlement(made, -1)], find_rule(100), NOW_MS)

    kinds = [told.kind for told in store.crossings_after(0, 9)]

    assert kinds == [CrossingKind.UNPRICED, CrossingKind.UNKNOWN_MEMBERS]


def test_a_limit_that_is_lowered_below_what_is_used_is_reported_at_the_next_settlement(store: Store) -> None:
    first, second = reservation(1, {SPEND: 50}), reservation(2, {SPEND: 50})
    store.reserve([], always(first))
    store.reserve([], always(second))
    store.settle([settlement(first, 50)], find_rule(100, 8_000), NOW_MS)
    assert store.crossings_after(0, 10) == []

    store.settle([settlement(second, 1)], find_rule(60, 8_000), NOW_MS)

    assert [each.basis_points for each in store.crossings_after(0, 10)] == [8_000]


def test_a_threshold_added_below_one_that_was_reported_is_not_reported_late(store: Store) -> None:
    first, second = reservation(1, {SPEND: 90}), reservation(2, {SPEND: 1})
    store.reserve([], always(first))
    store.reserve([], always(second))
    store.settle([settlement(first, 90)], find_rule(100, 8_000), NOW_MS)
    store.settle([settlement(second, 1)], find_rule(100, 5_000, 8_000), NOW_MS)

    assert [each.basis_points for each in store.crossings_after(0, 10)] == [8_000]


def test_a_store_that_is_opened_again_knows_what_it_reported(tmp_path: Path) -> None:
    engine = open_engine(tmp_path / "quota.sqlite")
    migrate(engine, "services.quota")
    engine.dispose()
    for number in range(2):
        file = SqliteFile(tmp_path / "quota.sqlite")
        store = SqliteCounters(file)
        made = reservation(number, {SPEND: 0})
        store.reserve([], always(made))
        store.settle([settlement(made, -1)], find_rule(100), NOW_MS)
        told = store.crossings_after(0, 9)
        file.close()

    assert [(each.kind, each.sequence) for each in told] == [(CrossingKind.UNPRICED, NOW_MS * 1_000)]


def test_a_store_that_was_restored_from_a_copy_gives_no_number_again(tmp_path: Path) -> None:
    path, copy = tmp_path / "quota.sqlite", tmp_path / "copy.sqlite"
    engine = open_engine(path)
    migrate(engine, "services.quota")
    engine.dispose()
    shutil.copy(path, copy)

    def report(basis_points: int, at_ms: int) -> int:
        """Crosses thresholds in the file. Returns the number of the last crossing."""
        with contextlib.closing(SqliteFile(path)) as file:
            store = SqliteCounters(file)
            made = reservation(at_ms, {SPEND: 100})
            store.reserve([], always(made))
            store.settle([settlement(made, 100)], find_rule(100, 2_000, 5_000, basis_points), at_ms)
            return store.crossings_after(0, 9)[-1].sequence

    before = report(10_000, NOW_MS)
    shutil.copy(copy, path)

    assert report(8_000, NOW_MS + 1) > before
