"""Kinds of limits and windows other than plain periods of the calendar."""

from __future__ import annotations

from dataclasses import replace

from services.kernel.envoy_contract import LeadReason
from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowUnit
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, QuotaPolicy
from tests.worlds.quota import CENT, CENT_FACTS, World, counting, spend


def test_a_rolling_window_gives_room_back_bit_by_bit() -> None:
    hour_ms = 3_600_000
    rolling = Limit(LimitKind.SPEND, 3 * CENT, WindowUnit.ROLLING, rolling_ms=24 * hour_ms)
    world = World((QuotaPolicy("budget", Match(), (rolling,)),))
    for request in ("1", "2", "3"):
        world.settle(world.let(request_id=request), CENT)
        world.clock.advance(8 * hour_ms)

    refused = world.refused()
    assert (refused.denial, refused.used) == (Denial.BUDGET_EXHAUSTED, 3 * CENT)
    world.clock.advance(hour_ms)
    world.settle(world.let(request_id="4"), CENT)
    assert world.refused().used == 3 * CENT
    world.clock.advance(8 * hour_ms)
    world.let(request_id="5")


def test_calls_in_flight_are_limited_and_one_that_ends_makes_room() -> None:
    world = World((counting("parallel", LimitKind.CONCURRENCY, 2, WindowUnit.LIFETIME),))
    first = world.let(request_id="1")
    world.let(request_id="2")

    refused = world.refused()
    assert (refused.denial, refused.reserved, refused.retry_after_ms) == (Denial.RATE_LIMITED, 2, world.lag.wait_ms)
    world.settle(first, CENT)
    world.let(request_id="3")
    assert world.refused().denial is Denial.RATE_LIMITED


def test_no_call_may_cost_more_than_one_call_may() -> None:
    world = World((QuotaPolicy("cap", Match(), (Limit(LimitKind.REQUEST_COST, CENT, WindowUnit.LIFETIME),)),))
    for request in ("1", "2", "3"):
        assert world.let(request_id=request).reservation.holds == ()

    refused = world.ask(facts=replace(CENT_FACTS, body_bytes=1_001))
    assert isinstance(refused, Deny)
    assert refused.max_affordable_output_tokens == 999
    assert (refused.denial, refused.limit) == (Denial.REQUEST_COST_LIMIT, CENT)
    assert refused.requested > CENT
    assert refused.retry_after_ms is None


def test_the_attempts_of_a_call_together_keep_to_what_one_call_may_cost() -> None:
    world = World((QuotaPolicy("cap", Match(), (Limit(LimitKind.REQUEST_COST, CENT, WindowUnit.LIFETIME),)),))

    assert [attempt.fit.target.name for attempt in world.let("chained").chain] == ["lab/dear"]


def test_each_run_has_a_limit_of_its_own_and_a_call_without_a_run_has_none() -> None:
    world = World((QuotaPolicy("loop", Match(), (Limit(LimitKind.REQUESTS, 1, WindowUnit.RUN),)),))
    world.settle(world.let(run="a"), CENT)

    refused = world.ask(run="a")
    assert isinstance(refused, Deny)
    assert (refused.denial, refused.scope) == (Denial.BUDGET_EXHAUSTED, "run=a")
    world.let(run="b")
    assert world.let().reservation.holds == ()


def test_the_first_call_after_the_reset_goes_to_the_dear_model_again() -> None:
    world = World((spend("budget", 10),))
    world.settle(world.let("tiered"), 8 * CENT)
    downgraded = world.let("tiered", request_id="2")
    assert (downgraded.reservation.chain, downgraded.lead_reason) == (("lab/cheap",), LeadReason.BUDGET)

    (limit,) = world.live.snapshot.directory.limits_for(world.key.attribution, "tiered", world.clock.now_ms()).limits
    world.clock.advance(limit.window_end_ms - world.clock.now_ms() - 1)
    assert world.let("tiered", request_id="3").reservation.chain == ("lab/cheap",)
    world.clock.advance(1)
    back = world.let("tiered", request_id="4")
    assert (back.reservation.chain, back.lead_reason) == (("lab/dear",), None)
