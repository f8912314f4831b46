"""A soft limit holds what calls usually take: it admits more, and can be exceeded by what is in flight."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import median

from services.kernel.limit_kind import LimitKind
from services.kernel.window import WindowUnit
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.policies.denial import Denial
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Match, QuotaPolicy, Threshold
from services.quota.usecases.admit import Admitted
from tests.worlds.quota import CENT, World

# Without a bound of the client's: the ceiling of the target is 4 096 tokens, at $9 per million.
UNBOUNDED = RequestFacts(body_bytes=1_000)


def soft(kind: LimitKind, bound: int) -> Limit:
    return Limit(kind, bound, WindowUnit.MONTH, soft=True)


def held(admitted: Admitted) -> int:
    (hold,) = admitted.reservation.holds
    return hold.held


def test_a_call_holds_what_such_calls_usually_take_and_a_quarter_more() -> None:
    world = World((QuotaPolicy("budget", Match(), (soft(LimitKind.OUTPUT_TOKENS, 10**6),)),))
    world.settle(world.let(facts=UNBOUNDED), CENT, tokens=(500, 200))

    assert held(world.let(facts=UNBOUNDED)) == 250


def test_before_anything_is_learned_a_tenth_of_the_bound_is_typical() -> None:
    world = World((QuotaPolicy("budget", Match(), (soft(LimitKind.OUTPUT_TOKENS, 10**6),)),))

    assert held(world.let(facts=UNBOUNDED)) == -(-410 * 125 // 100)


def test_it_never_holds_more_than_the_call_can_take() -> None:
    world = World((QuotaPolicy("budget", Match(), (soft(LimitKind.OUTPUT_TOKENS, 10**6),)),))
    world.settle(world.let(facts=UNBOUNDED), CENT, tokens=(500, 200))

    assert held(world.let(facts=replace(UNBOUNDED, max_output_tokens=30))) == 30


def test_it_can_be_exceeded_by_what_is_in_flight_and_not_once_that_is_settled() -> None:
    world = World((QuotaPolicy("budget", Match(), (soft(LimitKind.OUTPUT_TOKENS, 1_000),)),))
    world.settle(world.let(facts=UNBOUNDED), CENT, tokens=(500, 100))
    flying = [world.let(facts=UNBOUNDED, request_id=str(number)) for number in range(7)]
    for call in flying:
        world.settle(call, CENT, tokens=(500, 300))

    assert world.level("budget") == (2_200, 0)
    assert world.refused().denial is Denial.BUDGET_EXHAUSTED


def test_calls_are_not_bounded_for_its_sake_and_no_overrun_is_reported() -> None:
    policy = QuotaPolicy("budget", Match(), (soft(LimitKind.SPEND, 100 * CENT),), thresholds=(Threshold(9_999),))
    world = World((policy,))
    call = world.let(facts=UNBOUNDED)
    world.settle(call, 50 * CENT, tokens=(500, 4_096))

    assert call.chain[0].output_cap_tokens is None
    assert world.counters.crossings_after(0, 9) == []


def test_a_hard_limit_of_the_same_kind_counts_beside_it() -> None:
    both = (soft(LimitKind.OUTPUT_TOKENS, 10**6), Limit(LimitKind.OUTPUT_TOKENS, 10**6, WindowUnit.MONTH))
    world = World((QuotaPolicy("budget", Match(), both),))
    call = world.let(facts=UNBOUNDED)

    assert {hold.counter.limit_id: hold.held for hold in call.reservation.holds} == {
        "output_tokens/month/UTC/soft": 513,
        "output_tokens/month/UTC": 4_096,
    }
    assert call.chain[0].output_cap_tokens == 4_096


def test_half_of_the_calls_hold_less_than_twice_what_they_take() -> None:
    world = World((QuotaPolicy("budget", Match(), (soft(LimitKind.SPEND, 10_000 * CENT),)),))
    source = random.Random(7)
    ratios: list[float] = []
    for _ in range(400):
        call = world.let(facts=UNBOUNDED)
        output = min(4_096, int(source.lognormvariate(5.4, 0.8)) + 1)
        cost = 300 * 1_000 + output * 9_000
        ratios.append(held(call) / cost)
        world.settle(call, cost, tokens=(300, output))

    assert median(ratios[50:]) <= 2


def test_an_absurd_bound_of_the_client_is_taken_for_the_ceiling() -> None:
    world = World((QuotaPolicy("budget", Match(), (soft(LimitKind.OUTPUT_TOKENS, 10**6),)),))
    absurd, plain = (held(world.let(facts=replace(UNBOUNDED, max_output_tokens=most))) for most in (999_999_999, None))

    assert absurd == plain
