"""A key that suddenly spends far more than is typical for it is reported, slowed down, stopped, and let in again."""

from __future__ import annotations

from dataclasses import replace

from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowUnit
from services.quota.domain.counters.counter import Level
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, QuotaPolicy, Threshold, ThresholdAction
from services.quota.usecases.admit import Admitted
from tests.worlds.quota import CENT, World, spend

POLICY = QuotaPolicy(
    "loops",
    Match(),
    (Limit(LimitKind.BURN_RATE, CENT, WindowUnit.LIFETIME, factor_percent=1_000),),
    thresholds=(Threshold(3_000, ("finance",)), Threshold(6_000, action=ThresholdAction.DEGRADE)),
)


def call(world: World, cost: int = CENT) -> Admitted | Deny:
    outcome = world.ask("tiered")
    if isinstance(outcome, Admitted):
        world.settle(outcome, cost)
    return outcome


def test_a_loop_is_reported_then_degraded_then_denied() -> None:
    world = World((POLICY,))

    outcomes = [call(world) for _ in range(12)]

    admitted = [outcome for outcome in outcomes if isinstance(outcome, Admitted)]
    assert [outcome.downgraded for outcome in admitted] == [False] * 6 + [True] * 5
    told = world.counters.crossings_after(0, 9)
    assert [(each.basis_points, each.notify, each.counter.scope, each.settled, each.bound) for each in told] == [
        (3_000, ("finance",), "key=ds-prod", 3 * CENT, 10 * CENT),
        (6_000, (), "key=ds-prod", 6 * CENT, 10 * CENT),
    ]
    refused = outcomes[-1]
    assert isinstance(refused, Deny)
    assert (refused.denial, refused.used, refused.limit) == (Denial.BURN_RATE, 11 * CENT, 10 * CENT)
    assert refused.retry_after_ms == 60_000


def test_it_is_let_in_again_when_the_minute_is_over_and_not_reported_again_at_once() -> None:
    world = World((POLICY,))
    while isinstance(call(world), Admitted):
        pass
    world.clock.advance(63_000)

    again = [call(world) for _ in range(12)]

    assert isinstance(again[0], Admitted)
    assert isinstance(again[-1], Deny)
    assert len(world.counters.crossings_after(0, 9)) == 2


def test_a_key_that_always_spends_that_much_is_not_bothered() -> None:
    world = World((POLICY,))
    for _ in range(60):
        for _ in range(4):
            assert isinstance(call(world), Admitted)
        world.clock.advance(61_000)
    habit = world.rates.typical_nano_usd(world.key.key_id)

    assert habit > 3 * CENT
    assert all(isinstance(call(world), Admitted) for _ in range(25))


def test_calls_in_flight_hold_nothing_of_it() -> None:
    world = World((POLICY,))

    assert all(isinstance(world.ask("tiered"), Admitted) for _ in range(50))
    assert world.level("loops") == (0, 0)


def test_it_is_listed_beside_the_budgets_of_other_policies() -> None:
    wide = replace(POLICY, name="wide", match=Match(key="ds-prod"))
    world = World((POLICY, wide, spend("budget", 100)))
    call(world)

    counted = {counter.key[:3]: counter.level for counter in world.counters.counters_at(world.clock.now_ms())}
    assert counted == {
        ("loops", "burn_rate", "key=ds-prod"): Level(CENT, 0),
        ("wide", "burn_rate", "key=ds-prod"): Level(CENT, 0),
        ("budget", "spend/month/UTC", "organization"): Level(CENT, 0),
    }
