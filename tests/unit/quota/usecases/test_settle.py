from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.errors import InvalidInput
from services.kernel.limit_kind import LimitKind
from services.kernel.settlement import CrossingKind
from services.quota.domain.counters.settlement import UNKNOWN_COST, Settlement
from services.quota.domain.policies.policy import Mode, Threshold
from tests.worlds.quota import CENT, CENT_FACTS, EPOCH, MAX_STREAM_MS, World, counting, spend


def test_a_batch_says_which_were_open_and_which_had_ended() -> None:
    world = World((spend("budget", 10),))
    admitted = world.let()

    first = world.settle(admitted, CENT)
    second = world.settle(admitted, CENT)

    assert (first.settled, first.already_ended) == ((admitted.reservation.id,), ())
    assert (second.settled, second.already_ended) == ((), (admitted.reservation.id,))
    assert world.level("budget") == (CENT, 0)


def test_passing_a_threshold_names_whom_to_tell() -> None:
    policy = replace(spend("budget", 10), thresholds=(Threshold(8_000, ("lead", "finance")),))
    world = World((policy,))

    for _ in range(7):
        assert world.settle(world.let(), CENT).crossings == ()
    (crossing,) = world.settle(world.let(), CENT).crossings

    assert (crossing.counter.policy, crossing.limit, crossing.basis_points) == ("budget", "spend per month", 8_000)
    assert crossing.notify == ("lead", "finance")
    assert (crossing.settled, crossing.bound) == (8 * CENT, 10 * CENT)


def test_the_thresholds_of_a_policy_that_is_gone_are_not_reported() -> None:
    policy = replace(spend("budget", 10), thresholds=(Threshold(8_000),))
    world = World((policy,))
    admitted = world.let()
    world.policies = ()
    world.change_key()

    assert world.settle(admitted, 9 * CENT).crossings == ()


def test_a_call_that_took_more_than_it_held_is_reported_once_to_everybody_with_its_excess() -> None:
    thresholds = (Threshold(8_000, ("lead",)), Threshold(9_000, ("finance", "lead")))
    world = World((replace(spend("budget", 100), thresholds=thresholds), spend("untold", 100)))

    told = world.settle(world.let(), 6 * CENT).crossings
    again = world.settle(world.let(), 9 * CENT).crossings

    assert [(each.counter.policy, each.kind, each.excess) for each in told] == [
        ("budget", CrossingKind.OVERRUN, 5 * CENT),
        ("untold", CrossingKind.OVERRUN, 5 * CENT),
    ]
    assert [(each.basis_points, each.settled, each.notify) for each in told] == [
        (0, 6 * CENT, ("lead", "finance")),
        (0, 6 * CENT, ()),
    ]
    assert again == told
    assert world.level("budget") == (15 * CENT, 0)


def test_a_call_without_a_price_is_reported_once_to_everybody() -> None:
    thresholds = (Threshold(8_000, ("lead",)), Threshold(9_000, ("finance",)))
    world = World((replace(spend("lenient", 100), thresholds=thresholds, allows_unpriced=True),))
    first = world.let()

    (told,) = world.settle(first, UNKNOWN_COST).crossings
    again = world.settle(world.let(), UNKNOWN_COST).crossings

    assert (told.counter.policy, told.kind, told.notify) == ("lenient", CrossingKind.UNPRICED, ("lead", "finance"))
    assert told.reservation == first.reservation.id
    assert again == (told,)


def test_a_call_with_members_that_nobody_knows_is_reported_once_where_a_limit_on_spend_is_enforced() -> None:
    unknown = replace(CENT_FACTS, unknown_members=("frobnicate",))
    find_rule = replace(spend("watching", 1_000), mode=Mode.SHADOW, thresholds=(Threshold(10_000),))
    world = World((spend("enforced", 1_000), find_rule, counting("calls", LimitKind.REQUESTS, 9)))
    assert world.settle(world.let(), CENT).crossings == ()
    first = world.let(facts=unknown)

    (told,) = world.settle(first, CENT).crossings
    again = world.settle(world.let(facts=unknown), CENT).crossings

    assert (told.counter.policy, told.kind) == ("enforced", CrossingKind.UNKNOWN_MEMBERS)
    assert told.reservation == first.reservation.id
    assert again == (told,)


@pytest.mark.parametrize("cost", [6 * CENT, UNKNOWN_COST])
def test_of_a_shadow_limit_neither_overruns_nor_unknown_costs_are_reported(cost: int) -> None:
    world = World((replace(spend("watch", 100), mode=Mode.SHADOW, thresholds=(Threshold(10_000),)),))

    assert world.settle(world.let(), cost).crossings == ()


def test_the_lag_is_measured_from_the_end_of_the_call() -> None:
    world = World()
    admitted = world.let()
    ended_at_ms = world.clock.now_ms()
    world.clock.advance(1_500)

    world.settle_all([Settlement(admitted.reservation.id, 0, 1, 1, ended_at_ms, reported=True)], 0)

    assert world.lag.p95_ms == 1_500


def test_only_reported_usage_teaches_what_to_expect() -> None:
    world = World()
    admitted = world.let()

    world.settle_all([Settlement(admitted.reservation.id, 0, 7, 7, world.clock.now_ms(), reported=False)], 0)

    assert world.expectations.get("key_ada", "dear") is None


@pytest.mark.parametrize(
    ("settlement", "field"),
    [
        (Settlement("rsv", -2, 0, 0, 0, reported=True), "settlements[0].cost_nano_usd"),
        (Settlement("rsv", 0, -1, 0, 0, reported=True), "settlements[0]"),
        (Settlement("rsv", 0, 0, -1, 0, reported=True), "settlements[0]"),
    ],
)
def test_negative_amounts_are_not_settled(settlement: Settlement, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        World().settle_all([settlement], 0)

    assert caught.value.field == field


def test_batches_have_a_limit() -> None:
    world = World()
    settlement = Settlement("rsv", 0, 0, 0, 0, reported=True)

    assert len(world.settle_all([settlement] * 1_000, 0).already_ended) == 1_000
    with pytest.raises(InvalidInput):
        world.settle_all([settlement] * 1_001, 0)
    with pytest.raises(InvalidInput, match="request_ids"):
        world.release(request_ids=["request"] * 1_001)
    with pytest.raises(InvalidInput, match="reservations"):
        world.release(reservations=["rsv"] * 1_001)


def test_a_request_that_never_left_gives_its_room_back() -> None:
    world = World((spend("budget", 10),))
    world.let(request_id="left")
    world.let(request_id="never-left")

    assert world.release(request_ids=["never-left", "unknown"]) == 1
    assert world.level("budget") == (0, CENT)


def test_no_clock_alone_makes_a_reservation_overdue() -> None:
    world = World((spend("budget", 10),))
    reservation = world.let().reservation
    made_at_ms = world.clock.now_ms()
    world.clock.advance(10 * MAX_STREAM_MS)

    assert world.overdue([], made_at_ms + MAX_STREAM_MS, 100) == ()
    assert world.overdue([], made_at_ms + MAX_STREAM_MS + 1, 100) == (reservation,)
    assert world.overdue([EPOCH], 0, 100) == (reservation,)
    assert world.level("budget") == (0, CENT)
