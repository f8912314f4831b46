"""Calls with unknown members, under policies that let them pass and policies that refuse them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.kernel.limit_kind import LimitKind
from services.quota.domain.policies.denial import Denial
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from tests.worlds.quota import CENT, CENT_FACTS, World, counting, spend

UNKNOWN = replace(CENT_FACTS, unknown_members=("frobnicate", "anthropic-beta=warp-9"))
OTHER_TEAM = Match(team="somebody-else")


def refusing(policy: QuotaPolicy) -> QuotaPolicy:
    return replace(policy, refuses_unknown_members=True)


@pytest.mark.parametrize(
    "policies",
    [
        (refusing(spend("careful", 1_000)),),
        (spend("easy", 1_000), refusing(spend("careful", 1_000))),
        (refusing(counting("careful", LimitKind.REQUESTS, 9)), spend("easy", 1_000)),
    ],
)
def test_one_enforced_policy_that_refuses_is_enough_whatever_others_say(policies: tuple[QuotaPolicy, ...]) -> None:
    world = World(policies)

    deny = world.refused(facts=UNKNOWN)

    assert (deny.denial, deny.policy, deny.scope) == (Denial.UNKNOWN_MEMBER, "careful", "organization")
    assert (deny.parameter, deny.detail) == ("frobnicate", "frobnicate, anthropic-beta=warp-9")
    assert world.level("careful") == (0, 0)
    assert world.let()


@pytest.mark.parametrize(
    "policy",
    [
        spend("careful", 1_000),
        replace(refusing(spend("careful", 1_000)), mode=Mode.SHADOW),
        replace(refusing(spend("careful", 1_000)), mode=Mode.DISABLED),
        refusing(spend("careful", 1_000, match=OTHER_TEAM)),
        replace(refusing(spend("careful", 1_000)), default=True),
    ],
)
def test_where_none_refuses_the_call_holds_its_context_window(policy: QuotaPolicy) -> None:
    world = World((spend("easy", 1_000), policy))

    held = world.let(facts=UNKNOWN).reservation.holds[0].held

    assert held > 10 * CENT


def test_a_call_that_is_refused_names_a_few_of_many_members() -> None:
    many = replace(CENT_FACTS, unknown_members=tuple(f"m{at:02}" for at in range(48)))

    deny = World((refusing(spend("careful", 1_000)),)).refused(facts=many)

    assert deny.detail == "m00, m01, m02, m03, m04, m05, m06, m07 and 40 more"


def test_a_call_is_refused_for_its_members_before_it_is_for_lack_of_a_price_or_room() -> None:
    world = World((refusing(spend("careful", 0)),))

    assert world.refused("unpriced", facts=UNKNOWN).denial is Denial.UNKNOWN_MEMBER
    assert world.refused(facts=UNKNOWN).denial is Denial.UNKNOWN_MEMBER
