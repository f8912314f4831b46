"""Policies that keep no doubt of what nobody measured, in every counter store."""

from __future__ import annotations

from dataclasses import replace

from tests.contract.test_adoption import OLD, TIGHT, doubtful, levels, world_of
from tests.contract.test_counter_store import Store, store
from tests.worlds.quota import CENT

__all__ = ["store"]


def test_of_two_limits_only_the_one_that_reserves_keeps_doubt(store: Store) -> None:
    trusting = replace(TIGHT, estimates_unmeasured=True)
    world = world_of(store, OLD, trusting)
    doubtful(world, world.let(), CENT // 4)

    assert levels(world, "old") == (CENT // 4, 0, CENT - CENT // 4)
    assert levels(world, "tight") == (CENT // 4, 0, 0)
    (doubt,) = world.counters.doubts_after("", 9)
    assert [hold.counter.policy for hold in doubt.reservation.holds] == ["old"]


def test_a_call_leaves_no_doubt_if_no_policy_keeps_any(store: Store) -> None:
    world = world_of(store, replace(OLD, estimates_unmeasured=True), replace(TIGHT, estimates_unmeasured=True))
    doubtful(world, world.let(), CENT // 4)

    assert world.counters.doubts_after("", 9) == []
    assert levels(world, "old") == levels(world, "tight") == (CENT // 4, 0, 0)


def test_a_policy_that_is_added_and_reserves_nothing_takes_over_what_calls_hold_and_no_doubt(store: Store) -> None:
    world = world_of(store, OLD)
    first = world.let()
    doubtful(world, world.let(), CENT // 4)

    world.change_policies((OLD, replace(TIGHT, estimates_unmeasured=True)))

    assert levels(world, "tight") == (0, CENT, 0)
    doubtful(world, first, CENT // 2)
    assert levels(world, "tight") == (CENT // 2, 0, 0)
    assert levels(world, "old")[2] == CENT - CENT // 4 + CENT // 2


def test_a_policy_that_reserves_no_more_keeps_the_doubt_that_it_has(store: Store) -> None:
    world = world_of(store, OLD, TIGHT)
    doubtful(world, world.let(), CENT // 4)
    before = levels(world, "tight")

    world.change_policies((OLD, replace(TIGHT, estimates_unmeasured=True)))
    assert levels(world, "tight") == before == (CENT // 4, 0, CENT - CENT // 4)
    doubtful(world, world.let(), CENT // 4)
    assert levels(world, "tight") == (CENT // 2, 0, CENT - CENT // 4)

    # The doubt in another limit counts again if the call reserves again.
    world.change_policies((OLD, TIGHT))
    assert levels(world, "tight") == (CENT // 2, 0, 2 * (CENT - CENT // 4))
