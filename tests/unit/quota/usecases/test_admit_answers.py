"""What an answer says about limits, and what a price of zero, or none, means for a call."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.limit_kind import LimitKind
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.policies.denial import Denial
from services.quota.domain.policies.policy import Mode
from services.quota.domain.routing.plan import PriceSnapshot
from tests.worlds.quota import CENT, CENT_FACTS, World, counting, free, spend


def test_an_unpriced_model_is_refused_under_a_spend_policy_only() -> None:
    assert World((spend("budget", 100),)).refused("unpriced").denial is Denial.UNPRICED_MODEL
    assert World((counting("calls", LimitKind.REQUESTS, 5),)).let("unpriced")
    assert World((replace(spend("watch", 100), mode=Mode.SHADOW),)).let("unpriced")


def test_a_free_model_is_priced_and_passes_a_spend_limit_with_room() -> None:
    world = World((spend("budget", 1),))
    world.live.set_prices(PriceSnapshot("free", {"lab/dear": free()}))

    assert world.let().reservation.holds[0].held == 0


def test_at31_an_explicit_price_of_zero_is_free_and_no_spend_limit_blocks_it() -> None:
    world = World((spend("budget", 1),))
    world.settle(world.let(), 2 * CENT)
    assert world.refused().denial is Denial.BUDGET_EXHAUSTED

    world.live.set_prices(PriceSnapshot("free", {"lab/dear": free()}))
    assert world.let().reservation.holds[0].ceiling is None

    world.live.set_prices(PriceSnapshot("none", {}))
    assert world.refused().denial is Denial.UNPRICED_MODEL


def test_a_policy_that_allows_what_is_unpriced_holds_no_money_for_it() -> None:
    allowing = replace(spend("lenient", 1), allows_unpriced=True)
    admitted = World((allowing,)).let("unpriced")

    assert [hold.held for hold in admitted.reservation.holds] == [0]
    assert World((allowing, spend("strict", 1))).refused("unpriced").denial is Denial.UNPRICED_MODEL


def test_the_tightest_limit_of_each_kind_says_what_finished_calls_leave_of_it() -> None:
    calls = counting("calls", LimitKind.REQUESTS, 100)
    world = World((spend("tight", 2), spend("roomy", 100), calls))
    world.settle(world.let(), CENT)

    limit_statuses = world.let().limit_statuses

    assert [(each.policy, each.remaining) for each in limit_statuses] == [("tight", CENT), ("calls", 98)]


def test_what_is_told_to_remain_only_falls_whatever_calls_hold_and_give_back() -> None:
    world = World(
        (spend("money", 10), counting("tokens", LimitKind.TOKENS, 20_000), counting("calls", LimitKind.REQUESTS, 9))
    )
    told: list[dict[str, int]] = []
    for facts in (CENT_FACTS, RequestFacts(5_000, max_output_tokens=10), RequestFacts(9, max_output_tokens=9)):
        admitted = world.let(facts=facts)
        told.append({each.policy: each.remaining for each in admitted.limit_statuses})
        world.let(facts=facts)
        world.settle(admitted, CENT // 9, tokens=(9, 9))
    told.append({each.policy: each.remaining for each in world.refused(facts=RequestFacts(500_000)).limit_statuses})

    for policy in ("money", "tokens", "calls"):
        amounts = [each[policy] for each in told]
        assert amounts == sorted(amounts, reverse=True)
        assert amounts[-1] < amounts[0]


@pytest.mark.parametrize("status", [429, 402])
def test_a_policy_says_with_which_status_it_is_exhausted(status: int) -> None:
    world = World((replace(spend("budget", 0), exhausted_status=status),))

    assert world.refused().exhausted_status == status
